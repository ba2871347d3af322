"""Garbage collection at moments that we choose: for a process of our own, never in somebody's application.

A full collection looks at every object there is: with a thousand live calls it holds the loop for 200 to 350 ms. What a
stream leaves is gone without one, as nothing of ours refers to itself when it is over; what others leave, can wait for
a quiet moment. Young objects are collected all the time, in small portions.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable

YOUNG = (700, 5)
"""Small portions: the longest of them took 7 ms with a thousand calls, a tenth of them replaced every second."""

LOOK_S = 10.0
"""How often it looks for a quiet moment."""

OVERDUE_S = 3600.0
"""A process that is never quiet is collected all the same, so late."""

INCREMENTAL = sys.version_info >= (3, 14)
"""From then on Python collects old objects in portions, too."""


class Garbage:
    """``live`` says how many streams there are. Between ``start`` and ``stop``, on one loop."""

    def __init__(self, live: Callable[[], int], *, look_s: float = LOOK_S, overdue_s: float = OVERDUE_S) -> None:
        self._live = live
        self._look_s = look_s
        self._overdue_s = overdue_s
        self._threshold = gc.get_threshold()
        self._collected_at = 0.0
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """What is there now is there to stay: it is not looked at any more."""
        gc.collect()
        gc.freeze()
        if not INCREMENTAL:
            loop = asyncio.get_running_loop()
            gc.set_threshold(*YOUNG, sys.maxsize >> 33)
            self._collected_at = loop.time()
            self._timer = loop.call_later(self._look_s, self._look, loop)

    def stop(self) -> None:
        """Leave everything as it was found."""
        if self._timer is not None:
            self._timer.cancel()
        gc.set_threshold(*self._threshold)
        gc.unfreeze()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        live, now = self._live(), loop.time()
        self._busy = self._busy or live > 0
        if (live == 0 and self._busy) or now - self._collected_at >= self._overdue_s:
            gc.collect()
            self._collected_at = now
            self._busy = live > 0
        self._timer = loop.call_later(self._look_s, self._look, loop)
