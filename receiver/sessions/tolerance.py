"""How much nonsense a peer gets away with: strict before start, tolerant after it.

A platform does not reconnect, so a bad message after the start is counted and skipped, and the stream goes on; but not
without end.
"""

from __future__ import annotations

from collections import Counter

from receiver.errors import LimitExceeded, ProtocolError

BAD_WINDOW_S = 10.0
"""Seconds over which bad messages are counted."""

REPEATED = 10
"""How often a binary message or an oversized payload is forgiven over the life of a stream."""

EARLY_MEDIA = 5
"""How many media messages may precede the start message, once the peer has greeted."""


class Tolerance:
    """Counts what was skipped, by kind, and says when it is enough."""

    def __init__(self, bad_messages: int) -> None:
        self.ignored: Counter[str] = Counter()
        self._too_many = bad_messages + 1
        self._bad: list[float] = []  # when the last ones came; a deque takes 760 bytes also without any

    def forgive(self, error: ProtocolError, kind: str, at: float, count: int = 1) -> ProtocolError | None:
        """Count a bad message; the answer is the error that ends the stream, or None to go on."""
        self.ignored[kind] += count
        self._bad += [at] * min(count, self._too_many)
        del self._bad[: -self._too_many]
        if kind in ("binary", "oversized") and self.ignored[kind] > REPEATED:
            return error
        if len(self._bad) == self._too_many and at - self._bad[0] <= BAD_WINDOW_S:
            return LimitExceeded(1008, f"more than {self._too_many - 1} bad messages in {BAD_WINDOW_S:.0f} s")
        return None
