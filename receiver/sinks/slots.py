"""Slots: how many threads the plain sinks of one name may have at once."""

from __future__ import annotations

import threading


class Slots:
    """Taken by the thread that opens streams, released by the threads that end; nobody waits for one."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._taken = 0
        self._lock = threading.Lock()  # held for an addition, never while anything runs

    def take(self) -> bool:
        """Take one; False: all are taken."""
        with self._lock:
            free = self._taken < self.count
            self._taken += free
            return free

    def release(self) -> None:
        """Give one back."""
        with self._lock:
            self._taken -= 1

    @property
    def free(self) -> int:
        """How many there are now."""
        return self.count - self._taken
