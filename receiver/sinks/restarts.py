"""Restarts: when a sink that failed is started again, and when no more."""

from __future__ import annotations

from receiver.sinks.rewind import Rewind

FIRST_S = 0.5
"""How long it waits for its first restart. That doubles with every failure on the same event, to LONGEST_S."""

LONGEST_S = 30.0

ATTEMPTS = 10
"""After so many failures in a row on the same event it is not started again."""


class Restarts:
    """Counts the failures of one sink on one stream."""

    def __init__(self, rewind: Rewind) -> None:
        self.failed = 0
        """How often it has failed in a row, without coming any further."""
        self._rewind = rewind

    def next(self) -> float | None:
        """It has failed: go back to the event it failed on. In how many seconds it may try again; None: no more."""
        self.failed = 1 if self._rewind.back() else self.failed + 1
        return None if self.failed >= ATTEMPTS else min(FIRST_S * 2 ** (self.failed - 1), LONGEST_S)
