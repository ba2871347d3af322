"""Connections that are not open yet: each has until its deadline, and there are no more than so many of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

Over = Callable[[bool], None]
"""Ends a connection: because its time is over (True), or at once to make room (False)."""


class Opening:
    """One of them, from its acceptance to the finished handshake, or until it is gone. ``over`` may be replaced."""

    def __init__(self, openings: Openings, until: float, over: Over) -> None:
        self.over = over
        self._openings = openings
        self._timer = asyncio.get_running_loop().call_at(until, self.end, True)

    def end(self, in_time: bool) -> None:
        """Its time is over (True), or its room is needed."""
        self.cancel()
        self.over(in_time)

    def cancel(self) -> None:
        """It is open, or gone: nothing happens any more. May be called twice."""
        self._timer.cancel()
        self._openings.forget(self)


class Openings:
    """All of one listener, the oldest first."""

    def __init__(self, limit: int, timeout_s: float) -> None:
        self._limit = limit
        self._timeout_s = timeout_s
        self._open: dict[Opening, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, accepted: float, over: Over) -> Opening:
        """A connection was accepted, by the loop's clock at ``accepted``. Where there are too many, the oldest goes."""
        while len(self._open) >= self._limit:
            next(iter(self._open)).end(False)
        opening = Opening(self, accepted + self._timeout_s, over)
        self._open[opening] = None
        return opening

    def forget(self, opening: Opening) -> None:
        """It does not count any more."""
        self._open.pop(opening, None)
