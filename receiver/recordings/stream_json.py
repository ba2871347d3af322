"""``stream.json``: everything about a stream but its audio; ``stream.schema.json`` describes it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from receiver.audio import AudioFormat
from receiver.events import Cause, Digit, Discontinuity, EndReason, Marked, TrackCounters
from receiver.recordings.journal import End, encode
from receiver.recordings.ledger import FileEntry, Ledger, SinkEntry
from receiver.stream import StreamFacts

NAME = "stream.json"
VERSION = 1


class GapEntry(msgspec.Struct, frozen=True):
    """A gap of a track: samples at the track's rate."""

    start: int
    end: int
    cause: Cause


class TrackEntry(msgspec.Struct, frozen=True):
    """A track. ``counters`` is null where a crash came before the first of them was written."""

    counters: TrackCounters | None
    gaps: list[GapEntry]


class MeasuredFile(msgspec.Struct, frozen=True):
    """A file as it lies there. ``bytes`` and ``sha256`` are null where it is gone or cannot be read."""

    path: str
    kind: str
    media_type: str
    sink: str
    bytes: int | None
    sha256: str | None


class EndEntry(msgspec.Struct, frozen=True):
    """How the stream ended."""

    reason: EndReason
    stop_received: bool
    error: str | None
    close_code: int | None


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it. Times are RFC 3339 in UTC, positions are samples at the ``rate`` beside them."""

    version: int = VERSION
    id: str
    source: str
    dialect: str
    stream_id: str
    call_id: str | None
    account_id: str | None
    announced_tracks: tuple[str, ...]
    format: AudioFormat
    parameters: Mapping[str, Any]
    path_parameters: Mapping[str, str]
    peer_address: str
    token: str | None
    started: str
    ended: str
    duration_s: float
    end: EndEntry
    tracks: dict[str, TrackEntry]
    digits: list[Digit]
    marks: list[Marked]
    discontinuities: list[Discontinuity]
    annotations: list[msgspec.Raw]
    files: list[MeasuredFile]
    sinks: dict[str, SinkEntry]
    callbacks: list[Any]
    ignored: dict[str, int]
    omitted: dict[str, int]


_read_document = msgspec.json.Decoder(Document).decode  # made before threads read: see receiver.recordings.journal


def document(facts: StreamFacts, ledger: Ledger, end: End, measured: list[MeasuredFile]) -> Document:
    """Put together what is known; the lists are copied, so that the ledger may go on."""
    ended = end.ended
    tracks = {
        name: TrackEntry(
            ledger.counters.get(name), [GapEntry(gap.start, gap.end, gap.cause) for gap in ledger.gaps.get(name, [])]
        )
        for name in dict.fromkeys([*facts.tracks, *ledger.counters, *ledger.gaps])
    }
    return Document(
        id=facts.id,
        source=facts.source,
        dialect=facts.dialect,
        stream_id=facts.stream_id,
        call_id=facts.call_id,
        account_id=facts.account_id,
        announced_tracks=facts.tracks,
        format=facts.format,
        parameters=facts.parameters,
        path_parameters=facts.path_parameters,
        peer_address=facts.peer_address,
        token=facts.token,
        started=rfc3339(facts.started),
        ended=rfc3339(end.at),
        duration_s=ledger.duration_s(),
        end=EndEntry(ended.reason, ended.stop_received, ended.error, ended.close_code),
        tracks=tracks,
        digits=list(ledger.digits),
        marks=list(ledger.marks),
        discontinuities=list(ledger.discontinuities),
        annotations=list(ledger.annotations),
        files=measured,
        sinks=dict(ledger.sinks),
        callbacks=[],
        ignored=dict(ended.ignored),
        omitted=dict(ledger.omitted),
    )


def rfc3339(time: datetime) -> str:
    """A time in UTC to the millisecond."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read(directory: Path) -> Document | None:
    """What ``stream.json`` says, or None where there is none. Blocks. Raises OSError, ValueError where it says else."""
    try:
        return _read_document((directory / NAME).read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as problem:
        raise ValueError(f"{NAME} cannot be read: {problem}") from problem


def measure(directory: Path, file: FileEntry | MeasuredFile) -> MeasuredFile:
    """Size and SHA-256 of a file. Blocks for as long as it takes to read it."""
    size: int | None = None
    digest: str | None = None
    try:
        descriptor = os.open(directory / file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, "rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
            size = content.tell()
    except OSError:
        pass  # null says it
    return MeasuredFile(file.path, file.kind, file.media_type, file.sink, size, digest)


def write(directory: Path, content: Document) -> None:
    """Write ``stream.json`` whole or not at all, also when the power fails meanwhile. Blocks. Raises OSError."""
    new = directory / f"{NAME}.part"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(_text(content))
        file.flush()
        os.fsync(descriptor)
    with synced(directory):
        os.rename(new, directory / NAME)


def _text(content: Document) -> bytes:
    """A line per field, and per entry of a list or an object. To indent what is deeply nested would multiply it."""
    fields = []
    for name in content.__struct_fields__:
        value = getattr(content, name)
        if value and isinstance(value, list):
            said = b"[\n    " + b",\n    ".join(encode(item) for item in value) + b"\n  ]"
        elif value and isinstance(value, Mapping):
            items = (encode(key) + b": " + encode(item) for key, item in value.items())
            said = b"{\n    " + b",\n    ".join(items) + b"\n  }"
        else:
            said = encode(value)
        fields.append(b"  " + encode(name) + b": " + said)
    return b"{\n" + b",\n".join(fields) + b"\n}\n"


@contextmanager
def synced(directory: Path) -> Iterator[None]:
    """Change names in a folder so that they survive a power failure. Blocks. Raises OSError.

    It is opened before the change: a folder whose journal goes is anybody's, and may be erased before this comes back.
    """
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield
        os.fsync(folder)
    finally:
        os.close(folder)
