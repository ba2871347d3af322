"""Recorded streams again: one or many copies of them, exactly or with faults."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Iterator, Sequence

import msgspec

from receiver.errors import ReceiverError
from receiver.simulate.connection import Outcome, Target, dial
from receiver.simulate.descriptors import allow
from receiver.simulate.faults import Fault, check_faults
from receiver.simulate.injection import inject
from receiver.simulate.script import Said
from receiver.simulate.sending import check_speed, send
from receiver.simulate.side import CallError
from receiver.simulate.tally import Tally
from receiver.simulate.tape import Tape

SPREAD_S = 0.02  # between two starts, where nothing else is asked
MAX_SPREAD_S = 10.0  # all starts together, where nothing else is asked
AGAIN_S = 1.0  # before a call is made again that was refused or broke


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be played. Raises CallError for what cannot be."""

    tapes: Sequence[Tape]
    to: Target
    speed: float = 1.0  # inf does not wait
    copies: int = 1  # of each tape, at the same time
    spread_s: float | None = None  # over which the streams start
    loops: int = 1  # how often each is played, one after the other; 0: until stopped
    faults: Sequence[Fault] = ()
    seed: int = 0  # of the faults: the n-th stream's is this one plus n

    def __post_init__(self) -> None:
        check_speed(self.speed)
        if not self.tapes:
            raise CallError("there is no capture to replay")
        if self.copies < 1 or self.loops < 0:
            raise CallError("copies: at least 1; loops: at least 1, or 0 for no end")
        if self.spread_s is not None and not 0 <= self.spread_s < math.inf:
            raise CallError(f"spread {self.spread_s:g} s: must be 0 or more")
        check_faults(self.faults, max(tape.duration_s for tape in self.tapes), max(tape.audio_s for tape in self.tapes))

    @property
    def streams(self) -> int:
        """How many are up at the same time."""
        return len(self.tapes) * self.copies

    @property
    def messages(self) -> int | None:
        """How many will be sent, faults aside; None: no end."""
        return sum(tape.messages for tape in self.tapes) * self.copies * self.loops or None

    @property
    def verbatim(self) -> bool:
        """Whether ids stay what they were: each stream is there once."""
        return self.copies == 1 and self.loops == 1

    def said(self, tape: Tape, number: int) -> Iterator[Said]:
        """All that the stream of that number says."""
        said: Iterator[Said] = tape.said()
        if not self.verbatim:
            said = tape.identity.renamed(said, number)
        if self.faults:
            seed = self.seed + number
            said = inject(said, self.faults, seed=seed, packets=tape.media, duration_s=tape.duration_s)
        return said


async def replay(asked: Replay, tally: Tally, stop: asyncio.Event | None = None) -> None:
    """Play all of it, and count in ``tally`` what comes of it. ``stop`` ends every stream in order.

    Raises CallError before anything is sent where the process may not open as many files. What servers, the network
    or a capture do that breaks off meanwhile is in the tally.
    """
    allow(asked.streams + sum(asked.copies for tape in asked.tapes if not tape.held))
    tally.begin()
    spread_s = min(SPREAD_S * asked.streams, MAX_SPREAD_S) if asked.spread_s is None else asked.spread_s
    tapes = itertools.chain.from_iterable(itertools.repeat(asked.tapes, asked.copies))
    lines = [
        asyncio.create_task(_line(asked, tape, tally, number, number * spread_s / asked.streams))
        for number, tape in enumerate(tapes)
    ]
    playing = asyncio.gather(*lines, return_exceptions=True)
    stopping = asyncio.create_task(_stop(stop, lines)) if stop is not None else None
    try:
        ended = await playing
    finally:
        if stopping is not None:
            stopping.cancel()
        tally.end()
    for one in ended:
        if isinstance(one, Exception):
            raise one


async def _stop(stop: asyncio.Event, lines: Sequence[asyncio.Task[None]]) -> None:
    await stop.wait()
    for line in lines:
        line.cancel()


async def _line(asked: Replay, tape: Tape, tally: Tally, number: int, delay_s: float) -> None:
    """One copy: its calls, one after the other."""
    await asyncio.sleep(delay_s)
    for loop in itertools.count() if not asked.loops else range(asked.loops):
        if not await _call(asked, tape, tally, number + loop * asked.streams) and loop + 1 != asked.loops:
            await asyncio.sleep(AGAIN_S)


async def _call(asked: Replay, tape: Tape, tally: Tally, number: int) -> bool:
    outcome = Outcome()
    stopped = True
    try:
        connection = await dial(asked.to, outcome)
        if connection is not None:
            tally.up(outcome)
            said = asked.said(tape, number)
            await send(connection, said, outcome, speed=asked.speed, threaded=not tape.held)
        stopped = False
    except ReceiverError as error:  # the capture is not what it was when it was checked
        stopped = False
        outcome.error = str(error)
    finally:
        tally.down(outcome, withheld=tape.withheld, stopped=stopped)
    return outcome.ok
