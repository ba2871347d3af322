"""``stereo.wav`` from the mono files of two sides: one left, the other right, each file in its place in time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from .format import HEADER_BYTES, SAMPLE_BYTES, header, publish, read_header
from .segment import Segment

STEP = 65_536  # frames in memory at a time

Block = npt.NDArray[np.int16]


def assemble(left: Sequence[Segment], right: Sequence[Segment], wanted: Path) -> Path:
    """Write both sides, of one rate, into one file, verify it, and give it the first free name like ``wanted``.

    It begins where the first of the files does. Where a side has no file it is silent. Blocks; takes the same memory
    for any length. Raises OSError, and ValueError where the rates differ or what was written does not read back.
    """
    rate = _rate([*left, *right])
    start = min(segment.start for segment in (*left, *right))
    unfinished = wanted.with_name(f"{wanted.name}.assembling")
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with ExitStack() as opened:
        stereo = opened.enter_context(open(os.open(unfinished, flags, 0o600), "r+b"))
        sides = [_Side(opened, segments, start) for segments in (left, right)]
        frames = max(side.end for side in sides)
        stereo.write(header(rate, 2))
        for at in range(0, frames, STEP):
            size = min(STEP, frames - at)
            stereo.write(np.stack([side.read(at, size) for side in sides], axis=1).tobytes())
        stereo.seek(0)
        stereo.write(header(rate, 2, frames * 2 * SAMPLE_BYTES))
        stereo.flush()
        os.fsync(stereo.fileno())
    if length(unfinished) != frames or not holds(unfinished, left, right, start=start, silent=True):
        raise ValueError(f"{unfinished} does not read back as written")
    return publish(unfinished, wanted)


def holds(
    stereo: Path, left: Sequence[Segment], right: Sequence[Segment], *, start: int = 0, silent: bool = False
) -> bool:
    """Whether a stereo file that begins at ``start`` has all of these files in their places. Blocks.

    ``silent``: and nothing else. Otherwise only what they hold is compared.
    """
    frames = length(stereo)
    if frames is None:
        return False
    with ExitStack() as opened:
        file = opened.enter_context(stereo.open("rb"))
        sides = [_Side(opened, segments, start) for segments in (left, right)]
        first, end = min(side.begin for side in sides), max(side.end for side in sides)
        if first < 0 or end > frames:
            return False
        at = 0 if silent else first
        file.seek(HEADER_BYTES + at * 2 * SAMPLE_BYTES)
        while at < end:
            pairs = np.frombuffer(file.read(min(STEP, end - at) * 2 * SAMPLE_BYTES), "<i2").reshape(-1, 2)
            if not len(pairs):
                return False
            for channel, side in enumerate(sides):
                known = side.pieces(at, len(pairs)) if not silent else [(0, side.read(at, len(pairs)))]
                for offset, samples in known:
                    if not np.array_equal(pairs[offset : offset + len(samples), channel], samples):
                        return False
            at += len(pairs)
    return True


def length(stereo: Path) -> int | None:
    """How many frames a stereo file has; None where it is none of ours, or not whole."""
    with stereo.open("rb") as file:
        head = read_header(file.read(HEADER_BYTES))
        frames, rest = divmod(os.fstat(file.fileno()).st_size - HEADER_BYTES, 2 * SAMPLE_BYTES)
    return None if head is None or head[1] != 2 or rest else frames


class _Side:
    """The files of one side, read block by block at positions from ``start`` on."""

    def __init__(self, opened: ExitStack, segments: Sequence[Segment], start: int) -> None:
        self._files: list[tuple[int, int, BinaryIO]] = []
        for segment in sorted(segments, key=lambda segment: segment.start):
            file = opened.enter_context(segment.path.open("rb"))
            begin = segment.start - start
            end = begin + (os.fstat(file.fileno()).st_size - HEADER_BYTES) // SAMPLE_BYTES
            if self._files and begin < self._files[-1][1]:
                raise ValueError(f"{segment.path.name} overlaps the file before it")
            self._files.append((begin, end, file))
        self.begin = min((begin for begin, _, _ in self._files), default=0)
        self.end = max((end for _, end, _ in self._files), default=0)

    def read(self, at: int, size: int) -> Block:
        """So many samples, with silence where there is no file."""
        block = np.zeros(size, "<i2")
        for offset, samples in self.pieces(at, size):
            block[offset : offset + len(samples)] = samples
        return block

    def pieces(self, at: int, size: int) -> Iterator[tuple[int, Block]]:
        """What the files have of that, each with its place in it."""
        for begin, end, file in self._files:
            first, last = max(at, begin), min(at + size, end)
            if first < last:
                file.seek(HEADER_BYTES + (first - begin) * SAMPLE_BYTES)
                samples = np.frombuffer(file.read((last - first) * SAMPLE_BYTES), "<i2")
                if len(samples) < last - first:
                    raise ValueError("a file became shorter while it was read")
                yield first - at, samples


def _rate(segments: Sequence[Segment]) -> int:
    heads = {segment.path.name: read_header(_head(segment.path)) for segment in segments}
    rates = {name: head and head[0] for name, head in heads.items()}
    rate = next(iter(rates.values()), None)
    if rate is None or set(rates.values()) != {rate}:
        raise ValueError(f"no stereo file of sides with different rates: {rates}")
    return rate


def _head(file: Path) -> bytes:
    with file.open("rb") as content:
        return content.read(HEADER_BYTES)
