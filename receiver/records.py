"""Records: facts for the whole process, without audio."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from receiver.events import Annotation, EndReason
from receiver.stream import StreamFacts


class StreamStarted(msgspec.Struct, frozen=True):
    """A stream began; its audio goes to sinks."""

    stream: StreamFacts
    directory: Path


class StreamEnded(msgspec.Struct, frozen=True):
    """A stream ended and its ``stream.json`` is final but for what late sinks may add."""

    stream: StreamFacts
    directory: Path
    reason: EndReason
    stop_received: bool
    duration_s: float


class Annotated(msgspec.Struct, frozen=True):
    """A sink annotated a stream."""

    stream_id: str  # ours
    annotation: Annotation


class FileAdded(msgspec.Struct, frozen=True):
    """A sink finished a file."""

    stream_id: str  # ours
    path: Path
    kind: str
    media_type: str


class StreamErased(msgspec.Struct, frozen=True):
    """A stream's folder is gone, with everything in it. What a plugin keeps of it elsewhere is to go as well."""

    stream_id: str | None  # ours; None where the folder's own files could not be read any more
    source: str | None
    call_id: str | None
    directory: Path | None  # where it was; None where a crash came in between
    reason: Literal["age", "disk", "asked"]


class Refused(msgspec.Struct, frozen=True):
    """A handshake was answered with an error."""

    source: str
    reason: str
    status: int
    peer_address: str


Record = StreamStarted | StreamEnded | Annotated | FileAdded | StreamErased | Refused
