"""The format of a capture: a header, then a line per message. ``docs/captures.md`` and the schema have it for others.

    {"version":1,"source":"default","accepted":"2026-11-21T10:20:07.123456Z",…}
    [0.012345,"m",{"event":"connected","protocol":"Call","version":"0.2.0"}]

Every line is JSON, so that jq reads it; a JSON message of the peer stands in its line character by character. A line
counts once its newline is there: what a crash left is valid up to the last one. After the header each line has a code:
m, t and b are messages, p is a withheld one or the beginning and end of withholding, x is the end. Capitals are for
what was sent, and are passed over.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import unquote

import msgspec

from receiver.dialects.dialect import Data
from receiver.errors import ReceiverError
from receiver.events import EndReason
from receiver.redaction import clean, is_secret

VERSION = 1
MESSAGE = b',"m",'
NAME = "capture.jsonl"
SPILL = "spill.jsonl"
"""The same, kept only for as long as a sink of the stream may have to read on from it; nobody asked for a capture."""

ALL = "all"

MAX_HEADERS = 100
# A random number, and what some clients put their token into.
_UNKEPT_HEADERS = frozenset({"sec-websocket-key", "sec-websocket-protocol"})
_ADDRESSES = ("path", "referer", "uri", "url")  # how names end of headers with an address: a token may be in it

MAX_BRACKETS = 200
"""In a message that stands in its line as it is: jq 1.6 reads no JSON that is nested deeper than 256."""

MAX_DIGITS = 4000
"""Of a number in such a message: Python reads none of more than 4300."""

_check_json = msgspec.json.Decoder(msgspec.Raw).decode


class CaptureError(ReceiverError):
    """A capture that cannot be read; its text names the file and the line."""


class Header(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The first line. Everything but the version may be missing in a capture made by hand."""

    version: int
    source: str = "capture"
    path: str = ""  # of the source, as configured: never with a token in it
    headers: tuple[tuple[str, str], ...] = ()  # of the handshake, without secrets
    resolution_ms: int = 0  # messages that were read together have one time; sent they were up to that much earlier
    accepted: datetime | None = None  # UTC
    stream: str | None = None  # our id
    path_parameters: dict[str, str] = {}
    peer_address: str = ""
    token: str | None = None  # the name of the token that let the peer in
    settings: dict[str, Any] = {}  # how it was read: the fields of SessionSettings


class Batch(msgspec.Struct):
    """Messages read together, ``at`` seconds after the connection was accepted. An int: the size of a withheld one."""

    at: float
    data: list[Data | int]


class Pause(msgspec.Struct, frozen=True):
    """From here on ``tracks`` are withheld: None all of the stream, () nothing any more."""

    at: float
    tracks: tuple[str, ...] | None


class End(msgspec.Struct, frozen=True):
    """The stream ended; code and text are those of a close frame, or of ours."""

    at: float
    reason: EndReason
    code: int | None = None
    text: str = ""


Entry = Batch | Pause | End


def storable_headers(headers: Sequence[tuple[bytes, bytes]], secret: str = "") -> tuple[tuple[str, str], ...]:
    """A handshake's headers without those that are, or may hold, a secret. Bounded.

    ``secret`` is the token that the path had: proxies put the path into headers of many names.
    """
    kept = []
    for raw_name, raw_value in headers[:MAX_HEADERS]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        told = bool(secret) and (secret in value or secret in unquote(value))
        if not told and name not in _UNKEPT_HEADERS and not name.endswith(_ADDRESSES) and not is_secret(name):
            kept.append((clean(name, 100), clean(value, 1000)))
    return tuple(kept)


def encode_header(header: Header) -> bytes:
    """The first line."""
    try:
        return msgspec.json.encode(header) + b"\n"
    except UnicodeEncodeError:  # a lone surrogate, which a server that decodes addresses in its own way may make
        parameters = {clean(name): clean(value) for name, value in header.path_parameters.items()}
        return msgspec.json.encode(msgspec.structs.replace(header, path_parameters=parameters)) + b"\n"


def encode_batch(batch: Batch) -> bytes:
    """A line per message."""
    prefix = f'[{batch.at!r},"'
    lines = []
    for data in batch.data:
        if isinstance(data, str):
            if is_json_line(data):
                lines.append(f'{prefix}m",{data}]\n'.encode())
            else:
                lines.append(f'{prefix}t",'.encode() + _text(data) + b"]\n")
        elif isinstance(data, int):
            lines.append(f'{prefix}p",{data}]\n'.encode())
        else:
            lines.append(f'{prefix}b","{b2a_base64(data, newline=False).decode()}"]\n'.encode())
    return b"".join(lines)


def encode_pause(pause: Pause) -> bytes:
    """The line of a pause, or of its end."""
    tracks = ALL if pause.tracks is None else pause.tracks
    return msgspec.json.encode((pause.at, "p", tracks)) + b"\n"


def encode_end(end: End) -> bytes:
    """The last line."""
    said = {"reason": end.reason.value, "code": end.code, "text": end.text}
    return msgspec.json.encode((end.at, "x", said)) + b"\n"


def is_json_line(text: str) -> bool:
    """Whether a text message can stand in a line as it is: JSON that every reader takes, without a line break."""
    if "\n" in text or "\r" in text or text.count("{") + text.count("[") > MAX_BRACKETS:
        return False
    try:
        _check_json(text)
    except (ValueError, RecursionError):  # also a lone surrogate's UnicodeEncodeError
        return False
    return len(text) <= MAX_DIGITS or not _has_long_number(text)


def _has_long_number(text: str) -> bool:
    """Whether there may be a number of more than MAX_DIGITS: such a one fills one of these windows."""
    window = MAX_DIGITS // 2
    return any(text[start : start + window].isdecimal() for start in range(0, len(text), window))


def decode_header(line: bytes) -> Header:
    """Read the first line. Raises ValueError."""
    try:
        header = _read_header(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"is no capture: the first line is not its header ({error})") from None
    if header.version != VERSION:
        raise ValueError(f"has version {header.version}, and this reads version {VERSION}")
    if header.accepted is not None and not 1970 <= header.accepted.year < 9000:  # times are added to it
        raise ValueError(f"was accepted in the year {header.accepted.year}")
    return header


def decode_line(line: bytes) -> Entry:
    """Read one whole line but the first. Raises ValueError."""
    head, _, rest = line.partition(b",")
    quoted, _, value = rest.partition(b",")
    head, code, value = head.strip(), quoted.strip(), value.rstrip()
    if not head.startswith(b"[") or not value.endswith(b"]"):
        raise ValueError("is not [seconds, code, value]")
    value = value[:-1]
    try:
        at = _read_seconds(head[1:])
    except (ValueError, RecursionError):
        raise ValueError("does not begin with a time in seconds") from None
    try:
        return _decode_value(at, code, value)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"cannot be read: {error}") from None


def decode_message(value: bytes) -> str:
    """The value of a line of code ``m``: JSON, as it came. Raises ValueError or RecursionError."""
    text = value.decode()
    _check_json(text)
    return text


def _decode_value(at: float, code: bytes, value: bytes) -> Entry:
    match code:
        case b'"m"':
            return Batch(at, [decode_message(value)])
        case b'"t"':
            return Batch(at, [_read_text(value)])
        case b'"b"':
            return Batch(at, [a2b_base64(_read_text(value), strict_mode=True)])
        case b'"p"':
            return _decode_pause(at, _read_pause(value))
        case b'"x"':
            said = _read_end(value)
            return End(at, said.reason, said.code, said.text)
    if len(code) == 3 and code[1:2].isupper():
        _check_json(value)
        return Batch(at, [])  # what was sent: not the peer's
    raise ValueError(f"unknown code {code.decode(errors='replace')[:40]}")


_Seconds = Annotated[float, msgspec.Meta(ge=0, lt=1e7)]  # four months: a longer gap would make a file of any size
_Size = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]


class _EndText(msgspec.Struct):
    reason: EndReason
    code: int | None = None
    text: str = ""


# Made here, before threads read captures: see receiver.recordings.journal.
_read_header = msgspec.json.Decoder(Header).decode
_read_seconds = msgspec.json.Decoder(_Seconds).decode
_read_text = msgspec.json.Decoder(str).decode
_read_pause: Callable[[bytes], int | str | tuple[str, ...]] = msgspec.json.Decoder(_Size | str | tuple[str, ...]).decode
_read_end = msgspec.json.Decoder(_EndText).decode


def _decode_pause(at: float, value: int | str | Sequence[str]) -> Entry:
    if isinstance(value, int):
        return Batch(at, [value])
    if isinstance(value, str):
        if value != ALL:
            raise ValueError(f'neither a size, nor "{ALL}", nor a list of tracks')
        return Pause(at, None)
    return Pause(at, tuple(value))


def _text(data: str) -> bytes:
    try:
        return msgspec.json.encode(data)
    except UnicodeEncodeError:  # a lone surrogate, which no socket delivers
        return msgspec.json.encode(data.encode("utf-8", "replace").decode())
