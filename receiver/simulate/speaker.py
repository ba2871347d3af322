"""The interface of a speaker: what one vendor's platform would say of a call, as WebSocket text messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec


class Opening(msgspec.Struct, frozen=True):
    """What a platform says of a stream in its start message."""

    tracks: tuple[str, ...]
    encoding: str  # as written on the wire, e.g. audio/x-mulaw
    rate: int  # hertz
    parameters: Mapping[str, Any]  # custom parameters
    stream_id: str | None = None  # these three: None has the speaker make one up, in its vendor's form
    call_id: str | None = None
    account_id: str | None = None


class Speaker(Protocol):
    """One instance per connection: a speaker counts what it says. Each method returns one text message, in order."""

    def connected(self) -> str:
        """The greeting."""

    def start(self, opening: Opening) -> str:
        """The stream begins; must come before any of the others."""

    def media(self, track: str, timestamp_ms: int, payload: bytes) -> str:
        """One packet of a track; chunks are counted from 1 per track."""

    def dtmf(self, digit: str, duration_ms: int) -> str:
        """A key was pressed by the caller."""

    def stop(self) -> str:
        """The stream ends."""


def to_json(message: Mapping[str, Any]) -> str:
    """One message as a platform writes it: compact, one line."""
    return msgspec.json.encode(message).decode()
