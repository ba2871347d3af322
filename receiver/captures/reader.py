"""Reads a capture, finished or growing, plain or ``.gz``."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from receiver.captures.capture import MESSAGE, Batch, CaptureError, Entry, decode_header, decode_line, decode_message

MAX_LINE_BYTES = 16 * 2**20
"""No message is as long; a file with such a line is something else."""

READ_BYTES = 2**16
"""From the disk at once."""

MAX_BATCH_BYTES = 2**20
"""Of messages of the same time, what comes as one Batch; a live receiver reads less at once."""

MESSAGE_BYTES = 100
"""What a message costs beside its own bytes."""


class NoHeader(CaptureError):
    """A capture that has no whole line, perhaps not yet."""


class CaptureReader:
    """An open capture. ``header`` is read at once; ``read`` gives one entry after the other. Blocks; close it.

    Raises CaptureError, which names file and line, for what is no capture. What came before a broken line has been
    given by then, and nothing comes after it. A last line without its newline is not there yet: a crash cut it off, or
    it is being written. No more than a line and a batch are held.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._line = 0
        self._rest = b""  # the beginning of a line that is not whole yet
        self._next: Entry | None = None
        self._same = b""  # how a message of the same time as the last one begins
        self._at = 0.0
        self._problem: CaptureError | None = None  # of the line behind what was read
        try:
            self._disk = path.open("rb", buffering=READ_BYTES)
        except OSError as error:
            raise CaptureError(f"{path}: {error.strerror or error}") from None
        self._file = cast(BinaryIO, gzip.GzipFile(fileobj=self._disk)) if path.suffix == ".gz" else self._disk
        try:
            first = self._read_line()
            if first is None:
                raise NoHeader(f"{path}: has no whole line")
            self.header = decode_header(first)
        except ValueError as error:
            self.close()
            raise CaptureError(f"{path}: {error}") from None
        except CaptureError:
            self.close()
            raise

    def read(self) -> Entry | None:
        """The next entry; messages of the same time come as one Batch. None: there is nothing more, or not yet.

        So a live stream's batches come as they were, for each of them has a time of its own.
        """
        entry, self._next = self._next or self._following(), None
        if entry is None and self._problem is not None:
            raise self._problem
        if not isinstance(entry, Batch):
            return entry
        room = MAX_BATCH_BYTES - _cost(entry)
        while room > 0 and (following := self._following()) is not None:
            if not isinstance(following, Batch) or following.at != entry.at:
                self._next = following
                break
            entry.data += following.data
            room -= _cost(following)
        return entry

    def __iter__(self) -> Iterator[Entry]:
        """All entries that are there."""
        while (entry := self.read()) is not None:
            yield entry

    def position(self) -> int:
        """How many bytes of the file have been read, about."""
        return self._disk.tell()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._disk.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _following(self) -> Entry | None:
        """The next line's entry; its problem waits until what came before it has been read."""
        if self._problem is None:
            try:
                return self._entry()
            except CaptureError as problem:
                self._problem = problem
        return None

    def _entry(self) -> Entry | None:
        line = self._read_line()
        if line is None:
            return None
        try:
            return self._decode(line)
        except ValueError as error:
            raise CaptureError(f"{self.path}, line {self._line}: {error}") from None

    def _decode(self, line: bytes) -> Entry:
        """Read a line; quickly, where it begins as the line before did: a message of the same time."""
        if self._same and line.startswith(self._same) and line.endswith(b"]\n"):
            return Batch(self._at, [decode_message(line[len(self._same) : -2])])
        entry = decode_line(line)
        at = line.find(MESSAGE, 0, 40)
        self._same = line[: at + len(MESSAGE)] if at > 0 else b""
        self._at = entry.at
        return entry

    def _read_line(self) -> bytes | None:
        try:
            line = self._file.readline(MAX_LINE_BYTES)
        except EOFError:  # a .gz that was cut off: what came before is good
            return None
        except (OSError, zlib.error) as error:
            raise CaptureError(f"{self.path}, line {self._line + 1}: {error}") from None
        if self._rest:
            line = self._rest + line
        if not line.endswith(b"\n"):
            if len(line) >= MAX_LINE_BYTES:
                raise CaptureError(f"{self.path}, line {self._line + 1}: is longer than {MAX_LINE_BYTES} bytes")
            self._rest = line
            return None
        self._rest = b""
        self._line += 1
        return line


def _cost(batch: Batch) -> int:
    cost = 0
    for one in batch.data:
        cost += MESSAGE_BYTES + (0 if isinstance(one, int) else len(one))
    return cost
