"""A finished WAV file as the source of an encoding: its samples, block by block, at any rate."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from .format import HEADER_BYTES, SAMPLE_BYTES, read_header

STEP = 65_536  # frames in memory at a time

Ints = npt.NDArray[np.int16]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Source:
    """A WAV file of ours; ``frames`` is its length, which its header may not know."""

    path: Path
    rate: int
    channels: int
    frames: int

    @classmethod
    def open(cls, path: Path) -> Source:
        """Look at a file. Raises OSError, and ValueError where it is not one of ours."""
        with path.open("rb") as file:
            head = read_header(file.read(HEADER_BYTES))
            size = os.fstat(file.fileno()).st_size - HEADER_BYTES
        if head is None:
            raise ValueError(f"{path.name} does not begin like a WAV file of this plugin")
        rate, channels = head
        return cls(path, rate, channels, size // (channels * SAMPLE_BYTES))

    def length(self, rate: int) -> int:
        """How many frames it is at another rate: rounded half up."""
        return (2 * self.frames * rate + self.rate) // (2 * self.rate)

    def ints(self) -> Iterator[Ints]:
        """Its samples, in blocks of shape (n, channels)."""
        left = self.frames
        with self.path.open("rb") as file:
            file.seek(HEADER_BYTES)
            while left:
                content = file.read(min(left, STEP) * self.channels * SAMPLE_BYTES)
                block = np.frombuffer(content, "<i2").reshape(-1, self.channels)
                if not len(block):
                    raise ValueError(f"{self.path.name} became shorter while it was read")
                left -= len(block)
                yield block

    def floats(self, rate: int) -> Iterator[Floats]:
        """The same within -1 and 1, resampled where the rate is another one: ``length(rate)`` frames together."""
        if rate == self.rate:
            for block in self.ints():
                yield _scaled(block)
            return
        resampler = soxr.ResampleStream(self.rate, rate, self.channels, dtype="float32", quality="HQ")
        left = self.length(rate)
        for block in self.ints():
            resampled = resampler.resample_chunk(_scaled(block))[:left]
            left -= len(resampled)
            yield np.clip(resampled, -1, 1)  # a resampler may swing beyond what went in
        rest = resampler.resample_chunk(np.zeros((0, self.channels), np.float32), last=True)[:left]
        yield np.clip(np.pad(rest, ((0, left - len(rest)), (0, 0))), -1, 1)


def _scaled(block: Ints) -> Floats:
    return block.astype(np.float32) / np.float32(32768)
