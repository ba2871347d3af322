"""Places for utterances: few, lent out one by one, in the order of asking."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import Generic, TypeVar

Place = TypeVar("Place")


class Places(Generic[Place]):
    """The places that are free, and who waits for one. For one loop."""

    def __init__(self) -> None:
        self._free: deque[Place] = deque()
        self._waiting: deque[asyncio.Future[Place]] = deque()

    async def take(self) -> Place:
        """A place, once everybody who asked before has one. Who is cancelled leaves the line."""
        if self._free:
            return self._free.popleft()
        turn: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                with suppress(ValueError):  # given its turn and passed over in the same moment
                    self._waiting.remove(turn)
            else:  # was given a place in the moment of being cancelled
                self.give(turn.result())
            raise

    def give(self, place: Place) -> None:
        """There is one more, for whoever has waited longest."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(place)
                return
        self._free.append(place)

    def withdraw(self, place: Place) -> None:
        """A place that is free is so no longer; one that is not is left alone."""
        with suppress(ValueError):
            self._free.remove(place)
