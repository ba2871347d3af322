"""What a peer said, in our names and no vendor's.

A field is None where the peer left it out or wrote something unreadable: audio is not lost to pedantry.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A peer's counter or clock. A decoder of this type refuses what lies outside; a constructor does not look."""


class MediaFormat(msgspec.Struct, frozen=True):
    """The format as announced, not yet understood: ``receiver.audio.parse_format`` does that."""

    encoding: str
    rate: int | None = None  # hertz
    channels: int | None = None


class Connected(msgspec.Struct, frozen=True):
    """The peer's greeting. Its version decides nothing."""

    version: str | None = None


class Start(msgspec.Struct, frozen=True):
    """The stream begins."""

    stream_id: str
    call_id: str | None
    account_id: str | None
    tracks: tuple[str, ...]
    format: MediaFormat
    parameters: dict[str, Any]
    defects: int = 0  # optional fields that were missing or unreadable


class Media(msgspec.Struct):
    """One packet of audio. Not frozen: one is made per 20 ms and track, and the fast path writes none of them twice."""

    track: str
    payload: bytes | None  # encoded audio; None: it was there and could not be read
    chunk: Count | None = None  # the peer's counter on this track
    timestamp: Count | None = None  # ms on the peer's clock


class Dtmf(msgspec.Struct, frozen=True):
    """A key was pressed."""

    digit: str
    duration_ms: int | None = None
    track: str | None = None


class Mark(msgspec.Struct, frozen=True):
    """A mark was passed."""

    name: str


class Stop(msgspec.Struct, frozen=True):
    """The stream ends."""


class Unknown(msgspec.Struct, frozen=True):
    """An event that this dialect does not have (yet): counted, else ignored."""

    event: str


Message = Connected | Start | Media | Dtmf | Mark | Stop | Unknown
