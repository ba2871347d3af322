"""The one thread per process that writes files, so that whoever receives audio never waits for a disk.

A file is written and closed in that thread; ``append`` only queues. What is queued is written at the latest every
20 ms, one unbuffered ``write`` per file and round, so that a killed process loses little and the rest is in the
kernel's hands. A new file is made by one of a few threads beside it: a directory's first file may cost a disk
milliseconds, and when hundreds of streams begin at once, those that are there already do not wait for all of that.

What may wait is bounded in bytes over the process: beyond that, ``append`` raises, since a disk that has fallen so far
behind does not get better by being given more.

A file that cannot be written is over, and says so; whoever appends goes on in another one, once there is room again.
"""

from __future__ import annotations

import atexit
import errno
import os
import threading
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NoReturn

import numpy.typing as npt

from receiver import disk

DEFAULT_LIMIT_BYTES = 256 * 2**20  # eight seconds of a thousand two-track streams of 8 kHz
ROUND_S = 0.02  # a wake-up per write would cost more than the write; promise 2 allows 50 ms
ENTRY_BYTES = 200  # what a queued piece costs beside its bytes: the view, the array behind it, the place in the list
MAKERS = 4  # threads that make files: more than one, because what each of them does is wait for the disk
RELEASE_BYTES = 2**20  # written bytes are released in such portions within a round: a slow disk makes rounds long

Data = bytes | memoryview | npt.NDArray[Any]


class FileError(OSError):
    """An append could not be taken, or an earlier one could not be written. ``filename`` says of which file."""


class File:
    """A file that is only appended to. One thread at a time appends; any thread may close.

    ``size`` counts the bytes appended, holes included, written or not; ``landed`` those that the kernel has taken.
    ``error`` is what went wrong, once it has: from then on nothing is taken or written, ``landed`` is final with the
    next round of the writer, and the file ends there.
    """

    __slots__ = ("_cost", "_descriptor", "_path", "_pieces", "_queued", "_writing", "done", "error", "landed", "size")

    def __init__(self, path: Path, descriptor: int | None = None) -> None:
        self._path = os.fspath(path)  # a Path takes four times as much
        self.size = 0
        self.landed = 0
        self.error: FileError | None = None
        self.done: Future[int] | None = None
        self._descriptor = descriptor
        self._pieces: list[Data | int] = []  # an int is a hole of so many bytes
        self._writing: list[Data | int] = []  # this round's; the two lists take turns
        self._cost = 0
        self._queued = False

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(self._path)

    @property
    def written(self) -> bool:
        """Whether it was closed and all of it has been written, or never will be."""
        return self.done is not None and self.done.done()

    def append(self, data: Data) -> None:
        """Queue bytes, C-contiguous and not changed afterwards: they are kept by reference. Never waits.

        Raises FileError where this file's opening or writing failed, and, with errno ENOBUFS, where the process has too
        much queued already: this is not taken then, what comes later may be. ValueError after ``close``.
        """
        size = len(data) if isinstance(data, bytes) else data.nbytes
        cost = size + ENTRY_BYTES
        with _writer.lock:
            if self.error is not None or self.done is not None:
                self._refuse()
            if _writer.queued + cost > _writer.limit:
                problem = FileError(errno.ENOBUFS, f"the disk is {_writer.queued} bytes behind", self._path)
                disk.failed(problem)
                raise problem
            _writer.queued += cost
            self._cost += cost
            self._pieces.append(data)
            self.size += size
            if not self._queued:
                _writer.queue(self)

    def skip(self, size: int) -> None:
        """Leave a hole of so many bytes, which read as zeros and take no room. Never waits; raises as ``append``."""
        with _writer.lock:
            if self.error is not None or self.done is not None:
                self._refuse()
            if self._pieces and isinstance(last := self._pieces[-1], int):
                self._pieces[-1] = last + size
            else:
                self._pieces.append(size)
            self.size += size
            if not self._queued:
                _writer.queue(self)

    def close(self) -> Future[int]:
        """Have the rest written, and the file closed at ``size`` bytes, also where it ends in a hole. Never waits.

        The future, the same at every call, resolves in the writer thread with the size, or with the file's FileError.
        """
        with _writer.lock:
            if self.done is None:
                self.done = Future()
                self.done.set_running_or_notify_cancel()  # who no longer waits for it cannot undo it
                if not self._queued:
                    _writer.queue(self)
            done = self.done
        _writer.wake.set()
        return done

    def _refuse(self) -> NoReturn:
        if self.error is not None:
            raise FileError(self.error.errno, self.error.strerror, self._path)
        raise ValueError(f"{self._path} is closed")

    def _begin_round(self) -> int:
        """Set aside what is queued, and what that costs; under the lock."""
        self._pieces, self._writing = self._writing, self._pieces
        cost, self._cost = self._cost, 0
        self._queued = False
        return cost

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._descriptor = os.open(self._path, flags, 0o600)
        except (OSError, ValueError) as problem:
            self._fail(problem)

    @property
    def _ready(self) -> bool:
        """Whether it is open, or cannot be opened: rounds are for such files."""
        return self._descriptor is not None or self.error is not None

    def _write(self, descriptor: int, pieces: list[Data | int]) -> None:
        if len(pieces) == 1 and not isinstance(pieces[0], int):
            self._write_all(descriptor, pieces[0])
            return
        run: list[Data] = []
        for piece in pieces:
            if isinstance(piece, int):
                self._write_run(descriptor, run)
                run.clear()
                os.lseek(descriptor, piece, os.SEEK_CUR)
                self.landed += piece
            else:
                run.append(piece)
        self._write_run(descriptor, run)

    def _write_run(self, descriptor: int, run: list[Data]) -> None:
        if run:
            self._write_all(descriptor, run[0] if len(run) == 1 else b"".join(run))

    def _write_all(self, descriptor: int, data: Data) -> None:
        size = len(data) if isinstance(data, bytes) else data.nbytes
        written = os.write(descriptor, data)
        self.landed += written
        while written < size:
            more = os.write(descriptor, memoryview(data).cast("B")[written:])
            self.landed += more
            written += more

    def _end(self) -> None:
        """Close, as the last thing that the writer does with this file."""
        if self._descriptor is None:
            return
        try:
            with open(self._descriptor, "wb", buffering=0) as file:
                if self.error is None:
                    file.truncate()  # to where it stands: a hole at the end becomes part of it
                else:
                    with suppress(OSError):  # there is an error already
                        file.truncate()
        except OSError as problem:
            self._fail(problem)

    def _fail(self, problem: Exception) -> None:
        number, reason = getattr(problem, "errno", None), getattr(problem, "strerror", None)
        self.error = self.error or FileError(number or errno.EIO, reason or str(problem), self._path)
        disk.failed(self.error)


class _Writer:
    """The threads and what waits for them. ``lock`` guards all of it and every file's queue; it is held for moments."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.wake = threading.Event()
        self.limit = DEFAULT_LIMIT_BYTES
        self.queued = 0
        self.waiting: list[File] = []
        self.open: set[File] = set()
        self.to_make: SimpleQueue[File | None] = SimpleQueue()
        self.making = 0
        self.thread: threading.Thread | None = None
        self.stopping = False
        self.written = 0  # bytes, ever: whether there is something to sync

    def queue(self, file: File) -> None:
        """Put a file in line for the next round, or first have it made; under the lock."""
        file._queued = True
        if file not in self.open:
            self.open.add(file)
            self.wake.set()  # without an open file the thread sleeps until it is woken
        if self.thread is None:
            self.stopping = False
            self.to_make = SimpleQueue()
            self.thread = threading.Thread(target=self.run, args=(self.to_make,), name="receiver-files", daemon=True)
            self.thread.start()
        if file._ready:
            self.waiting.append(file)
        else:
            self.making += 1
            self.to_make.put(file)

    def make(self, files: SimpleQueue[File | None]) -> None:
        """Make file after file, and put each in line with what has been appended to it meanwhile."""
        while (file := files.get()) is not None:
            file._open()
            with self.lock:
                self.making -= 1
                self.waiting.append(file)
            del file  # it is not kept while the thread sleeps

    def run(self, to_make: SimpleQueue[File | None]) -> None:
        """Write round after round, until stopped with nothing left to write."""
        make = partial(threading.Thread, target=self.make, args=(to_make,), name="receiver-files-make", daemon=True)
        makers = [make() for _ in range(MAKERS)]
        for maker in makers:
            maker.start()
        while True:
            if self.making or not self.stopping:
                self.wake.wait(ROUND_S if self.open else None)
            self.wake.clear()
            if not self.round():
                break
        for _ in makers:
            to_make.put(None)
        for maker in makers:
            maker.join()

    def round(self) -> bool:
        """Write what is queued, and end files that are closed. False: there is nothing left, and it is to stop.

        A function of its own, so that nothing of it is kept while the thread sleeps.
        """
        with self.lock:
            batch, self.waiting = self.waiting, []
            if self.stopping and not batch and not self.making:
                self.thread = None
                return False
            costs = [file._begin_round() for file in batch]
            closing = [(file, file.done) for file in batch if file.done is not None]
        self.write(batch, costs)
        for file, done in closing:
            self.end(file, done)
        return True

    def write(self, batch: list[File], costs: list[int]) -> None:
        """Write what this round has of each file. Each ``write`` hands the interpreter over, and nothing else does."""
        written = 0
        for file, cost in zip(batch, costs, strict=True):
            if file.error is None and (descriptor := file._descriptor) is not None:
                try:
                    file._write(descriptor, file._writing)
                except (OSError, ValueError, TypeError, BufferError) as problem:
                    file._fail(problem)
                else:
                    disk.worked()
            file._writing.clear()
            written += cost
            if written >= RELEASE_BYTES:
                self.release(written)
                written = 0
        self.release(written)

    def release(self, cost: int) -> None:
        """So much waits no longer."""
        with self.lock:
            self.queued -= cost
            self.written += cost

    def end(self, file: File, done: Future[int]) -> None:
        """Close a file that is written to its end, and tell who waits for that."""
        file._end()
        with self.lock:
            self.open.discard(file)
        if file.error is None:
            done.set_result(file.size)
        else:
            done.set_exception(file.error)


_writer = _Writer()


def configure(*, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
    """Begin: set how many bytes may wait to be written, over all files of the process, and forget earlier trouble."""
    with _writer.lock:
        _writer.limit = limit_bytes
    disk.forget()


def queued_bytes() -> int:
    """How many bytes wait to be written, with what it costs to keep them."""
    return _writer.queued


def create(path: Path) -> File:
    """A new file, mode 0600, never one that exists and never through a symbolic link. Never waits.

    It is made in a thread: that it could not be shows as FileError at a later ``append`` or at ``close``.
    """
    return adopt(None, path)


def adopt(descriptor: int | None, path: Path) -> File:
    """Go on with a file that is open already: it is appended to from where the descriptor stands, and closed here."""
    file = File(path, descriptor)
    with _writer.lock:
        _writer.queue(file)
    return file


def fail_below(directory: Path, problem: OSError) -> int:
    """End every open file of a directory, as what was written to it may not be on the disk; how many there were."""
    inside = os.path.join(directory, "")
    with _writer.lock:
        affected = [file for file in _writer.open if file._path.startswith(inside)]
    for file in affected:
        file._fail(problem)
    return len(affected)


def written_bytes() -> int:
    """How much has been written since the process began, with what it cost to keep: a figure that only grows."""
    return _writer.written


def flush() -> None:
    """Have everything queued written now instead of within 20 ms. Never waits."""
    if _writer.waiting:
        _writer.wake.set()


def shutdown(timeout_s: float = 10) -> None:
    """Wait until everything queued is written, and end the thread. The next file starts a new one."""
    with _writer.lock:
        thread = _writer.thread
        _writer.stopping = True
    if thread is not None:
        _writer.wake.set()
        thread.join(timeout_s)


atexit.register(shutdown)
