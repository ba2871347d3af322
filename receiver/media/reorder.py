"""Chunk counters: puts packets back in order and says which are missing, repeated or too late."""

from __future__ import annotations

from enum import Enum

from receiver.dialects.messages import Media

WINDOW = 32
"""Chunks: how far ahead of a missing one we read before it is given up (640 ms of the usual 20 ms packets)."""

HOLD_S = 1.0
"""Seconds: how long packets wait for a missing one when nothing else arrives."""

REMEMBERED = 64
"""Spans of missing chunks that are remembered, to tell a late packet from a repeated one."""


class Verdict(Enum):
    """What became of a packet that is not simply the next."""

    QUEUED = "queued"  # in order now or later: take()
    DUPLICATE = "duplicate"
    LATE = "late"  # its place was given up before it came
    RESTART = "restart"  # the counter began anew: resume(), then put it again


class Reorder:
    """One track's counter. ``expected`` is the chunk that would be next; None before the first."""

    def __init__(self) -> None:
        self.expected: int | None = None
        self.held: dict[int, Media] = {}
        self.reordered = 0
        self._held_since = 0.0
        self._missing: list[range] = []  # a deque takes 760 bytes also without any
        self._stale_chunk = -1
        self._stale_run = 0

    def put(self, chunk: int, media: Media, at: float) -> Verdict:
        """Sort one packet in."""
        if self.expected is None:
            # Counters begin at 1 (some at 0). A first chunk far beyond that is where we came in, and accuses nobody.
            self.expected = min(chunk, 1) if chunk <= WINDOW else chunk
        if chunk < self.expected:
            return self._stale(chunk, self.expected)
        if chunk in self.held:
            return Verdict.DUPLICATE
        if chunk == self.expected and self.held:
            self.reordered += 1
        if not self.held:
            self._held_since = at
        self.held[chunk] = media
        return Verdict.QUEUED

    def take(self, at: float, *, everything: bool = False) -> tuple[int, Media] | None:
        """The next packet in order and how many chunks before it are given up; None: wait.

        Call again until it answers None.
        """
        held = self.held
        if not held or self.expected is None:
            return None
        chunk = self.expected
        if chunk not in held:
            waited = at >= self._held_since + HOLD_S
            if not everything and not waited and max(held) - chunk < WINDOW:
                return None
            chunk = min(held)
            self._missing.append(range(self.expected, chunk))
            del self._missing[:-REMEMBERED]
            self._held_since = at
        missing = chunk - self.expected
        self.expected = chunk + 1
        return missing, held.pop(chunk)

    @property
    def deadline(self) -> float | None:
        """When the chunk that is waited for is given up; None while none is."""
        return self._held_since + HOLD_S if self.held and self.expected not in self.held else None

    def resume(self, chunk: int) -> None:
        """Begin anew at ``chunk``, after a RESTART; take everything that is held first."""
        self.expected = chunk
        self._missing.clear()
        self._stale_run = 0

    def _stale(self, chunk: int, expected: int) -> Verdict:
        far = expected - chunk > WINDOW
        self._stale_run = self._stale_run + 1 if chunk == self._stale_chunk + 1 else 1
        self._stale_chunk = chunk
        if far and (chunk <= 1 or self._stale_run > WINDOW):
            return Verdict.RESTART
        return Verdict.LATE if any(chunk in span for span in self._missing) else Verdict.DUPLICATE
