"""What was written reaches the disk: one ``syncfs`` of the recordings' file system every so often, in a thread.

A process that dies loses nothing that the kernel has taken; a machine that loses its power loses what was not synced.
One call for the file system costs less than one for each file: hundreds of streams write at once.

Where it fails, what the kernel had in hand may be gone, and asking again would only say that all is well (the error is
told once). So all files that were being written are given up, and their owners go on in new ones.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

from receiver import disk, files
from receiver.logs import logger

STOP_S = 10.0
"""How long the end waits for a call that is under way."""

_log = logger("receiver.files")


class Syncing:
    """Syncs the file system of a directory while there is something new on it."""

    def __init__(self, directory: Path, every_s: float) -> None:
        """``every_s`` 0: never; the kernel does it when it sees fit, on Linux within half a minute."""
        self._directory = directory.absolute()
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, where there is such a call: on Linux."""
        syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
        if self._every_s and syncfs is not None:
            self._thread = threading.Thread(target=self._run, args=(syncfs,), name="receiver-sync", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End. Waits for a call that is under way, as long as a disk may reasonably take."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(STOP_S)

    def _run(self, syncfs: Callable[[int], int]) -> None:
        descriptor = -1  # one for all calls: the kernel tells each descriptor of the errors since it was opened
        known = 0
        try:
            while not self._stop.wait(self._every_s):
                written = files.written_bytes()
                if written == known:
                    continue
                try:
                    if descriptor < 0:
                        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                    _call(syncfs, descriptor)
                except OSError as problem:
                    self._failed(problem)
                else:
                    known = written
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _failed(self, problem: OSError) -> None:
        disk.failed(problem)
        # Having no descriptor left, or no folder yet, says nothing about what was written.
        lost = files.fail_below(self._directory, problem) if problem.errno in (errno.EIO, errno.ENOSPC) else 0
        _log.error("sync_failed", directory=str(self._directory), problem=str(problem), files_given_up=lost)


def _call(syncfs: Callable[[int], int], descriptor: int) -> None:
    """Call it, with the interpreter free for others meanwhile. Raises OSError."""
    if syncfs(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
