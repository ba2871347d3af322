"""Listeners: all sinks of one stream, as the thread that reads the sockets sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from receiver.events import Annotation, Ended, Event
from receiver.sinks.listener import Listener, Status
from receiver.stream import Owner, StreamFacts

if TYPE_CHECKING:
    from receiver.sinks.hub import Hub

SPARE_S = 2.0
"""What ``finished`` waits beyond the time that the slowest sink has to finish and to be cancelled."""


class SinkResult(msgspec.Struct, frozen=True):
    """How a sink fared with a stream."""

    status: Status  # ``running``: not ended yet, or left behind: then ``error`` says so
    error: str | None  # one line
    dropped_s: dict[str, float]  # by track: what did not fit into the feed
    events_dropped: int  # digits, marks, annotations and discontinuities that did not


class Listeners:
    """All sinks of one stream. For the main thread alone; nothing here waits for a sink, but for ``finished``."""

    def __init__(self, hub: Hub, stream: tuple[StreamFacts, Path, Owner]) -> None:
        self.stream = stream
        self.all: list[Listener] = []
        self.ended: Ended | None = None
        self._hub = hub

    def publish(self, events: Sequence[Event]) -> None:
        """Put events into every feed. The sinks hear of it at the next ``hub.flush``."""
        if events and isinstance(events[-1], Ended):
            self.ended = events[-1]
        for listener in self.all:
            if listener.feed.put(events):
                self._hub.mark_dirty(listener)

    def annotation(self, annotation: Annotation) -> None:
        """Give an annotation to every sink but the one that made it, at once."""
        for listener in self.all:
            if listener.name != annotation.sink and listener.feed.put((annotation,)):
                self._hub.mark_dirty(listener)
        self._hub.flush()

    async def finished(self, timeout_s: float | None = None) -> bool:
        """Wait until every sink has ended; False: some have not within ``timeout_s``, or were left behind.

        For after Ended was published; may be called again. Without a timeout: as long as the sinks' own
        ``finish_timeout_s`` allow, and a little longer, since the loop that watches over these may itself be stuck.
        """
        last = timeout_s is None
        if timeout_s is None:
            timeout_s = max((listener.config.finish_timeout_s for listener in self.all), default=0) + SPARE_S
        self._hub.flush()
        loop = asyncio.get_running_loop()
        news = asyncio.Event()

        def tell(_: object) -> None:
            try:
                loop.call_soon_threadsafe(news.set)
            except RuntimeError:  # the main loop is gone, and nobody waits
                return

        for listener in self.all:
            listener.done.add_done_callback(tell)
        try:
            async with asyncio.timeout(timeout_s):
                while not all(listener.done.done() for listener in self.all):
                    await news.wait()
                    news.clear()
        except TimeoutError:
            if not last:
                return False
        self._hub.retire(self)
        return all(listener.done.done() and listener.status != "running" for listener in self.all)

    def abandon(self) -> None:
        """Cancel every sink that still runs, e.g. when a drain has taken too long. ``finished`` then takes a second."""
        for listener in self.all:
            self._hub.call(listener.cancel)

    def results(self) -> dict[str, SinkResult]:
        """How each sink has fared until now, by its name."""
        return {
            listener.name: SinkResult(
                listener.status, listener.error, listener.feed.dropped_s, listener.feed.events_dropped
            )
            for listener in self.all
        }

    @property
    def healthy(self) -> bool:
        """False while the stream is live, has sinks, and every one has failed."""
        return self.ended is not None or not self.all or any(listener.status != "failed" for listener in self.all)
