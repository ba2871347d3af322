"""A sink's loop: an event loop in a thread of its own, for one sink on all its streams.

Whatever a sink does to its loop (block it, stop it, exit from it), it does to itself: other sinks have theirs, and the
main thread only puts things down and rings.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from time import monotonic
from typing import Any, Protocol

from receiver.logs import logger
from receiver.sinks.failure import describe_failure

BLOCKED_S = 5.0
"""A loop that has not answered a ring for so long is blocked."""

STUCK_S = 2.0
"""How long a loop may take before it begins to close. Then it is stuck, and left behind."""

FORGOTTEN_S = 1.0
"""How long tasks that a sink has forgotten may take to be cancelled at the end."""

log = logger("receiver.sinks")


class Reader(Protocol):
    """Who reads what the main thread puts down."""

    dirty: bool  # there is something new, and it was not told yet

    def wake(self) -> None:
        """There is something new. Called on the loop."""


class SinkLoop:
    """The loop of the sink ``name``, running until ``end``. Methods are for any thread, ``end`` for the main one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.loop = asyncio.new_event_loop()
        self._dirty: deque[Reader] = deque()
        self._rung_at: float | None = None
        self._told = False
        self._left_streams = False
        self._over = False
        self._ended: Future[None] = Future()
        self._closing: asyncio.Task[None]
        threading.Thread(target=self._run, name=f"loop of sink {name}", daemon=True).start()

    @property
    def blocked(self) -> bool:
        """Whether the last ring has not been answered for longer than is bearable."""
        rung_at = self._rung_at
        return rung_at is not None and monotonic() - rung_at > BLOCKED_S

    @property
    def given_up(self) -> bool:
        """Whether it has been blocked for so long that a stream was left behind: more streams would only pile up."""
        return self._left_streams and self.blocked

    def leave_stream(self) -> None:
        """A stream was left behind."""
        self._left_streams = True

    def mark_dirty(self, reader: Reader) -> None:
        """Remember who is to be woken at the next ring."""
        if not reader.dirty:
            reader.dirty = True
            self._dirty.append(reader)

    def ring(self) -> None:
        """Wake who was marked: all at once, and not at all while a ring is on its way."""
        if self._rung_at is not None:
            if self.blocked and not self._told:
                self._told = True
                log.error("sink_blocked", sink=self.name, problem=f"its loop has stood still for {BLOCKED_S:g} s")
        elif self._dirty:
            self._told = False
            self._rung_at = monotonic()
            if not self.call(self._deliver):
                self._rung_at = None

    def call(self, function: Callable[[], object]) -> bool:
        """Call a function on the loop, soon; False: it has closed."""
        try:
            self.loop.call_soon_threadsafe(function)
        except RuntimeError:
            return False
        return True

    async def end(self, close: Callable[[], Coroutine[Any, Any, None]], within_s: float) -> bool:
        """Run ``close`` on the loop and end it. False: it is stuck, or did not end ``within_s``, and is left behind."""
        begun: Future[None] = Future()

        def begin() -> None:
            begun.set_result(None)
            self._closing = self.loop.create_task(self._close(close))

        if self.call(begin):
            await asyncio.wait([asyncio.wrap_future(begun)], timeout=STUCK_S)
            if begun.done():
                await asyncio.wait([asyncio.wrap_future(self._ended)], timeout=within_s)
        if not self._ended.done():
            log.error("sink_loop_left_behind", sink=self.name, problem="the sink blocks its loop")
        return self._ended.done()

    def _deliver(self) -> None:
        # the flags fall before the queues are looked at: whoever puts after that, rings again
        self._rung_at = None
        self._left_streams = False
        while self._dirty:
            reader = self._dirty.popleft()
            reader.dirty = False
            reader.wake()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self._over:  # a sink may stop the loop, or exit from it by a task of its own: it goes on
            try:
                self.loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                log.error("sink_task_failed", sink=self.name, **describe_failure(error))
        self.loop.close()
        self._ended.set_result(None)

    async def _close(self, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=FORGOTTEN_S)
            await self.loop.shutdown_asyncgens()
        finally:
            self._over = True
            self.loop.stop()
