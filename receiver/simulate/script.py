"""What a peer is to do on its connection, as an iterator: messages with their due times, and how it ends."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

import msgspec

from receiver.captures.capture import End
from receiver.dialects.dialect import Data
from receiver.events import EndReason

_SENDABLE = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
_REASON_BYTES = 123  # RFC 6455 section 5.5: a control frame has 125 bytes, two of them are the code


class Way(Enum):
    """How a connection is ended."""

    CLOSE = "close"  # a close frame
    FIN = "fin"  # TCP's end, without a close frame
    RESET = "reset"  # TCP's RST


class Ending(msgspec.Struct, frozen=True):
    """The end of a connection by the peer; code and text are those of a close frame."""

    way: Way = Way.CLOSE
    code: int = 1000
    text: str = ""


Said = tuple[float, Data | Ending]
"""A message and when it is due: seconds after the first one, at normal speed. An Ending comes last, if at all."""

Script = Iterable[Said]


def ending_of(end: End | None) -> Ending:
    """How a peer ended, so that it can be done again: a plain close where it was not the peer who ended it."""
    if end is None or end.reason not in (EndReason.CLOSE, EndReason.FIN, EndReason.RESET):
        return Ending()
    if end.reason is not EndReason.CLOSE:
        return Ending(Way(end.reason.value))
    code = end.code if end.code is not None and (end.code in _SENDABLE or 3000 <= end.code < 5000) else 1000
    return Ending(Way.CLOSE, code, end.text.encode(errors="replace")[:_REASON_BYTES].decode(errors="ignore"))
