"""What a platform says, made before it is said: frames of two tracks whose every sample is known beforehand."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

RATE = 8000
FRAME = 160
"""Samples, and bytes of PCMU, in 20 ms."""

FRAME_S = FRAME / RATE
TRACKS = ("inbound", "outbound")
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

Samples = npt.NDArray[np.int16]


def websocket_frame(opcode: int, payload: bytes, mask: bytes = b"\x37\xfa\x21\x3d") -> bytes:
    """A masked frame, as a client sends it."""
    size = len(payload)
    head = bytes([0x80 | opcode, 0x80 | size]) if size < 126 else bytes([0x80 | opcode, 0xFE, size >> 8, size & 255])
    key = (mask * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return head + mask + masked.to_bytes(size, "big")


def text(message: Mapping[str, object] | str) -> bytes:
    """A text message in its frame."""
    said = message if isinstance(message, str) else json.dumps(message, separators=(",", ":"))
    return websocket_frame(TEXT, said.encode())


def close(code: int) -> bytes:
    """A close frame."""
    return websocket_frame(CLOSE, code.to_bytes(2, "big"))


def greeting(call: str) -> bytes:
    """What comes before the audio of a call."""
    start = {
        "streamSid": f"stream-{call}",
        "accountSid": "b08dacad-2f6c-4de1-93d6-cc732e0c69c5",
        "callSid": call,
        "tracks": list(TRACKS),
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": RATE, "channels": 1},
    }
    connected = {"event": "connected", "protocol": "Call", "version": "0.2.0"}
    return text(connected) + text({"event": "start", "sequenceNumber": "1", "start": start})


STOP = text({"event": "stop", "sequenceNumber": "0"})

# What no platform says, and what costs a stream nothing but a count.
BAD = {
    "not json": text("not json"),
    "unknown": text({"event": "weather"}),
    "binary": websocket_frame(BINARY, b"\x00\x01"),
    "other stream": text({"event": "media", "streamSid": "another", "media": {"track": "inbound", "payload": "/w=="}}),
    "ping": websocket_frame(PING, b"still there?"),
}


def upgrade(path: str, token: str) -> bytes:
    """The request that opens a stream."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"Authorization: Bearer {token}\r\n\r\n"
    ).encode()


class Material:
    """The audio of one call of two tracks: noise, so that no two places are alike. Equal seeds begin alike."""

    def __init__(self, seed: int, frames: int) -> None:
        dice = {track: np.random.default_rng([seed, place]) for place, track in enumerate(TRACKS)}
        self._codes = {track: dice[track].integers(0, 256, frames * FRAME, dtype=np.uint8) for track in TRACKS}

    def samples(self, track: str, frames: int) -> Samples:
        """What so many frames of a track are, decoded by G.711 as its recommendation has it."""
        codes = ~self._codes[track][: frames * FRAME].astype(np.int32) & 0xFF
        magnitude = (((codes & 15) << 3) + 0x84 << (codes >> 4 & 7)) - 0x84
        return np.where(codes & 0x80, -magnitude, magnitude).astype(np.int16)

    def said(self, track: str, number: int) -> bytes:
        """Frame ``number``, from 0, as a message."""
        payload = base64.b64encode(self._codes[track][number * FRAME : (number + 1) * FRAME]).decode()
        media = {"track": track, "chunk": str(number + 1), "timestamp": str(number * 20), "payload": payload}
        return text({"event": "media", "sequenceNumber": str(number + 2), "media": media})
