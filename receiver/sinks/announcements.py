"""Announcements: the records that one plugin has not read yet."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from receiver.logs import logger
from receiver.records import Record
from receiver.sinks.failure import describe_failure
from receiver.sinks.sink import Records

LIMIT = 10_000
"""How many records may wait for a plugin; then the oldest are dropped."""

log = logger("receiver.sinks")


class Announcements(AsyncIterator[Record]):
    """A bounded queue of records, put on any thread, and the plugin that reads it on the sink's loop."""

    def __init__(self, name: str, consumer: Records) -> None:
        self.name = name
        self.dirty = False
        self.dropped = 0
        self._consumer = consumer
        self._queue: deque[Record] = deque()
        self._over = False
        self._waiter: asyncio.Future[None] | None = None

    def put(self, record: Record) -> None:
        """Append, never wait; drop the oldest if there are too many."""
        if self._over:
            return
        if len(self._queue) >= LIMIT:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append(record)

    async def run(self) -> None:
        """Let the plugin read until ``stop``. What it raises is logged, and ends this alone."""
        try:
            await self._consumer(self)
        except Exception as error:
            log.error("records_failed", sink=self.name, **describe_failure(error))
        finally:
            self._over = True
            self._queue.clear()

    def wake(self) -> None:
        """There is something new."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def stop(self) -> None:
        """No more will come: the iteration ends behind what is queued."""
        self._over = True
        self.wake()

    async def __anext__(self) -> Record:
        while not self._queue:
            if self._over:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._queue.popleft()
