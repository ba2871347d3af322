"""The time that all tracks of a stream share: where the peer's clock says that audio belongs."""

from __future__ import annotations

JITTER_MS = 40
"""A stamp nearer than this to where the counters put a frame is jitter: two packets of the usual 20 ms."""

AHEAD_MS = 30_000
"""How far the peer's clock may be ahead of ours before it is not believed."""


class Timeline:
    """Zero of a stream, and how far the stream has come by our own clock.

    Times are seconds on any monotonic clock, passed in. Stamps are milliseconds on the peer's clock.
    """

    def __init__(self, started_at: float, *, ahead_ms: int = AHEAD_MS) -> None:
        self._started_at = started_at
        self._ahead_ms = ahead_ms
        self._zero_ms: int | None = None

    def elapsed_ms(self, at: float) -> int:
        """Milliseconds since the start message."""
        return max(0, int((at - self._started_at) * 1000))

    def latest_ms(self, at: float) -> int:
        """The latest position, in ms, that is believed at this moment."""
        return self.elapsed_ms(at) + self._ahead_ms

    def position_ms(self, stamp_ms: int, at: float) -> int | None:
        """Where a stamp lies, which settles nothing; None: that cannot be said before the zero is settled."""
        if self._zero_ms is None:
            return stamp_ms if stamp_ms <= self.latest_ms(at) else None
        return stamp_ms - self._zero_ms

    def zero_ms(self, stamp_ms: int, at: float) -> int:
        """The peer's time that is position 0, settled by the first stamp of any track.

        It is the peer's 0 if that is plausible, else the first stamp itself (some peers send Unix time).
        """
        if self._zero_ms is None:
            self._zero_ms = 0 if stamp_ms <= self.latest_ms(at) else stamp_ms
        return self._zero_ms
