"""Many callers in real time, in one loop: each has its turn every 20 ms, and the turns are spread evenly."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from caller import Caller
from voice import PERIOD_S

Turn = Callable[[Caller, float], None]


def speak(caller: Caller, now: float) -> None:
    """An ordinary turn: the next message of every track."""
    if not caller.over and not caller.cut and caller.said < caller.voices[0].messages:
        caller.say()


def pace(callers: Sequence[Caller], until: Callable[[], bool], turn: Turn = speak) -> float:
    """Give everybody their turns; how late the latest of them was, in seconds."""
    began = time.monotonic()
    late = 0.0
    number = 0
    while not until():
        due = began + number * PERIOD_S / len(callers)
        now = time.monotonic()
        if due > now:
            time.sleep(due - now)
            now = time.monotonic()
        late = max(late, now - due)
        turn(callers[number % len(callers)], now)
        number += 1
    return late


def pace_for(callers: Sequence[Caller], seconds: float) -> float:
    """The same for so long."""
    end = time.monotonic() + seconds
    return pace(callers, lambda: time.monotonic() >= end)
