"""Listeners: all sinks of one stream, as the thread that reads the sockets sees them."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from receiver.events import Annotation, Ended, Event
from receiver.sinks.listener import CANCEL_S, Listener, Status
from receiver.stream import Owner, StreamFacts

if TYPE_CHECKING:
    from receiver.sinks.hub import Hub

LOOK_S = 0.25
"""How often who waits for room looks whether a loop is blocked, and whether all feeds together are within bounds."""

SPARE_S = 2.0
"""What ``finished`` waits beyond the time that the slowest sink has to finish and to be cancelled."""


class SinkResult(msgspec.Struct, frozen=True):
    """How a sink fared with a stream."""

    status: Status  # ``running``: not ended yet, or left behind: then ``error`` says so
    error: str | None  # one line
    dropped_s: dict[str, float]  # by track: what did not fit into the feed
    events_dropped: int  # digits, marks, annotations and discontinuities that did not
    restarts: int  # how often it was started again, having failed


class Listeners:
    """All sinks of one stream. For the main thread alone; nothing here waits for a sink, but for ``finished``."""

    def __init__(self, hub: Hub, stream: tuple[StreamFacts, Path, Owner]) -> None:
        self.stream = stream
        self.all: list[Listener] = []
        self.ended: Ended | None = None
        self._hub = hub
        self._results: dict[str, SinkResult] = {}  # once the sinks are forgotten
        self._give_up_at = math.inf  # on the main loop's clock, once abandoned
        self._waits: list[asyncio.Timeout] = []

    def publish(self, events: Sequence[Event]) -> None:
        """Put events into every feed. The sinks hear of it at the next ``hub.flush``."""
        if events and isinstance(events[-1], Ended):
            self.ended = events[-1]
        for listener in self.all:
            if listener.feed.put(events) and not listener.dirty:
                listener.loop.mark_dirty(listener)

    def annotation(self, annotation: Annotation) -> None:
        """Give an annotation to every sink but the one that made it, at once."""
        for listener in self.all:
            if listener.name != annotation.sink and listener.feed.put((annotation,)):
                listener.loop.mark_dirty(listener)
        self._hub.flush()

    async def room(self, seconds: float) -> None:
        """Wait until every feed can take so much more audio; one that is empty can take any amount.

        For who need not keep up with a call, and would rather wait than have anything dropped; for one at a time. A
        sink that has ended, or blocks its loop, is not waited for; one that does neither is, as long as it likes.
        """
        self._hub.flush()
        await asyncio.sleep(0)  # who never has to wait lets others have their turn
        if self._has_room(seconds):
            return
        loop = asyncio.get_running_loop()
        news = asyncio.Event()
        tell = partial(_call, loop, news.set)
        try:
            while True:
                for listener in self.all:
                    listener.feed.when_room(seconds, tell)
                    listener.loop.mark_dirty(listener)  # a ring that is not answered shows that the loop is blocked
                self._hub.flush()
                if self._has_room(seconds):
                    return
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), LOOK_S)
                news.clear()
        finally:
            for listener in self.all:
                listener.feed.forget_room()

    async def finished(self, timeout_s: float | None = None) -> bool:
        """Wait until every sink has ended; False: some have not within ``timeout_s``, or were left behind.

        For after Ended was published; may be called again. Without a timeout: as long as the sinks' own
        ``finish_timeout_s`` allow, and a little longer. Who has not ended then has a stuck loop, and is left behind.
        """
        last = timeout_s is None
        if timeout_s is None:
            timeout_s = max((listener.config.finish_timeout_s for listener in self.all), default=0) + SPARE_S
        self._hub.flush()
        limit = asyncio.timeout_at(min(asyncio.get_running_loop().time() + timeout_s, self._give_up_at))
        self._waits.append(limit)
        try:
            async with limit:
                await endings(self.all)
        except TimeoutError:
            if not last and limit.when() != self._give_up_at:
                return False
            for listener in self.all:
                listener.leave_behind()
        finally:
            self._waits.remove(limit)
        self._hub.retire(self)
        return all(listener.ending.over and listener.status != "running" for listener in self.all)

    def abandon(self) -> None:
        """Cancel every sink that still runs, e.g. when a drain has taken too long.

        ``finished``, also one that is waiting already, then takes CANCEL_S, or SPARE_S more where a loop is stuck.
        """
        if self._give_up_at == math.inf:
            self._give_up_at = asyncio.get_running_loop().time() + CANCEL_S + SPARE_S
        for listener in self.all:
            listener.loop.call(listener.cancel)
        for limit in self._waits:
            when = limit.when()
            if not limit.expired() and (when is None or when > self._give_up_at):
                limit.reschedule(self._give_up_at)

    def results(self) -> dict[str, SinkResult]:
        """How each sink has fared until now, by its name."""
        return self._results or {
            listener.name: SinkResult(
                listener.status,
                listener.error,
                listener.feed.dropped_s,
                listener.feed.events_dropped,
                listener.restarts,
            )
            for listener in self.all
        }

    def forget(self) -> None:
        """Let go of the sinks and of the stream, which refer back to this: nobody is told of anything any more."""
        self._results = self.results()
        self.all.clear()
        facts, directory, _ = self.stream
        self.stream = (facts, directory, _Nobody())

    @property
    def healthy(self) -> bool:
        """False while the stream is live, has sinks, and every one has failed or blocks its loop."""
        return (
            self.ended is not None
            or not self.all
            or any(listener.status != "failed" and not listener.loop.blocked for listener in self.all)
        )

    def _has_room(self, seconds: float) -> bool:
        return not self._hub.crowded() and all(
            listener.loop.blocked or listener.feed.has_room(seconds) for listener in self.all
        )


class _Nobody:
    """The owner of a stream that is over, for whoever is attached to it even then."""

    def annotated(self, annotation: Annotation) -> None:
        """Too late to be heard."""

    def file_added(self, path: Path, kind: str, media_type: str, sink: str) -> None:
        """Too late to be put down."""


async def endings(listeners: Sequence[Listener]) -> None:
    """Wait until nothing more is to be expected of any of them. On any loop."""
    news = asyncio.Event()
    tell = partial(_call, asyncio.get_running_loop(), news.set)
    for listener in listeners:
        listener.ending.tell(tell)
    while not all(listener.ending.over for listener in listeners):
        await news.wait()
        news.clear()


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[], object]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is gone, and nobody waits
        loop.call_soon_threadsafe(function)
