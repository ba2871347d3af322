"""The sweep: what arrived is read once per ``latency_ms``, with its neighbours, and handed on together.

Waking up is what costs, not the work: after a pause the same code takes several times as long as when it has just run.
So connections are read together, as many as do not hold the loop for long, and the rest in further turns. A connection
that has more to read than is read at a time comes again soon. Where that is more work than it should be, as after a
stall, the loop has a go at everything else in between.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Protocol

TURNS = 5
"""At most so many per period: one sweep over 2,000 sockets would hold the loop for 60 ms, each of five for 15."""

TOGETHER = 400
"""Connections that are read in one turn before there is another one."""


LONGEST_S = 0.025
"""After this long the loop does what else there is before the turn goes on."""


class Swept(Protocol):
    """Something that is looked at once per sweep."""

    def sweep(self, now: float) -> bool:
        """Handle what arrived since the last sweep; whether to come again soon. ``now`` is the loop's clock."""


class Sweep:
    """One timer for the process.

    ``after`` is called after each turn, with how late it was and how long ago its connections had theirs, in seconds.
    """

    def __init__(self, latency_ms: int, after: Callable[[float, float], None]) -> None:
        self._period = latency_ms / 1000
        self._after = after
        self._hands: list[set[Swept]] = [set() for _ in range(TURNS)]  # a turn is one or several of them
        self._hungry: dict[Swept, None] = {}
        self._rest: dict[Swept, None] = {}  # of a turn that took too long
        self._rest_since = 0.0
        self._turns = 1  # of this period
        self._turn = 0
        self._swept_at = [0.0] * TURNS
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._again: asyncio.TimerHandle | None = None
        self._going_on: asyncio.Handle | None = None

    def add(self, swept: Swept) -> None:
        """Put a connection where there are fewest."""
        min(self._hands, key=len).add(swept)

    def soon(self, swept: Swept) -> None:
        """Have a connection swept before its next turn."""
        self._hungry[swept] = None
        self._come_back(asyncio.get_running_loop())

    def remove(self, swept: Swept) -> None:
        """Take a connection out."""
        for connections in self._hands:
            connections.discard(swept)
        self._hungry.pop(swept, None)
        self._rest.pop(swept, None)

    def start(self) -> None:
        """Begin, on the running loop."""
        loop = asyncio.get_running_loop()
        self._swept_at = [loop.time()] * TURNS
        self._due = loop.time() + self._period
        self._timer = loop.call_at(self._due, self._take_turn, loop)

    def stop(self) -> None:
        """End."""
        for handle in (self._timer, self._again, self._going_on):
            if handle is not None:
                handle.cancel()

    def _take_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        late = now - self._due
        if self._turn == 0:
            self._turns = self._turns_for(sum(map(len, self._hands)))
        turn, self._turn = self._turn, (self._turn + 1) % self._turns
        # What was missed is not caught up: the next turn is due one step after this one began.
        self._due = now + self._period / self._turns
        self._timer = loop.call_at(self._due, self._take_turn, loop)
        waited, connections = 0.0, list[Swept]()
        for hand in range(turn, TURNS, self._turns):
            connections += self._hands[hand]
            waited, self._swept_at[hand] = max(waited, now - self._swept_at[hand]), now
        self._sweep(loop, connections, now)
        self._after(late, waited)

    def _read_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """The turn of those that had more to read."""
        self._again = None
        hungry, self._hungry = self._hungry, {}
        self._sweep(loop, hungry, loop.time())
        self._after(0.0, self._period / TURNS)

    def _go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """The turn of those that are left from one that took too long."""
        self._going_on = None
        now = loop.time()
        waited = self._period + now - self._rest_since
        self._sweep(loop, (), now)
        self._after(0.0, waited)

    def _sweep(self, loop: asyncio.AbstractEventLoop, connections: Iterable[Swept], now: float) -> None:
        turn = [*(self._rest | dict.fromkeys(connections))]
        if not self._rest:
            self._rest_since = now
        self._rest = {}
        until = time.monotonic() + LONGEST_S
        for done, swept in enumerate(turn, 1):
            try:
                if swept.sweep(now):
                    self._hungry[swept] = None
            except Exception as error:  # it costs nobody else his turn
                loop.call_exception_handler({"message": "a connection could not be swept", "exception": error})
            if time.monotonic() >= until:
                self._rest = dict.fromkeys(turn[done:])
                break
        if self._rest and self._going_on is None:
            self._going_on = loop.call_soon(self._go_on, loop)
        self._come_back(loop)

    def _come_back(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._hungry and self._again is None:
            self._again = loop.call_later(self._period / TURNS, self._read_on, loop)

    def _turns_for(self, connections: int) -> int:
        """How many turns a period has: as many as needed, and a little slow to become fewer again."""
        needed = min(-(-connections // TOGETHER), TURNS)
        fewer = min(-(-connections * 4 // (TOGETHER * 3)), TURNS)
        return max(needed, 1) if needed >= self._turns else max(min(fewer, self._turns), 1)
