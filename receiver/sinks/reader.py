"""Readers: how a sink iterates its feed, on the sink's loop or in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import copy_context
from functools import partial
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
    """For ``async for``, which suspends only when the feed is empty: a batch costs one change of task, however long.

    With ``each`` it costs none: whoever wakes the reader has the events handed over at once.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._over = False
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._hand_over: Callable[[], None] | None = None  # while ``each`` runs
        self._failure: BaseException | None = None

    async def __anext__(self) -> Event:
        while not self._over:
            event = self._source.take()
            if event is not None:
                self._over = isinstance(event, Ended)
                return event
            # between the empty take and this line the loop ran nothing else, so no wake is missed
            self._waiter = asyncio.get_running_loop().create_future()
            self._look_again()
            try:
                await self._waiter
            finally:
                self._waited()
        raise StopAsyncIteration

    async def each(self, function: Callable[[Event], object]) -> None:
        """Call ``function`` with every event, until the iteration ends or it raises; then this raises the same.

        It runs wherever the reader is woken, with the context variables of the task that awaits this.
        """
        if self._over:
            return
        self._waiter = asyncio.get_running_loop().create_future()
        self._hand_over = partial(copy_context().run, self._hand_to, function)
        try:
            self.wake()
            await self._waiter
            if self._failure is not None:
                raise self._failure
        finally:
            self._waited()
            self._hand_over = self._failure = None

    def wake(self) -> None:
        """There is something new in the feed. Called on the sink's loop."""
        if self._waiter is not None and not self._waiter.done():
            if self._hand_over is None:
                self._waiter.set_result(None)
            else:
                self._hand_over()

    def stop(self) -> None:
        """End the iteration, whatever is queued. Called on the sink's loop."""
        self._over = True
        self._resume()

    def _resume(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _hand_to(self, function: Callable[[Event], object]) -> None:
        take = self._source.take
        try:
            while (event := take()) is not None:
                function(event)
                if type(event) is Ended:
                    self.stop()
                    return
        except BaseException as failure:  # it belongs to the task that awaits ``each``, not to whoever wakes
            self._failure = failure
            self._resume()
        else:
            if self._source.patience is not None:
                self._look_again()

    def _look_again(self) -> None:
        """Wake after the source's patience, if it has one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._source.patience is not None:
            self._timer = asyncio.get_running_loop().call_later(self._source.patience, self.wake)

    def _waited(self) -> None:
        self._waiter = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


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
