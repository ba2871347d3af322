"""Writes a capture, on the one writer thread: whoever receives never waits for it."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path

from receiver import files
from receiver.captures.capture import (
    Batch,
    End,
    Header,
    Pause,
    encode_batch,
    encode_end,
    encode_header,
    encode_pause,
)
from receiver.dialects.dialect import Data

WAITING_BYTES = 4 * 2**20
"""Of a stream that has no folder yet: a start message comes within the first kilobytes."""

MESSAGE_BYTES = 200
"""What a message that waits costs beside its own bytes."""


class CaptureWriter:
    """The capture of one stream. What comes before ``open`` waits, as there is no folder until a stream has started.

    For one thread. A disk that does not take it, or a peer that says too much before the stream starts, ends the
    capture, not the stream: ``error`` says so, and what was written until then is good.
    """

    def __init__(self) -> None:
        self.path: Path | None = None
        self.error: OSError | None = None
        self._file: files.File | None = None
        self._closed = False
        self._done: Future[int] | None = None
        self._waiting: list[Batch | Pause | End] | None = []
        self._waiting_bytes = 0

    def take(self, at: float, kept: Sequence[Data | int]) -> None:
        """Add messages that were read together, as the session says they may be kept. Never waits."""
        if kept:
            self._add(Batch(at, list(kept)))

    def pause(self, pause: Pause) -> None:
        """Say from where on tracks are withheld, or no longer."""
        self._add(pause)

    def open(self, path: Path, header: Header) -> None:
        """Write what waits to a new file, and from here on what comes. The file must not be there."""
        waiting, self._waiting = self._waiting or [], None
        self.path = path
        problem, self.error = self.error, None
        self._file = file = files.create(path)
        self._append(encode_header(header))
        if problem is not None:
            problem.filename = str(path)
            self._fail(file, problem)
        for entry in waiting:
            self._write(entry)

    def discard(self) -> None:
        """Keep nothing: neither what waits nor what comes."""
        self._waiting = None

    def end(self, end: End) -> Future[int] | None:
        """Write the last line and close the file, as ``close`` does."""
        self._add(end)
        return self.close()

    def close(self) -> Future[int] | None:
        """Close the file, without a last line if none was written, as after a crash. None: there is no file.

        The future, the same at every call, resolves in the writer thread when all is written: with the file's size, or
        with ``error``.
        """
        self._closed = True
        if self._file is not None and self._done is None:
            self._done = Future[int]()
            # A future keeps its callbacks: none that knows of this, or it would refer back to itself.
            self._file.close().add_done_callback(partial(_settle, self._done, self.error))
        return self._done

    @property
    def over(self) -> bool:
        """Whether everything that will ever be written is written. May be asked by any thread."""
        if self._file is None:
            return self._closed
        return self._file.error is not None or self._file.written

    def _add(self, entry: Batch | Pause | End) -> None:
        if self._waiting is not None:
            self._wait(self._waiting, entry)
        elif self.error is None:
            self._write(entry)

    def _wait(self, waiting: list[Batch | Pause | End], entry: Batch | Pause | End) -> None:
        if self.error is not None:
            return
        data = entry.data if isinstance(entry, Batch) else ()
        self._waiting_bytes += sum(MESSAGE_BYTES + (0 if isinstance(one, int) else len(one)) for one in data)
        self._waiting_bytes += MESSAGE_BYTES
        if self._waiting_bytes > WAITING_BYTES:
            waiting.clear()
            self.error = OSError(
                errno.ENOBUFS, f"more than {WAITING_BYTES} bytes came before the stream had its folder"
            )
            return
        waiting.append(entry)

    def _write(self, entry: Batch | Pause | End) -> None:
        if isinstance(entry, Batch):
            self._append(encode_batch(entry))
        else:
            self._append(encode_pause(entry) if isinstance(entry, Pause) else encode_end(entry))

    def _append(self, text: bytes) -> None:
        file = self._file
        if self.error is not None or file is None or self._done is not None:
            return
        try:
            file.append(text)
        except files.FileError as problem:
            self._fail(file, problem)

    def _fail(self, file: files.File, problem: OSError) -> None:
        self.error = problem
        file.close()  # a capture has no holes: nothing more is to come


def _settle(done: Future[int], error: OSError | None, closed: Future[int]) -> None:
    problem = closed.exception() or error
    if problem is None:
        done.set_result(closed.result())
    else:
        done.set_exception(problem)
