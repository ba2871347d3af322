"""The few fields of a peer's messages that a replay looks at, read out of any JSON, and rewritten in it."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from receiver.dialects.dialect import Data
from receiver.dialects.json_text import LARGEST_INTEGER


class Fields(msgspec.Struct, frozen=True):
    """What a message is. ``event`` is empty for what is no JSON object that names one."""

    event: str = ""
    track: str = ""  # of media, as the peer writes it
    stamp_ms: int | None = None  # of media

    @property
    def is_media(self) -> bool:
        """Whether it is a packet of audio."""
        return self.event == "media"


class _Body(msgspec.Struct):
    track: Any = None
    timestamp: Any = None


class _Text(msgspec.Struct):
    event: Any = None
    media: _Body | None = None


_NOTHING = Fields()
_decode = msgspec.json.Decoder(_Text).decode


def read_fields(data: Data) -> Fields:
    """Read a message, tolerantly: numbers may be strings, and what is missing or of an odd type is not there."""
    if isinstance(data, bytes):
        return _NOTHING
    try:
        line = _decode(data)
        event, body = line.event, line.media
        track, stamp = (None, None) if body is None else (body.track, body.timestamp)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        message = read_message(data)
        event, loose = message.get("event"), message.get("media")
        track, stamp = (loose.get("track"), loose.get("timestamp")) if isinstance(loose, dict) else (None, None)
    if not isinstance(event, str):
        return _NOTHING
    if event != "media":
        return Fields(event)
    return Fields(event, track if isinstance(track, str) else "", number(stamp))


def read_message(data: Data) -> dict[str, Any]:
    """The JSON object that a message is, or an empty one."""
    if isinstance(data, bytes):
        return {}
    try:
        message = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        try:
            message = json.loads(data)  # takes more: lone surrogates, NaN
        except (ValueError, RecursionError):
            return {}
    return message if isinstance(message, dict) else {}


def write_message(message: dict[str, Any]) -> str:
    """A message in compact JSON, on one line."""
    try:
        return msgspec.json.encode(message).decode()
    except UnicodeEncodeError:  # a lone surrogate
        return json.dumps(message, separators=(",", ":"))


def number(value: object) -> int | None:
    """A counter or a timestamp, written as a number or as a string; None for what is not one."""
    if isinstance(value, str):
        try:
            value = float(value) if len(value) < 100 else None
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LARGEST_INTEGER:
        return None
    return int(value)


def renumbered(holder: dict[str, Any], name: str, value: int) -> None:
    """Put another number under a name, as a string where it was one."""
    holder[name] = str(value) if isinstance(holder[name], str) else value
