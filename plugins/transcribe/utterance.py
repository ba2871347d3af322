"""An utterance: what one speaker says between two silences, from behind its last final result on."""

from __future__ import annotations

from collections import deque

import numpy as np

from .engine import Int16Array


class Utterance:
    """Audio at 16 kHz that grows until it is ``over``. What is settled is let go of.

    Positions are samples on the stream's timeline.
    """

    def __init__(self, number: int, start: int) -> None:
        self.number = number
        self.start = start
        self.end = start  # behind the last sample
        self.settled = start  # up to here every result is final
        self.over = False
        self._pieces: deque[Int16Array] = deque()  # from ``settled``, in whole pieces, on
        self._first = start  # where the first of them begins

    @property
    def done(self) -> bool:
        """Whether nothing is left to be transcribed."""
        return self.over and self.settled == self.end

    def put(self, samples: Int16Array) -> None:
        """Append samples. They are kept by reference."""
        self._pieces.append(samples)
        self.end += len(samples)

    def read(self, start: int, most: int) -> Int16Array:
        """Up to ``most`` samples from ``start`` on, which is not before ``settled``."""
        parts = []
        at = self._first
        for piece in self._pieces:
            if at >= start + most:
                break
            if at + len(piece) > start:
                parts.append(piece[max(start - at, 0) : start + most - at])
            at += len(piece)
        return np.concatenate(parts) if parts else np.zeros(0, np.int16)

    def settle(self, position: int) -> int:
        """Every result up to a position is final: the audio before it is let go. How many samples that were."""
        position = min(max(position, self.settled), self.end)
        count, self.settled = position - self.settled, position
        while self._pieces and self._first + len(self._pieces[0]) <= position:
            self._first += len(self._pieces.popleft())
        return count
