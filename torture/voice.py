"""Audio of which every sample says whose it is and where it belongs, and the messages that carry it."""

from __future__ import annotations

import base64
import json
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]
Wire = Literal["audio/x-L16", "audio/x-mulaw"]

RATE = 8000
FRAME = 160
"""Samples of a message."""
PERIOD_S = FRAME / RATE
TRACKS = ("inbound", "outbound")
WIRES: tuple[Wire, Wire] = ("audio/x-L16", "audio/x-mulaw")

_MASKED = 0x80
_TEXT = 0x81


class Voice:
    """One track: noise that is this track's alone. No sample is 0, so silence is never mistaken for it."""

    def __init__(self, number: int, track: str, wire: Wire, seconds: float) -> None:
        self.track = track
        self.messages = round(seconds / PERIOD_S)
        dice = np.random.default_rng([number, TRACKS.index(track)])
        size = self.messages * FRAME
        if wire == "audio/x-L16":
            self.samples: Samples = dice.integers(-16384, 16384, size).astype(np.int16) * np.int16(2) + np.int16(1)
            self._bytes = self.samples.astype("<i2").tobytes()
        else:
            codes = dice.choice(np.flatnonzero(_expanded()), size)
            self.samples = _expanded()[codes]
            self._bytes = codes.astype(np.uint8).tobytes()

    @cached_property
    def frames(self) -> list[bytes]:
        """A WebSocket frame for each message, ready to be sent."""
        size = len(self._bytes) // max(self.messages, 1)
        return [
            framed(media(self.track, number, self._bytes[number * size : (number + 1) * size]))
            for number in range(self.messages)
        ]


def media(track: str, number: int, payload: bytes) -> dict[str, Any]:
    """The message of that number, from 0 on."""
    said = {"track": track, "chunk": str(number + 1), "timestamp": str(number * 20)}
    return {"event": "media", "media": {**said, "payload": base64.b64encode(payload).decode()}}


def framed(message: dict[str, Any]) -> bytes:
    """A text frame of a client. Its mask is zero, which is a mask as well, and costs nothing to apply."""
    return frame(_TEXT, json.dumps(message, separators=(",", ":")).encode())


def frame(head: int, data: bytes) -> bytes:
    """A frame of a client; ``head`` is its first byte."""
    if len(data) < 126:
        size = bytes([_MASKED | len(data)])
    else:
        size = bytes([_MASKED | 126]) + len(data).to_bytes(2, "big")
    return bytes([head]) + size + bytes(4) + data


def _expanded() -> Samples:
    """The linear sample of each of the 256 codes of G.711 µ-law, as the recommendation has them."""
    codes = ~np.arange(256) & 0xFF
    magnitude = (((codes & 15) << 3) + 0x84 << (codes >> 4 & 7)) - 0x84
    return np.where(codes & 0x80, -magnitude, magnitude).astype(np.int16)
