"""Readers: how a sink iterates its feed, on the sink's loop or in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Protocol

from receiver.events import Ended, Event


class Source(Protocol):
    """What is read: a feed, or what stands before one."""

    @property
    def patience(self) -> float | None:
        """When there was nothing: in how many seconds to look again, also if nobody wakes."""

    def take(self) -> Event | None:
        """The next event; None: nothing is there now."""


class Reader(Protocol):
    """The taking side of a feed."""

    def wake(self) -> None:
        """There is something new in the feed. Called on the sink's loop."""

    def stop(self) -> None:
        """End the iteration, whatever is queued."""


class AsyncReader(AsyncIterator[Event]):
    """For ``async for``. It suspends only when the feed is empty: a batch costs one change of task, however long."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._over = False
        self._waiter: asyncio.Future[None] | None = None

    async def __anext__(self) -> Event:
        while not self._over:
            event = self._source.take()
            if event is not None:
                self._over = isinstance(event, Ended)
                return event
            # between the empty take and this line the loop ran nothing else, so no wake is missed
            loop, patience = asyncio.get_running_loop(), self._source.patience
            self._waiter = loop.create_future()
            timer = None if patience is None else loop.call_later(patience, self.wake)
            try:
                await self._waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        raise StopAsyncIteration

    def wake(self) -> None:
        """There is something new in the feed. Called on the sink's loop."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def stop(self) -> None:
        """End the iteration, whatever is queued. Called on the sink's loop."""
        self._over = True
        self.wake()


class PlainReader(Iterator[Event]):
    """For ``for``, in a thread of its own."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._over = False
        self._news = threading.Event()

    def __next__(self) -> Event:
        while True:
            self._news.clear()  # before we look, so that news in between are not slept over
            if self._over:
                raise StopIteration
            event = self._source.take()
            if event is not None:
                self._over = isinstance(event, Ended)
                return event
            self._news.wait(self._source.patience)

    def wake(self) -> None:
        """There is something new in the feed. Called on any thread."""
        self._news.set()

    def stop(self) -> None:
        """End the iteration, whatever is queued. Called on any thread."""
        self._over = True
        self._news.set()
