"""A cutter: audio of any lengths becomes blocks of one length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec
import numpy as np

from receiver.sinks.lane import Audio, Span

Gaps = Literal["zeros", "skip"]


class Block(msgspec.Struct, frozen=True, eq=False):
    """Audio of a fixed length (shorter at the end, and before a skipped gap)."""

    track: str  # ``mix`` and ``pair`` for those
    start: int  # samples at ``rate``, on the stream's timeline
    rate: int  # hertz
    samples: Audio  # shape (n,), or (n, 2) for pairs; possibly shared, so not to be written to

    @property
    def end(self) -> int:
        """The position after the last sample."""
        return self.start + len(self.samples)


class Cutter:
    """Cuts one lane, or the joint, into blocks."""

    def __init__(self, track: str, rate: int, ms: float, gaps: Gaps, empty: Audio) -> None:
        self._track = track
        self._rate = rate
        self._length = max(round(rate * ms / 1000), 1)
        self._skip = gaps == "skip"
        self._silence = np.resize(empty, (self._length, *empty.shape[1:]))
        self._silence.fill(0)
        self._silence.flags.writeable = False
        self._start = 0
        self._parts: list[Audio] = []
        self._count = 0

    def put(self, span: Span) -> Iterator[Block]:
        """The blocks that a span completes, made one at a time: a gap of hours costs no memory."""
        length, audio = span
        if audio is None and self._skip:
            yield from self.finish()
            self._start += length
            return
        done = 0
        while done < length:
            step = min(self._length - self._count, length - done)
            self._parts.append(self._silence[:step] if audio is None else audio[done : done + step])
            self._count += step
            done += step
            if self._count == self._length:
                yield from self.finish()

    def finish(self) -> Iterator[Block]:
        """What is begun, as a short block."""
        if self._count:
            samples = self._parts[0] if len(self._parts) == 1 else np.concatenate(self._parts)
            block = Block(self._track, self._start, self._rate, samples)
            self._start += self._count
            self._parts, self._count = [], 0
            yield block
