"""``stereo.wav`` from two mono files: one side left, the other right, the shorter one padded with silence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from .format import HEADER_BYTES, SAMPLE_BYTES, header, publish, read_header

STEP = 65_536  # frames in memory at a time

Block = npt.NDArray[np.int16]


def assemble(left: Path | None, right: Path | None, wanted: Path) -> Path:
    """Write both sides, of one rate, into one file, verify it, and give it the first free name like ``wanted``.

    A side that is None is silent. Blocks; takes the same memory for any length. Raises OSError, and ValueError where
    the rates differ or what was written does not read back the same.
    """
    rate = _rate(left, right)
    unfinished = wanted.with_name(f"{wanted.name}.assembling")
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(unfinished, flags, 0o600), "r+b") as stereo:
        stereo.write(header(rate, 2))
        frames = 0
        for block in _pairs(left, right):
            stereo.write(block.tobytes())
            frames += len(block)
        stereo.seek(0)
        stereo.write(header(rate, 2, frames * 2 * SAMPLE_BYTES))
        stereo.flush()
        os.fsync(stereo.fileno())
    if not holds(unfinished, left, right):
        raise ValueError(f"{unfinished} does not read back as written")
    return publish(unfinished, wanted)


def holds(stereo: Path, left: Path | None, right: Path | None) -> bool:
    """Whether a file has these sides, each followed by silence; a side that is None may be anything. Blocks."""
    with ExitStack() as opened:
        file = opened.enter_context(stereo.open("rb"))
        head = read_header(file.read(HEADER_BYTES))
        if head is None or head[1] != 2:
            return False
        sides = _open(opened, left, right)
        while pairs := file.read(STEP * 2 * SAMPLE_BYTES):
            if len(pairs) % (2 * SAMPLE_BYTES):
                return False
            block = np.frombuffer(pairs, "<i2").reshape(-1, 2)
            for channel, side in enumerate(sides):
                samples = _samples(side)
                known = block[: len(samples), channel]
                if side and not (np.array_equal(known, samples) and not block[len(samples) :, channel].any()):
                    return False
        return not any(len(_samples(side)) for side in sides)


def _rate(*sides: Path | None) -> int:
    heads = {side.name: read_header(_head(side)) for side in sides if side}
    rates = {name: head and head[0] for name, head in heads.items()}
    rate = next(iter(rates.values()), None)
    if rate is None or set(rates.values()) != {rate}:
        raise ValueError(f"no stereo file of sides with different rates: {rates}")
    return rate


def _head(file: Path) -> bytes:
    with file.open("rb") as content:
        return content.read(HEADER_BYTES)


def _pairs(left: Path | None, right: Path | None) -> Iterator[Block]:
    """Blocks of shape (n, 2), n at most STEP, over the longer side."""
    with ExitStack() as opened:
        sides = _open(opened, left, right)
        while True:
            samples = [_samples(side) for side in sides]
            block = np.zeros((max(map(len, samples)), 2), "<i2")
            if not len(block):
                return
            for channel, side in enumerate(samples):
                block[: len(side), channel] = side
            yield block


def _open(opened: ExitStack, *sides: Path | None) -> list[BinaryIO | None]:
    """The sides' files, each where its samples begin."""
    files: list[BinaryIO | None] = [opened.enter_context(side.open("rb")) if side else None for side in sides]
    for file in filter(None, files):
        file.seek(HEADER_BYTES)
    return files


def _samples(file: BinaryIO | None) -> Block:
    return np.frombuffer(file.read(STEP * SAMPLE_BYTES) if file else b"", "<i2")
