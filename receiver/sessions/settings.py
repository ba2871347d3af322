"""What a session may be told, each setting where it is enforced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

# What a capture's header may say. A constructor does not look: the configuration has limits of its own.
_Count = Annotated[int, msgspec.Meta(ge=0, le=10**15)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=10**15)]


class SessionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Defaults are those of the server's configuration, which only passes its own on."""

    dialect: str = "auto"
    l16_byte_order: Literal["little", "big"] | None = None  # None: as the dialect says
    encodings: Mapping[str, str] = {}  # more names for encodings, checked before the known ones
    counters: bool = True  # are the peer's chunk counters believed
    own_zero: bool = False  # does each track count time from its own first packet
    message_bytes: _Count = 65_536
    payload_bytes: _Count = 32_768  # decoded from base64; no codec needs more for a second of telephone audio
    tracks: _Count = 8  # per stream
    start_timeout_s: _Seconds = 10.0
    idle_timeout_s: _Seconds = 3_600.0  # without media; 0 = off
    burst_s: _Seconds = 30.0  # audio ahead of the clock; 0 = off
    bad_messages: _Count = 50  # after start, in any BAD_WINDOW_S
    mask_digits: bool = True  # in what is kept of the messages: the events have them
