"""A track's audio, as little of it as a picture and a few figures need: memory does not grow with its length."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from receiver.events import Samples
from receiver.waveform import dbfs

BUCKETS = 2048
FIRST_WIDTH = 8  # samples
RUN = 16_384  # samples that are measured at once
BLOCK_S = 0.02
ACTIVE_DBFS = -45.0
"""A block of 20 ms louder than that counts as active: speech on a telephone does, and the noise of a line does not."""


class AudioFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Levels of what was there; gaps have none. Null stands for digital silence."""

    audio_s: float
    peak_dbfs: float
    rms_dbfs: float
    active_s: float  # of blocks louder than ACTIVE_DBFS: roughly, speech


class WaveformFigures(msgspec.Struct, frozen=True):
    """The least and the greatest sample of each ``step_s`` seconds; both null where there was no audio."""

    step_s: float
    low: list[int | None]
    high: list[int | None]


class Envelope:
    """Takes the frames of one track in the order of their positions, which are samples at ``rate``."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._width = FIRST_WIDTH
        self._low = np.full(BUCKETS, 32768, np.int32)
        self._high = np.full(BUCKETS, -32769, np.int32)
        self._squares = 0.0
        self._count = 0
        self._active = 0
        self._block = max(1, round(rate * BLOCK_S))
        self._run: list[Samples] = []
        self._start = 0
        self._waiting = 0

    def add(self, start: int, samples: Samples) -> None:
        """Take a frame: int16, shape (n,)."""
        if start != self._start + self._waiting:
            self._measure(everything=True)
            self._start = start
        self._run.append(samples)
        self._waiting += len(samples)
        if self._waiting >= RUN:
            self._measure(everything=False)

    def figures(self) -> AudioFigures:
        """Levels of all that was taken."""
        self._measure(everything=True)
        peak = int(max(self._high.max(), -self._low.min())) if self._count else 0
        return AudioFigures(
            audio_s=round(self._count / self.rate, 6),
            peak_dbfs=round(dbfs(peak), 2),
            rms_dbfs=round(dbfs(math.sqrt(self._squares / self._count)) if self._count else -math.inf, 2),
            active_s=round(self._active / self.rate, 6),
        )

    def waveform(self) -> WaveformFigures:
        """All that was taken, up to the last of it."""
        self._measure(everything=True)
        there = self._high >= self._low
        last = int(np.flatnonzero(there)[-1]) + 1 if there.any() else 0
        low, high = self._low[:last].tolist(), self._high[:last].tolist()
        filled = there[:last].tolist()
        return WaveformFigures(
            self._width / self.rate,
            [value if there else None for value, there in zip(low, filled, strict=True)],
            [value if there else None for value, there in zip(high, filled, strict=True)],
        )

    def _measure(self, *, everything: bool) -> None:
        """Measure what waits; unless all of it is due, what begins a block of 20 ms waits for the rest of it."""
        size = self._waiting if everything else self._waiting - self._waiting % self._block
        if not size:
            return
        samples = np.concatenate(self._run)
        samples, rest = samples[:size], samples[size:]
        self._bucket(self._start, samples)
        squares = np.square(samples.astype(np.float64))
        self._squares += float(squares.sum())
        self._count += size
        starts = np.arange(0, size, self._block)
        sizes = np.diff(np.append(starts, size))
        limit = 10 ** (ACTIVE_DBFS / 10) * 32768.0**2
        self._active += int(sizes[np.add.reduceat(squares, starts) > limit * sizes].sum())
        self._start += size
        self._run, self._waiting = ([rest] if len(rest) else []), len(rest)

    def _bucket(self, start: int, samples: Samples) -> None:
        while start + len(samples) > BUCKETS * self._width:
            self._double()
        first, last = start // self._width, (start + len(samples) - 1) // self._width + 1
        cuts: npt.NDArray[np.int64] = np.arange(first, last) * self._width - start
        cuts[0] = 0
        self._low[first:last] = np.minimum(self._low[first:last], np.minimum.reduceat(samples, cuts))
        self._high[first:last] = np.maximum(self._high[first:last], np.maximum.reduceat(samples, cuts))

    def _double(self) -> None:
        half = BUCKETS // 2
        low, high = self._low.reshape(half, 2).min(axis=1), self._high.reshape(half, 2).max(axis=1)
        self._low = np.concatenate((low, np.full(half, 32768, np.int32)))
        self._high = np.concatenate((high, np.full(half, -32769, np.int32)))
        self._width *= 2


def peaks(waveform: WaveformFigures, duration_s: float, columns: int) -> npt.NDArray[np.int64]:
    """The largest magnitude per column of a picture that is ``duration_s`` long."""
    magnitudes = np.array(
        [max(-(low or 0), high or 0) for low, high in zip(waveform.low, waveform.high, strict=True)], np.int64
    )
    found = np.zeros(columns, np.int64)
    per_column = duration_s / columns / waveform.step_s
    for column in range(columns):
        first = int(column * per_column)
        found[column] = magnitudes[first : max(math.ceil((column + 1) * per_column), first + 1)].max(initial=0)
    return found
