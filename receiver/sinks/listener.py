"""A listener: one sink at work on one stream, on the loop of the sink."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import structlog

from receiver import disk
from receiver.logs import logger
from receiver.sinks.budget import Budget
from receiver.sinks.ending import Ending
from receiver.sinks.failure import describe_failure, failure_text, forget_frames
from receiver.sinks.feed import Feed
from receiver.sinks.plain_thread import PlainThread
from receiver.sinks.reader import AsyncReader, PlainReader, Source
from receiver.sinks.recall import Recall
from receiver.sinks.restarts import Restarts
from receiver.sinks.rewind import Rewind
from receiver.sinks.sink import PlainSink, Sink
from receiver.sinks.sink_loop import SinkLoop
from receiver.sinks.slots import Slots
from receiver.sinks.spilling_feed import SpillingFeed
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
    """One sink on one stream. The main thread puts into ``feed``; it has come to its ``ending`` when nothing more is to
    be expected.

    A sink that is cancelled and does not end, or whose loop is stuck, is left behind: that is an ending too, and its
    status stays ``running``.
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
        recall: Recall | None = None,
    ) -> None:
        """``recall``: of the stream's history, if this sink may need it."""
        self.name = name
        self.config = config
        self.feed = Feed(budget, buffer_s=config.buffer_s, overflow=config.overflow)
        if recall is not None:
            self.feed = SpillingFeed(budget, recall, buffer_s=config.buffer_s, overflow=config.overflow)
            recall.on_answer(self._answered)
        self.dirty = False
        self.status: Status = "running"
        self.error: str | None = None
        self.left_behind = False
        self.failed = False
        """Whether it has raised, also if it was started again."""
        self.restarts = 0
        self.ending = ending = Ending()
        facts, directory, owner = stream
        self._stream = Stream(facts, directory, owner, name, closed=lambda: ending.over)
        self._sink = sink
        self._slots = slots
        self._slot = object()  # who holds it; not this, which the thread would refer back to
        self._plain = is_plain(sink)
        rewind = Rewind(self.feed) if config.on_error == "restart" else None
        self._restarts = None if rewind is None else Restarts(rewind)
        self._source: Source = self.feed if rewind is None else rewind
        self._reader = self._make_reader()
        self.loop = loop
        self._loop = loop.loop
        self._task: asyncio.Task[None]
        self._thread: PlainThread | None = None
        self._cancelled = False
        self._collecting = False
        self._block_ms = config.block_ms
        self._timers: list[asyncio.TimerHandle] = []
        self._room = not self._plain or slots.take(self._slot)

    def begin(self) -> None:
        """Start the sink. This and what follows is called on the sink's loop, until said otherwise."""
        self._task = self._loop.create_task(self._run(), name=f"sink {self.name} of stream {self._stream.id}")
        self._task.add_done_callback(self._never_ran)

    def refuse(self) -> None:
        """Fail instead, because the loop is stuck. Called on the main thread."""
        self._end("failed", RuntimeError("it blocks its loop, and has not come back from earlier streams"))

    def wake(self) -> None:
        """There is something new in the feed: let the sink know, at once or when ``block_ms`` have passed."""
        if self.ending.over:
            return
        if self.feed.ended:
            self._later(self.config.finish_timeout_s, self.cancel)  # nothing is put behind Ended: this comes once
            self._reader.wake()
        elif not self._block_ms:
            self._reader.wake()
        elif not self._collecting:
            self._collecting = True
            self._later(self._block_ms / 1000, self._wake_now)

    def cancel(self) -> None:
        """End the sink; if it has not ended a second later, leave it behind."""
        if self._cancelled or self.status != "running":
            return
        self._cancelled = True
        if self._thread is not None:
            self._reader.stop()  # a thread cannot be cancelled, but its events can end
        else:
            self._task.cancel()
        self._later(CANCEL_S, self._give_up)

    def leave_behind(self) -> None:
        """Wait for the sink no longer: what it has not read is discarded. On any thread, as its loop may be stuck."""
        if self.ending.over:
            return
        self.left_behind = True
        self.error = "it did not end when it was to, and was left behind"
        log.error("sink_left_behind", sink=self.name, stream=self._stream.id)
        self._slots.leave(self._slot)
        self.loop.leave_stream()
        self._finish()
        self.loop.call(self.cancel)

    async def _run(self) -> None:
        structlog.contextvars.bind_contextvars(stream=self._stream.id, sink=self.name)
        again = True
        while again:
            failure = await self._run_once()
            again = failure is not None and await self._restart(failure)
            if again and failure is not None:
                forget_frames(failure)
        if failure is None:
            self._end("cancelled" if self._cancelled and self._plain else "ok", None)
        elif self._cancelled and (self.feed.idle or isinstance(failure, asyncio.CancelledError)):
            self._end("cancelled", failure)
        else:
            self._end("failed", failure)
        if failure is not None:
            forget_frames(failure)
        del failure

    async def _run_once(self) -> BaseException | None:
        """Run the sink; what it raised. It may raise CancelledError of itself, when something of its own was."""
        try:
            if self._plain:
                await self._in_thread()
            else:
                await cast(Sink, self._sink)(self._stream, cast(AsyncReader, self._reader))
        except (asyncio.CancelledError, Exception, SystemExit, KeyboardInterrupt) as error:
            return error
        return None

    async def _restart(self, failure: BaseException) -> bool:
        """Wait until a sink that has failed may try again; False: it may not."""
        if self._restarts is None or self._cancelled or self.feed.closed or not self._room:
            return False
        self.failed = True
        self._reader.stop()
        delay_s = self._restarts.next()
        if delay_s is None:
            return False
        said = {"attempt": self._restarts.failed, "delay_s": delay_s, **describe_failure(failure)}
        log.warning("sink_restarting", sink=self.name, stream=self._stream.id, **said)
        self.feed.idle = True
        self._thread = None
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(delay_s)
            self.feed.idle = False
            self.restarts += 1
            self._reader = self._make_reader()
            return True
        return False

    async def _in_thread(self) -> None:
        if not self._room:
            raise RuntimeError(f"all {self._slots.count} threads of this sink are taken (sinks.{self.name}.threads)")
        work = partial(cast(PlainSink, self._sink), self._stream, cast(PlainReader, self._reader))
        self._thread = PlainThread(f"sink {self.name}", work, self.loop, partial(self._slots.release, self._slot))
        await self._thread.outcome

    def _end(self, status: Status, error: BaseException | None) -> None:
        if self._thread is None or not self._thread.running:  # no thread will give it back
            self._slots.release(self._slot)
        self.status = status
        self.error = None if error is None else failure_text(error)
        if status == "failed" and error is not None:
            if isinstance(error, OSError):
                disk.failed(error)  # if it is the disk, others are to know
            log.error("sink_failed", sink=self.name, stream=self._stream.id, **describe_failure(error))
        elif self.left_behind:
            log.warning("sink_ended_late", sink=self.name, stream=self._stream.id, status=status)
        self._reader.stop()
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._finish(give_up=status == "ok" and not self._cancelled)

    def _never_ran(self, _: object) -> None:
        """A task that is cancelled before its first step never gets to its own ``try``."""
        if self.status == "running":
            self._end("cancelled", None)

    def _give_up(self) -> None:
        self.leave_behind()
        self._reader.stop()

    def _finish(self, *, give_up: bool = False) -> None:
        self.feed.close(give_up=give_up)
        self.ending.set()  # the main thread and the loop may come here together

    def _later(self, delay_s: float, call: Callable[[], None]) -> None:
        self._timers = [timer for timer in self._timers if timer.when() > self._loop.time()]  # those that have not run
        self._timers.append(self._loop.call_later(delay_s, call))

    def _make_reader(self) -> AsyncReader | PlainReader:
        return PlainReader(self._source) if self._plain else AsyncReader(self._source)

    def _answered(self) -> None:
        """There is something new in the stream's history. On any thread."""
        if self._plain:
            self._reader.wake()
        else:
            self.loop.call(lambda: self._reader.wake())

    def _wake_now(self) -> None:
        self._collecting = False
        self._reader.wake()
