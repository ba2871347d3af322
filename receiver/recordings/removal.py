"""Removing a folder by descriptors, so that nothing that somebody puts into the way leads to another place."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from receiver.recordings.stored import FOLDER

ORIGIN = ".erased-from"
"""A link in a folder that is to go. It leads nowhere: it says where below the root the folder was."""


def open_folder(stack: ExitStack, name: str | Path, above: int | None) -> int:
    """A folder's descriptor until the end of ``stack``; through no symbolic link, but for the root."""
    descriptor = os.open(name, FOLDER if above is not None else FOLDER & ~os.O_NOFOLLOW, dir_fd=above)
    stack.callback(os.close, descriptor)
    return descriptor


def claimed(folder: int) -> bool:
    """Take the folder's lock, for as long as it is open. False: another process, or thread, has it."""
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without such locks: renaming still lets only one have it
    return True


def write_origin(folder: int, parts: Sequence[str]) -> None:
    """Put down, in one step, where a folder is, for who finds it elsewhere. Where there is no room for it, do not."""
    with suppress(OSError):
        os.symlink("/".join(parts), ORIGIN, dir_fd=folder)


def read_origin(folder: int) -> tuple[str, ...]:
    """Where a folder was below the root; empty where that is not known."""
    try:
        parts = tuple(os.readlink(ORIGIN, dir_fd=folder).split("/"))
    except OSError:
        return ()
    return () if {"", ".", ".."} & set(parts) else parts


def remove_empty(way: Sequence[int], names: Sequence[str]) -> None:
    """The folders above one that is gone, as far as they are empty. Who was about to use one makes it again."""
    for depth in reversed(range(len(names))):
        try:
            os.rmdir(names[depth], dir_fd=way[depth])
        except OSError:
            break  # it has other streams


def measure(folder: int) -> tuple[int, int, int]:
    """How many files there are in a folder and below, their bytes, and what they take of the disk."""
    files = size = freed = 0
    for _, _, names, inside in os.fwalk(".", dir_fd=folder):
        for name in set(names) - {ORIGIN}:
            with suppress(FileNotFoundError):
                found = os.stat(name, dir_fd=inside, follow_symlinks=False)
                files += 1
                size += found.st_size
                freed += found.st_blocks * 512 if found.st_nlink == 1 else 0
    return files, size, freed


def empty(folder: int, *, last: Sequence[str]) -> None:
    """Remove everything in a folder; those names at the end, in their order."""
    names = os.listdir(folder)
    for name in (*(name for name in names if name not in last), *(name for name in last if name in names)):
        _remove(name, folder)


def _remove(name: str, folder: int) -> None:
    if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        shutil.rmtree(name, dir_fd=folder)
    else:
        os.unlink(name, dir_fd=folder)
