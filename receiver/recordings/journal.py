"""``journal.jsonl``: what is known of a stream while it lives, a line of JSON per fact, for who finds it after a crash.

The first line is ``{"facts": …}``. The file is locked (flock) for as long as the process lives that writes it, and it
appears under its name only with the lock taken and the first line written: one without a lock is a dead stream's.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from receiver import files
from receiver.events import Annotation, Digit, Discontinuity, Ended, Gap, Marked, Passing, TrackCounters
from receiver.recordings.ledger import FileEntry, Ledger, SinkEntry
from receiver.stream import StreamFacts

NAME = "journal.jsonl"


class End(msgspec.Struct, frozen=True):
    """How and when the stream ended."""

    ended: Ended
    at: datetime


class Line(msgspec.Struct, omit_defaults=True):
    """One line: one of these."""

    facts: StreamFacts | None = None
    gap: Gap | None = None
    digit: Digit | None = None
    mark: Marked | None = None
    discontinuity: Discontinuity | None = None
    annotation: Annotation | None = None
    file: FileEntry | None = None
    progress: dict[str, TrackCounters] | None = None
    end: End | None = None
    sinks: dict[str, SinkEntry] | None = None


# Made here, where one thread is: while msgspec learns a type, another thread that reads one of it crashes the process.
_read_line = msgspec.json.Decoder(Line).decode
_read_annotation = {kind: msgspec.json.Decoder(kind).decode for kind in (Annotation, Passing)}


class JournalError(Exception):
    """A journal that cannot be read: not even its first line says of which stream it is."""


def encode(value: Any) -> bytes:
    """JSON of a value that may hold what a peer sent, which is all that JSON can say, and lone surrogates.

    Raises TypeError or ValueError for what no JSON can say.
    """
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_without_surrogates(msgspec.to_builtins(value, builtin_types=(msgspec.Raw,))))


def encode_annotation(annotation: Annotation) -> tuple[bytes, Annotation]:
    """An annotation as a line will have it, and as whoever reads that line will: a copy, of plain JSON values.

    Raises ValueError, naming its sink and kind, where that cannot be.
    """
    try:
        encoded = encode(annotation)
        return encoded, _read_annotation[type(annotation)](encoded)
    except (TypeError, ValueError, RecursionError) as problem:
        raise ValueError(
            f"sink {annotation.sink}: the data of annotation {annotation.kind!r} is not JSON: {problem}"
        ) from problem


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_surrogates(item) for item in value]
    return value


def sayable(facts: StreamFacts) -> StreamFacts:
    """The facts as the journal will give them back: without lone surrogates, and parameters that it cannot hold."""
    try:
        said = _read_line(encode(Line(facts=facts))).facts
    except (TypeError, ValueError, RecursionError, msgspec.DecodeError):
        left_out = {"_left_out": "the parameters cannot be written as JSON"}
        said = _read_line(encode(Line(facts=msgspec.structs.replace(facts, parameters=left_out)))).facts
    if said is None or said != facts:
        return said or facts
    # Only what a sink might write into is had twice: a whole second copy takes a kilobyte for each stream.
    return msgspec.structs.replace(facts, parameters=said.parameters, path_parameters=said.path_parameters)


def begin(directory: Path, facts: StreamFacts, known: bytes = b"") -> files.File:
    """Start a journal, in the place of one that could not be written on if there is one; ``known`` are its lines.

    Blocks for a moment; what comes behind these lines, the writer thread writes. Raises OSError.
    """
    new = directory / f"{NAME}.new"
    with contextlib.suppress(FileNotFoundError):
        new.unlink()  # of an attempt that failed
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        text = memoryview(encode(Line(facts=facts)) + b"\n" + known)
        while text:
            text = text[os.write(descriptor, text) :]
        os.rename(new, directory / NAME)
    except BaseException:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    return files.adopt(descriptor, directory / NAME)


def lock(path: Path) -> int | None:
    """The descriptor of a dead stream's journal, locked by us until closed; None where a live process holds it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:  # another process's recovery has just finished it
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return descriptor
    except OSError as problem:
        if problem.errno not in (errno.EWOULDBLOCK, errno.ENOENT):
            os.close(descriptor)
            raise
    os.close(descriptor)
    return None


def read(descriptor: int) -> tuple[StreamFacts, Ledger, End | None, int]:
    """What a journal says, and how many bytes of whole lines cannot be read: those are passed over.

    Raises JournalError where the first line is no stream's facts.
    """
    ledger = Ledger()
    facts: StreamFacts | None = None
    end: End | None = None
    unread = 0
    with open(descriptor, "rb", closefd=False) as lines:
        for text in lines:
            if not text.endswith(b"\n"):
                break  # the line that was being written
            try:
                line = _read_line(text)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
                if facts is None:
                    raise JournalError(f"the first line is not a stream's facts: {problem}") from problem
                unread += len(text)
                continue
            if facts is None:
                if line.facts is None:
                    raise JournalError("the first line is not a stream's facts")
                facts = line.facts
            else:
                end = line.end or end
                _enter(ledger, line)
    if facts is None:
        raise JournalError("there is no whole line")
    return facts, ledger, end, unread


def lines_of(ledger: Ledger, end: End | None) -> bytes:
    """All that a ledger knows, as the journal has it."""
    lines = [Line(gap=gap) for gaps in ledger.gaps.values() for gap in gaps]
    lines += [Line(digit=digit) for digit in ledger.digits]
    lines += [Line(mark=mark) for mark in ledger.marks]
    lines += [Line(discontinuity=discontinuity) for discontinuity in ledger.discontinuities]
    lines += [Line(file=file) for file in ledger.files.values()]
    if ledger.counters:
        lines.append(Line(progress=ledger.counters))
    if end is not None:
        lines.append(Line(end=end))
    if ledger.sinks:
        lines.append(Line(sinks=ledger.sinks))
    said = [encode(line) for line in lines] + [annotation_line(bytes(one)) for one in ledger.annotations]
    return b"".join(line + b"\n" for line in said)


def annotation_line(encoded: bytes) -> bytes:
    """The line of an annotation that is encoded already."""
    return b'{"annotation":' + encoded + b"}"


def _enter(ledger: Ledger, line: Line) -> None:
    if line.gap:
        ledger.add_gap(line.gap)
    elif seen := line.digit or line.mark or line.discontinuity:
        ledger.add_seen(seen)
    elif line.annotation:
        ledger.add_annotation(encode(line.annotation))
    elif line.file:
        ledger.add_file(line.file)
    elif line.progress is not None:
        ledger.add_counters(line.progress)
    elif line.sinks is not None:
        ledger.sinks = line.sinks
    elif line.end:
        ledger.add_counters(line.end.ended.tracks)
