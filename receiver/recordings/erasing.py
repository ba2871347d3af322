"""Erasing a stream's folder, with everything in it, so that whoever looks sees all of it or nothing.

The folder is first moved into ``.erased`` below the root, and emptied there. What a crash leaves in there the next
start finishes. The folder's own lock (flock) keeps two processes from erasing at the same place, and the journal's
keeps everybody from a stream that is live.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Literal, NamedTuple, get_args
from uuid import uuid4

import msgspec

from receiver.errors import ReceiverError
from receiver.logs import logger
from receiver.recordings import journal, stream_json
from receiver.recordings.naming import ERASED
from receiver.recordings.removal import (
    ORIGIN,
    claimed,
    empty,
    measure,
    open_folder,
    read_origin,
    remove_empty,
    write_origin,
)
from receiver.recordings.stored import NEW_JOURNAL, Identity, read_identity

Reason = Literal["age", "disk", "asked"]
REASONS: tuple[Reason, ...] = get_args(Reason)

ATTEMPTS = 100
"""How often ``.erased`` is made again where another process removes it, empty, in the same moment."""

IN_PLACE = (errno.EXDEV, errno.ENOSPC, errno.EDQUOT)
"""Why a folder cannot be moved, but emptied: it is on a disk of its own, or the disk is too full for anything new."""

_LAST = (NEW_JOURNAL, journal.NAME, stream_json.NAME, ORIGIN)  # they say whose the rest is

log = logger("receiver.recordings")


class InUse(ReceiverError):
    """A folder that must stay for now: ``sinks`` are those that are at work on it."""

    def __init__(self, why: Literal["live", "sinks", "unfinished", "erasing"], sinks: tuple[str, ...] = ()) -> None:
        super().__init__(why)
        self.why = why
        self.sinks = sinks


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """A stream's folder that is no more."""

    id: str | None  # ours; None where nothing in the folder said so
    source: str | None
    call_id: str | None
    directory: Path | None  # None: a crash came in between, and it is not known any more
    reason: Reason
    files: int
    bytes: int
    freed: int  # bytes on the disk: a hole takes none


class _Place(NamedTuple):
    """Where a folder is that is being erased: descriptors of the one above and its own, and its name there."""

    above: int
    name: str
    folder: int


class Eraser:
    """Erases folders below one root, and tells of each that is gone. Blocks; any thread."""

    def __init__(self, root: Path, told: Callable[[Erased], None]) -> None:
        self.root = root
        self._told = told

    def erase(self, directory: Path, reason: Reason, by: str | None = None) -> Erased | None:
        """Erase one stream's folder; None where it is gone already. ``by`` is who asked, for the log.

        What is unfinished, and not live, is erased only if somebody asked. Folders above it that are empty then go,
        too, but not the root. Raises InUse, and OSError: what is left then, ``finish`` erases.
        """
        *way_names, name = directory.relative_to(self.root).parts
        if ".." in (*way_names, name):
            raise ValueError(f"{directory} is not below {self.root}")
        with ExitStack() as stack:
            try:
                way = [open_folder(stack, self.root, None)]
                for part in way_names:
                    way.append(open_folder(stack, part, way[-1]))
                folder = open_folder(stack, name, way[-1])
                if not claimed(folder):
                    raise InUse("erasing")
                if not os.path.samestat(os.fstat(folder), os.lstat(name, dir_fd=way[-1])):
                    return None  # erased, and another stream has the name
                identity = _check(stack, folder, asked=reason == "asked")
                write_origin(folder, (*way_names, name))
                trash, moved = self._move(stack, way, name, reason)
            except FileNotFoundError:
                return None
            remove_empty(way, way_names)
            if reason == "asked":  # who was told that it is gone will not find it again after a power failure
                os.fsync(way[-1])
            erased = self._end(way[0], _Place(trash, moved, folder), identity, reason, directory, by)
            if moved == name:
                remove_empty(way, way_names)
            return erased

    def finish(self) -> None:
        """Erase what a crash, or a disk that failed, has left half erased. Raises OSError for the last that failed."""
        problem: OSError | None = None
        with ExitStack() as stack:
            try:
                root = open_folder(stack, self.root, None)
                trash = open_folder(stack, ERASED, root)
            except FileNotFoundError:
                return
            for name in os.listdir(trash):
                try:
                    self._finish(root, trash, name)
                except (FileNotFoundError, InUse):
                    pass  # another process is at it
                except OSError as error:
                    problem = error
            with suppress(OSError):  # there is more in it
                os.rmdir(ERASED, dir_fd=root)
        if problem is not None:
            raise problem

    def _finish(self, root: int, trash: int, name: str) -> None:
        with ExitStack() as stack:
            folder = open_folder(stack, name, trash)
            if not claimed(folder):
                raise InUse("erasing")
            identity = read_identity(folder)
            said = name.partition("-")[0]
            reason = next((reason for reason in REASONS if reason == said), REASONS[-1])
            parts, way = read_origin(folder), [root]
            with suppress(OSError):  # the rest of the way has gone
                for part in parts[:-1]:
                    way.append(open_folder(stack, part, way[-1]))
            remove_empty(way, parts[: len(way) - 1])
            directory = self.root.joinpath(*parts) if parts else None
            self._end(root, _Place(trash, name, folder), identity, reason, directory)

    def _move(self, stack: ExitStack, way: list[int], name: str, reason: Reason) -> tuple[int, str]:
        """Out of everybody's sight: where it is now, and its name there."""
        hidden = f"{reason}-{uuid4().hex}"
        for _ in range(ATTEMPTS):
            try:
                with suppress(FileExistsError):
                    os.mkdir(ERASED, 0o700, dir_fd=way[0])
                trash = open_folder(stack, ERASED, way[0])
                os.rename(name, hidden, src_dir_fd=way[-1], dst_dir_fd=trash)
            except FileNotFoundError:
                os.lstat(name, dir_fd=way[-1])  # raises where it is the folder itself that is gone
                continue  # .erased was empty, and another process has just removed it
            except OSError as error:
                if error.errno not in IN_PLACE:
                    raise
                return way[-1], name  # it is emptied where it lies, and stream.json goes last
            return trash, hidden
        raise OSError(errno.EAGAIN, "cannot be moved", name)

    def _end(
        self,
        root: int,
        place: _Place,
        identity: Identity,
        reason: Reason,
        directory: Path | None = None,
        by: str | None = None,
    ) -> Erased:
        """Empty it, and tell."""
        folder = place.folder
        files, size, freed = measure(folder)
        empty(folder, last=_LAST)
        os.rmdir(place.name, dir_fd=place.above)
        with suppress(OSError):  # there is more in it
            os.rmdir(ERASED, dir_fd=root)
        if reason == "asked":
            os.fsync(place.above)
        erased = Erased(
            id=identity.id,
            source=identity.source,
            call_id=identity.call_id,
            directory=directory,
            reason=reason,
            files=files,
            bytes=size,
            freed=freed,
        )
        if files or identity.id:  # else a crash came when all but the empty folder was gone, and it has been told
            said = {"by": by} if by else {}
            log.info(
                "stream_erased",
                stream=identity.id,
                source=identity.source,
                call=identity.call_id,
                reason=reason,
                files=files,
                bytes=size,
                **said,
            )
            self._told(erased)
        return erased


def _check(stack: ExitStack, folder: int, *, asked: bool) -> Identity:
    """Whose it is, with its journals locked from here on. Raises InUse while somebody is at work on it.

    What sinks hold is looked for behind that: while the journal is locked they may still come to hold something.
    """
    unfinished = False
    for name in (journal.NAME, NEW_JOURNAL):
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except FileNotFoundError:
            continue
        stack.callback(os.close, descriptor)
        unfinished = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            over = stream_json.NAME in os.listdir(folder)
            raise InUse("sinks" if over else "live", read_identity(folder).running if over else ()) from None
    identity = read_identity(folder)
    if identity.pending:
        raise InUse("sinks", identity.pending)
    if not asked and (unfinished or stream_json.NAME not in os.listdir(folder)):
        raise InUse("unfinished")
    return identity
