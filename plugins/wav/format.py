"""WAV files of 16-bit linear samples that any player can read at any moment, also half-written.

A header with unknown sizes (0xFFFFFFFF) lets ffmpeg, sox, libsndfile and Python's ``wave`` read to the end of the file;
one with size 0 hides all audio from most of them, and one with an old size hides what came after. So sizes are unknown
until the file is complete, and are then written once.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

HEADER_BYTES = 44
SAMPLE_BYTES = 2
UNKNOWN = 0xFFFFFFFF
PART = ".part"

_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")


def header(rate: int, channels: int = 1, data_bytes: int | None = None) -> bytes:
    """The 44 bytes before the samples; ``data_bytes`` None is unknown, as is more than a WAV file can say (4 GiB)."""
    if data_bytes is None or data_bytes + HEADER_BYTES - 8 >= UNKNOWN:
        riff = data = UNKNOWN
    else:
        riff, data = data_bytes + HEADER_BYTES - 8, data_bytes
    block = channels * SAMPLE_BYTES
    return _HEADER.pack(
        *(b"RIFF", riff, b"WAVE", b"fmt ", 16, 1, channels, rate, rate * block, block, 8 * SAMPLE_BYTES, b"data", data)
    )


def read_header(head: bytes) -> tuple[int, int] | None:
    """The rate and the channels in a header of ours; None where it is torn or not ours."""
    if len(head) < HEADER_BYTES:
        return None
    riff, _, wave, fmt, _, coding, channels, rate, _, _, bits, data, _ = _HEADER.unpack_from(head)
    ours = (riff, wave, fmt, coding, bits, data) == (b"RIFF", b"WAVE", b"fmt ", 1, 8 * SAMPLE_BYTES, b"data")
    return (rate, channels) if ours else None


def complete(part: Path, rate: int, data_bytes: int | None = None) -> Path:
    """Make a finished file of ``<name>.part``: cut to whole samples, sizes in the header, safe on the disk, renamed.

    ``rate`` stands in where a crash tore the header. Audio beyond ``data_bytes`` is cut off: a write failed there, and
    it counts as lost. Nothing is overwritten: the name is ``<name>``, or the next free
    of ``<name>-2`` …, which is returned. Blocks. Raises OSError; the part is then still there.
    """
    descriptor = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        rate, _ = read_header(os.pread(descriptor, HEADER_BYTES, 0)) or (rate, 1)
        size = max(os.fstat(descriptor).st_size - HEADER_BYTES, 0)
        size = size if data_bytes is None else min(size, data_bytes)
        size -= size % SAMPLE_BYTES
        os.ftruncate(descriptor, HEADER_BYTES + size)
        os.pwrite(descriptor, header(rate, data_bytes=size), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return publish(part, part.with_suffix(""))


def publish(finished: Path, wanted: Path) -> Path:
    """Rename to the first free name, and answer it. A file that is there and has content is never replaced."""
    number = 1
    final = wanted
    while not _claim(final):
        number += 1
        final = wanted.with_stem(f"{wanted.stem}-{number}")
    os.replace(finished, final)
    directory = os.open(final.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return final


def _claim(path: Path) -> bool:
    """Take a name. An empty file is a name that was taken by a process that died before it used it."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return path.is_file() and not path.is_symlink() and path.stat().st_size == 0
    return True
