"""The sweep: what arrived is read once per ``latency_ms``, with its neighbours, and handed on together.

Waking up is what costs, not the work. The connections are dealt into slices, each in its own callback, so that no
callback holds the loop for long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

SLICES = 5
"""One sweep over 2,000 sockets takes about 40 ms of the loop at once, and under 10 in five slices."""


class Swept(Protocol):
    """Something that is looked at once per sweep."""

    def sweep(self, now: float) -> None:
        """Handle what arrived since the last sweep; ``now`` is the loop's clock."""


class Sweep:
    """One timer for the process. ``after`` is called after each slice, with how late the slice was, in seconds."""

    def __init__(self, latency_ms: int, after: Callable[[float], None]) -> None:
        self._period = latency_ms / 1000 / SLICES
        self._after = after
        self._slices: list[set[Swept]] = [set() for _ in range(SLICES)]
        self._slice = 0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, swept: Swept) -> None:
        """Put a connection into the smallest slice."""
        min(self._slices, key=len).add(swept)

    def remove(self, swept: Swept) -> None:
        """Take a connection out."""
        for connections in self._slices:
            connections.discard(swept)

    def start(self) -> None:
        """Begin, on the running loop."""
        loop = asyncio.get_running_loop()
        self._due = loop.time() + self._period
        self._timer = loop.call_at(self._due, self._turn, loop)

    def stop(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        late = now - self._due
        for swept in tuple(self._slices[self._slice]):
            swept.sweep(now)
        self._slice = (self._slice + 1) % SLICES
        self._after(late)
        # What was missed is not caught up: the next slice is due one period after this one began.
        self._due = now + self._period
        self._timer = loop.call_at(self._due, self._turn, loop)
