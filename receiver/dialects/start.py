"""The start message of the Media Streams family. Strict: a stream that begins wrong is refused, not guessed at."""

from __future__ import annotations

import re

import msgspec

from receiver.dialects.json_text import Fields, integer, member, text
from receiver.dialects.messages import MediaFormat, Start
from receiver.errors import ProtocolError

MAX_PARAMETERS = 99  # SignalWire's compatibility API numbers them 1 to 99
MAX_PARAMETER_BYTES = 4096  # each key, and each value as JSON
MAX_TRACKS = 16  # a call has two directions; what is announced beyond this is counted, not kept

_DEEPEST = 32  # levels of a parameter's value: whoever stores it must be able to walk it
_IDENTIFIER = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_TRACK = re.compile(r"[A-Za-z0-9_.-]{1,32}")


def read_start(message: Fields, greeting: Fields, *, parameters_due: bool) -> Start:
    """Read a start message; ``greeting`` holds the parameters that came with ``connected``.

    Raises ProtocolError 4400, naming the field, where a required one is missing or an identifier or parameter is
    beyond its bounds. With ``parameters_due``, a start without customParameters is counted as a defect.
    """
    body = member(message, "start", 4400)
    media_format = body.get("mediaFormat")
    if not isinstance(media_format, dict):
        raise ProtocolError(4400, "start.mediaFormat is missing or not an object")
    encoding = text(media_format.get("encoding"), 128)
    if encoding is None:
        raise ProtocolError(4400, "start.mediaFormat.encoding is missing or not a short string")
    rate = integer(media_format.get("sampleRate"), "start.mediaFormat.sampleRate")
    channels = integer(media_format.get("channels"), "start.mediaFormat.channels")
    account_id = _identifier(message, body, "accountSid")
    tracks, defects = _tracks(body.get("tracks"))
    defects += (rate is None) + (channels is None) + (account_id is None)
    defects += parameters_due and body.get("customParameters") is None
    parameters = greeting | read_parameters(body, "start")
    if len(parameters) > MAX_PARAMETERS:
        raise ProtocolError(4400, f"start.customParameters: more than {MAX_PARAMETERS} with those of connected")
    return Start(
        stream_id=_required(_identifier(message, body, "streamSid"), "streamSid"),
        call_id=_required(_identifier(message, body, "callSid"), "callSid"),
        account_id=account_id,
        tracks=tracks,
        format=MediaFormat(encoding, rate, channels),
        parameters=parameters,
        defects=defects,
    )


def track_name(value: str) -> str | None:
    """Return a track's name in small letters and without ``_track``, so ``inbound_track`` is ``inbound``; or None.

    SignalWire's page has both spellings (attribute ``track`` against message ``media``).
    """
    name = value[:-6] if value[-6:].lower() == "_track" else value
    return name.lower() if _TRACK.fullmatch(name) else None


def read_parameters(body: Fields, where: str) -> Fields:
    """Return ``customParameters`` of ``body``: any JSON under each key, for the REST API of SignalWire takes any."""
    parameters = body.get("customParameters")
    if parameters is None:
        return {}
    where = f"{where}.customParameters"
    if not isinstance(parameters, dict):
        raise ProtocolError(4400, f"{where} is not an object")
    if len(parameters) > MAX_PARAMETERS:
        raise ProtocolError(4400, f"{where}: more than {MAX_PARAMETERS} entries")
    for key, value in parameters.items():
        if text(key, MAX_PARAMETER_BYTES) is None:
            raise ProtocolError(4400, f"{where}: a key is too long or not Unicode")
        if _too_deep(value, _DEEPEST):
            raise ProtocolError(4400, f"{where}: a value is nested deeper than {_DEEPEST} levels")
        try:
            size = len(msgspec.json.encode(value))
        except TypeError:
            raise ProtocolError(1007, f"{where}: a value is not a JSON number") from None
        except UnicodeEncodeError:
            raise ProtocolError(4400, f"{where}: a value is not Unicode") from None
        if size > MAX_PARAMETER_BYTES:
            raise ProtocolError(4400, f"{where}: a value is longer than {MAX_PARAMETER_BYTES} bytes")
    return parameters


def _tracks(announced: object) -> tuple[tuple[str, ...], int]:
    """Return the tracks that could be read, and how much could not. An empty list is one defect, like none at all."""
    if not isinstance(announced, list) or not announced:
        return (), 1
    names = [track_name(item) for item in announced if isinstance(item, str)]
    tracks = tuple(dict.fromkeys(name for name in names if name is not None))[:MAX_TRACKS]
    return tracks, len(announced) - len(tracks)


def _identifier(message: Fields, body: Fields, name: str) -> str | None:
    """Return an id from the start object, else from the top level (Twilio repeats streamSid there)."""
    value = body.get(name)
    if value is None:
        value = message.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
        raise ProtocolError(4400, f"start.{name} is not an identifier of 1 to 128 letters, digits, _ . : -")
    return value


def _required(identifier: str | None, name: str) -> str:
    if identifier is None:
        raise ProtocolError(4400, f"start.{name} is missing")
    return identifier


def _too_deep(value: object, levels: int) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return False
    return levels == 0 or any(_too_deep(item, levels - 1) for item in value)
