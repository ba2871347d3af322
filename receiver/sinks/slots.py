"""Slots: how many threads the plain sinks of one name may have at once."""

from __future__ import annotations

import threading


class Slots:
    """Taken by the thread that opens streams, given back by the threads that end; nobody waits for one.

    Who holds a slot is any object. One that was left behind holds it until its thread ends, if it ever does, since the
    thread is there; but it is not counted when somebody asks whether there is room for another stream.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._taken: set[object] = set()
        self._left: set[object] = set()
        self._lock = threading.Lock()  # held for an addition, never while anything runs

    def take(self, holder: object) -> bool:
        """Take one; False: all are taken."""
        with self._lock:
            free = len(self._taken) < self.count
            if free:
                self._taken.add(holder)
            return free

    def release(self, holder: object) -> None:
        """Give it back, if there is one."""
        with self._lock:
            self._taken.discard(holder)
            self._left.discard(holder)

    def leave(self, holder: object) -> None:
        """The holder is left behind."""
        with self._lock:
            if holder in self._taken:
                self._left.add(holder)

    @property
    def room(self) -> bool:
        """Whether fewer are held than there are, those that were left behind not counted."""
        return len(self._taken) - len(self._left) < self.count
