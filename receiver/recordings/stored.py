"""Streams' folders as they lie below the root: found by a walk that follows no symbolic link, and read as needed.

One with ``stream.json`` and without a journal is finished: nobody writes into it any more.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

import msgspec

from receiver.recordings import journal, naming, stream_json
from receiver.stream import PENDING

NEW_JOURNAL = f"{journal.NAME}.new"
"""A journal before it has its name: all that a process leaves that dies in that moment."""

MAX_DEPTH = 64
"""How many folders deep is looked for streams: each level costs a descriptor."""

MAX_BYTES = 64 * 2**20
"""Of a ``stream.json`` that is read: none of ours is as long."""

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_Level: TypeAlias = "os._ScandirIterator[str]"
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe of that name must not hold us up

Enter = Callable[[int, str], bool]
"""Whether to look into a folder, by its depth (0: right below the root) and its name."""

Problem = Callable[[str, OSError], None]
"""Takes a folder that cannot be looked into, and why."""


class Stored(msgspec.Struct, frozen=True):
    """A stream's folder."""

    directory: str
    finished: bool


class Identity(msgspec.Struct, frozen=True):
    """Whose a folder is. Where neither ``stream.json`` nor the journal can be read, there are no ids."""

    id: str | None
    source: str | None
    call_id: str | None
    ended: float
    """When the stream ended, in seconds since 1970; where nothing says so, when its file was written last."""
    running: tuple[str, ...] = ()  # sinks that had not ended when stream.json was written
    pending: tuple[str, ...] = ()  # sinks that have something to deliver yet


class _Sink(msgspec.Struct):
    status: str


class _Told(msgspec.Struct):
    """What is wanted of ``stream.json``; the rest of it is passed over."""

    id: str
    source: str
    call_id: str | None
    ended: datetime
    sinks: dict[str, _Sink]


class _Facts(msgspec.Struct):
    id: str
    source: str
    call_id: str | None


class _FirstLine(msgspec.Struct):
    facts: _Facts


_decode_told = msgspec.json.Decoder(_Told).decode
_decode_line = msgspec.json.Decoder(_FirstLine).decode


def stored_streams(root: Path, *, enter: Enter, problem: Problem) -> Iterator[Stored]:
    """Every stream's folder below ``root``, in no order. Blocks. What is inside of one belongs to it.

    Hidden folders are none of ours. What cannot be looked into is told to ``problem`` and passed over.
    """
    levels: list[_Level] = []

    def descend(directory: str) -> None:
        try:
            levels.append(os.scandir(directory))
        except FileNotFoundError:
            pass  # it has just been erased
        except OSError as error:
            problem(directory, error)

    descend(os.fspath(root))
    try:
        while levels:
            entry = _next(levels, problem)
            if entry is None or entry.name.startswith(".") or not enter(len(levels) - 1, entry.name):
                continue
            try:
                found = _stored(entry.path)
            except OSError as error:
                problem(entry.path, error)
                continue
            if found is not None:
                yield found
            elif len(levels) < MAX_DEPTH:
                descend(entry.path)
    finally:
        for level in levels:
            level.close()


def _next(levels: list[_Level], problem: Problem) -> os.DirEntry[str] | None:
    """The next folder of the innermost level; None, one level up, where there is none."""
    try:
        for entry in levels[-1]:
            if entry.is_dir(follow_symlinks=False):
                return entry
    except FileNotFoundError:
        pass  # its last stream was erased, and it with that
    except OSError as error:
        problem("a folder that was being read", error)
    levels.pop().close()
    return None


def _stored(directory: str) -> Stored | None:
    if _is_there(directory, stream_json.NAME):  # asked for first: the journal goes when stream.json is complete
        return Stored(directory, not _is_there(directory, journal.NAME))
    unfinished = _is_there(directory, journal.NAME) or _is_there(directory, NEW_JOURNAL)
    return Stored(directory, False) if unfinished else None


def _is_there(directory: str, name: str) -> bool:
    try:
        os.lstat(f"{directory}/{name}")
    except FileNotFoundError:
        return False
    return True


def read_identity(folder: int) -> Identity:
    """Whose the folder of this descriptor is. Blocks. Raises OSError; what is damaged is no error."""
    pending = tuple(sorted(name.removesuffix(PENDING) for name in os.listdir(folder) if name.endswith(PENDING)))
    written = os.fstat(folder).st_mtime
    if (found := _read(folder, stream_json.NAME, whole=True)) is not None:
        text, written = found
        try:
            told = _decode_told(text)
            running = tuple(sorted(name for name, sink in told.sinks.items() if sink.status == "running"))
            return Identity(told.id, told.source, told.call_id, told.ended.timestamp(), running, pending)
        except (ValueError, RecursionError, OverflowError):
            pass
    for name in (journal.NAME, NEW_JOURNAL):
        if (found := _read(folder, name, whole=False)) is not None:
            text, written = found
            try:
                facts = _decode_line(text).facts
                return Identity(facts.id, facts.source, facts.call_id, written, (), pending)
            except (ValueError, RecursionError):
                pass
    return Identity(None, None, None, written, (), pending)


def _read(folder: int, name: str, *, whole: bool) -> tuple[bytes, float] | None:
    """A file, or its first line, and when it was written last; None where there is none, or it is no file."""
    try:
        descriptor = os.open(name, _FILE, dir_fd=folder)
    except OSError:
        return None
    with open(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            return None
        try:
            text = file.read(MAX_BYTES) if whole else file.readline(MAX_BYTES)
        except OSError:  # a bad block: the folder is to be erased in its time all the same
            text = b""
    return text, facts.st_mtime


def find_stream(root: Path, template: str, stream_id: str, problem: Problem) -> list[tuple[str, Identity]]:
    """The folder of a stream by our id of it, if there is one. Blocks.

    Quick where ``template`` has the id in it; else, and for a folder of another template, every folder is read.
    """
    if naming.safe(stream_id) != stream_id:
        return []  # no id of ours
    depths = {depth for depth, part in enumerate(template.split("/")) if "{stream_id}" in part}

    def named(depth: int, name: str) -> bool:
        return depth not in depths or stream_id in name

    def wanted(directory: str, identity: Identity) -> bool:
        return stream_id in (identity.id, os.path.basename(directory) if identity.id is None else None)

    found = _find(root, named, wanted, problem) if depths else []
    return found or _find(root, everywhere, wanted, problem)


def find_call(root: Path, call_id: str, problem: Problem) -> list[tuple[str, Identity]]:
    """The folders of a call's streams, by the platform's id of it. Reads every folder. Blocks."""
    return _find(root, everywhere, lambda directory, identity: identity.call_id == call_id, problem)


def everywhere(depth: int, name: str) -> bool:
    """Look into every folder."""
    return True


def _find(
    root: Path, enter: Enter, wanted: Callable[[str, Identity], bool], problem: Problem
) -> list[tuple[str, Identity]]:
    found = []
    for stored in stored_streams(root, enter=enter, problem=problem):
        try:
            identity = identity_at(stored.directory)
        except FileNotFoundError:
            continue
        except OSError as error:
            problem(stored.directory, error)
            continue
        if wanted(stored.directory, identity):
            found.append((stored.directory, identity))
    return found


def identity_at(directory: str) -> Identity:
    """The same by the folder's path. Raises OSError."""
    folder = os.open(directory, FOLDER)
    try:
        return read_identity(folder)
    finally:
        os.close(folder)
