"""A listener: one sink at work on one stream, on the loop of the sink."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import structlog

from receiver.logs import logger
from receiver.sinks.failure import describe_failure, failure_text
from receiver.sinks.feed import Budget, Feed
from receiver.sinks.reader import AsyncReader, PlainReader
from receiver.sinks.sink import PlainSink, Sink
from receiver.sinks.sink_loop import SinkLoop
from receiver.sinks.slots import Slots
from receiver.stream import Owner, Stream, StreamFacts

if TYPE_CHECKING:
    from receiver.config import SinkConfig

CANCEL_S = 1.0
"""How long a sink that was cancelled may take to clean up. Then it is left behind."""

Status = Literal["running", "ok", "failed", "cancelled"]

log = logger("receiver.sinks")


def is_plain(sink: Sink | PlainSink) -> bool:
    """Whether a sink is an ordinary function, to be run in a thread."""
    return not (inspect.iscoroutinefunction(sink) or inspect.iscoroutinefunction(type(sink).__call__))


class Listener:
    """One sink on one stream. The main thread puts into ``feed``; ``done`` is set when nothing more is to be expected.

    A sink that is cancelled and does not end, or whose loop is stuck, is left behind: ``done`` is set, its status stays
    ``running``.
    """

    def __init__(
        self,
        name: str,
        sink: Sink | PlainSink,
        config: SinkConfig,
        budget: Budget,
        slots: Slots,
        loop: SinkLoop,
        stream: tuple[StreamFacts, Path, Owner],
    ) -> None:
        self.name = name
        self.config = config
        self.feed = Feed(budget, buffer_s=config.buffer_s, overflow=config.overflow)
        self.dirty = False
        self.status: Status = "running"
        self.error: str | None = None
        self.left_behind = False
        self.done: Future[None] = Future()
        facts, directory, owner = stream
        self._stream = Stream(facts, directory, owner, name, closed=self.done.done)
        self._sink = sink
        self._slots = slots
        self._plain = is_plain(sink)
        self._reader = PlainReader(self.feed) if self._plain else AsyncReader(self.feed)
        self.loop = loop
        self._loop = loop.loop
        self._task: asyncio.Task[None]
        self._thread_done: asyncio.Future[None] | None = None
        self._cancelled = False
        self._collecting = False
        self._timers: list[asyncio.TimerHandle] = []
        self._room = not self._plain or slots.take(self)

    def begin(self) -> None:
        """Start the sink. This and what follows is called on the sink's loop, until said otherwise."""
        self._task = self._loop.create_task(self._run(), name=f"sink {self.name} of stream {self._stream.id}")
        self._task.add_done_callback(self._never_ran)

    def refuse(self) -> None:
        """Fail instead, because the loop is stuck. Called on the main thread."""
        self._end("failed", RuntimeError("it blocks its loop, and has not come back from earlier streams"))

    def wake(self) -> None:
        """There is something new in the feed: let the sink know, at once or when ``block_ms`` have passed."""
        if self.done.done():
            return
        if self.feed.ended:
            self._later(self.config.finish_timeout_s, self.cancel)  # nothing is put behind Ended: this comes once
        if self.feed.ended or self.config.block_ms == 0:
            self._reader.wake()
        elif not self._collecting:
            self._collecting = True
            self._later(self.config.block_ms / 1000, self._wake_now)

    def cancel(self) -> None:
        """End the sink; if it has not ended a second later, leave it behind."""
        if self._cancelled or self.status != "running":
            return
        self._cancelled = True
        if self._thread_done is not None:
            self._reader.stop()  # a thread cannot be cancelled, but its events can end
        else:
            self._task.cancel()
        self._later(CANCEL_S, self._give_up)

    def leave_behind(self) -> None:
        """Wait for the sink no longer: what it has not read is discarded. On any thread, as its loop may be stuck."""
        if self.done.done():
            return
        self.left_behind = True
        self.error = "it did not end when it was to, and was left behind"
        log.error("sink_left_behind", sink=self.name, stream=self._stream.id)
        self._slots.leave(self)
        self.loop.leave_stream()
        self._finish()
        self.loop.call(self.cancel)

    async def _run(self) -> None:
        structlog.contextvars.bind_contextvars(stream=self._stream.id, sink=self.name)
        try:
            if self._plain:
                await self._in_thread()
            else:
                await cast(Sink, self._sink)(self._stream, cast(AsyncReader, self._reader))
        except asyncio.CancelledError as error:
            # a sink may also raise this of itself, when something of its own was cancelled
            self._end("cancelled" if self._cancelled else "failed", error)
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            self._end("failed", error)
        else:
            self._end("cancelled" if self._cancelled and self._plain else "ok", None)

    async def _in_thread(self) -> None:
        if not self._room:
            raise RuntimeError(f"all {self._slots.count} threads of this sink are taken (sinks.{self.name}.threads)")
        outcome = self._loop.create_future()
        context = dict(structlog.contextvars.get_contextvars())
        name = f"sink {self.name}"
        threading.Thread(target=self._plain_run, args=(outcome, context), name=name, daemon=True).start()
        self._thread_done = outcome
        await outcome

    def _plain_run(self, outcome: asyncio.Future[None], context: dict[str, object]) -> None:
        structlog.contextvars.bind_contextvars(**context)
        failure: BaseException | None = None
        try:
            result = cast(PlainSink, self._sink)(self._stream, cast(PlainReader, self._reader))
            if result is not None:
                if inspect.iscoroutine(result):
                    result.close()
                raise TypeError(f"a plain sink returns None, not {type(result).__name__}: is it to be 'async def'?")
        except BaseException as error:
            failure = error
        self._slots.release(self)
        self.loop.call(partial(_settle, outcome, failure))  # closed: the process is ending, and left this thread behind

    def _end(self, status: Status, error: BaseException | None) -> None:
        if self._thread_done is None:  # no thread will give it back
            self._slots.release(self)
        self.status = status
        self.error = None if error is None else failure_text(error)
        if status == "failed" and error is not None:
            log.error("sink_failed", sink=self.name, stream=self._stream.id, **describe_failure(error))
        elif self.left_behind:
            log.warning("sink_ended_late", sink=self.name, stream=self._stream.id, status=status)
        self._reader.stop()
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._finish()

    def _never_ran(self, _: object) -> None:
        """A task that is cancelled before its first step never gets to its own ``try``."""
        if self.status == "running":
            self._end("cancelled", None)

    def _give_up(self) -> None:
        self.leave_behind()
        self._reader.stop()

    def _finish(self) -> None:
        self.feed.close()
        with contextlib.suppress(InvalidStateError):  # the main thread and the loop may come here together
            self.done.set_result(None)

    def _later(self, delay_s: float, call: Callable[[], None]) -> None:
        self._timers = [timer for timer in self._timers if timer.when() > self._loop.time()]  # those that have not run
        self._timers.append(self._loop.call_later(delay_s, call))

    def _wake_now(self) -> None:
        self._collecting = False
        self._reader.wake()


def _settle(outcome: asyncio.Future[None], failure: BaseException | None) -> None:
    with contextlib.suppress(asyncio.InvalidStateError):  # the task was cancelled, and the outcome with it
        if failure is None:
            outcome.set_result(None)
        elif isinstance(failure, StopIteration):  # a future refuses it
            outcome.set_exception(RuntimeError(f"the sink raised {failure!r}"))
        else:
            outcome.set_exception(failure)
