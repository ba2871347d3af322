"""Garbage collection at moments that we choose, and free memory for the system: in a process of our own alone, never in
somebody's application.

A full collection looks at every object there is: with a thousand live calls it holds the loop for 200 to 350 ms. What a
stream leaves is gone without one, as nothing of ours refers to itself when it is over; what others leave, can wait for
a quiet moment. Young objects are collected all the time, in small portions.

When much has waited, e.g. for a disk, a little of what came later is left all over the heap, which does not shrink by
itself: the C library is asked to give back all pages that are free.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
from collections.abc import Callable

YOUNG = (700, 5)
"""Small portions: the longest of them took 7 ms with a thousand calls, a tenth of them replaced every second."""

LOOK_S = 10.0
"""How often it looks for a quiet moment."""

OVERDUE_S = 3600.0
"""A process that is never quiet is collected all the same, so late."""

TRIM_S = 60.0
"""How often free memory is given back: a few milliseconds of a thread, for which others that need memory wait."""

INCREMENTAL = sys.version_info >= (3, 14)
"""From then on Python collects old objects in portions, too."""


_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None  # glibc's


class Garbage:
    """``live`` says how many streams there are. Between ``start`` and ``stop``, on one loop."""

    def __init__(
        self,
        live: Callable[[], int],
        *,
        look_s: float = LOOK_S,
        overdue_s: float = OVERDUE_S,
        trim_s: float = TRIM_S,
    ) -> None:
        self._live = live
        self._look_s = look_s
        self._overdue_s = overdue_s
        self._trim_s = trim_s
        self._threshold = gc.get_threshold()
        self._collected_at = self._trimmed_at = 0.0
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """What is there now is there to stay: it is not looked at any more."""
        gc.collect()
        gc.freeze()
        if not INCREMENTAL:
            gc.set_threshold(*YOUNG, sys.maxsize >> 33)
        loop = asyncio.get_running_loop()
        self._collected_at = self._trimmed_at = loop.time()
        self._timer = loop.call_later(self._look_s, self._look, loop)

    def stop(self) -> None:
        """Leave everything as it was found."""
        if self._timer is not None:
            self._timer.cancel()
        gc.set_threshold(*self._threshold)
        gc.unfreeze()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        if not INCREMENTAL:
            self._collect(now)
        if _trim is not None and now - self._trimmed_at >= self._trim_s:
            self._trimmed_at = now
            loop.run_in_executor(None, _trim, 0)
        self._timer = loop.call_later(self._look_s, self._look, loop)

    def _collect(self, now: float) -> None:
        live = self._live()
        self._busy = self._busy or live > 0
        if (live == 0 and self._busy) or now - self._collected_at >= self._overdue_s:
            gc.collect()
            self._collected_at = now
            self._busy = live > 0
