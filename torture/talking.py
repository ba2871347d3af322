"""What a platform says, in the frames of a client."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

TRACKS = ("inbound", "outbound")
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def frame(opcode: int, payload: bytes, mask: bytes = b"\x37\xfa\x21\x3d") -> bytes:
    """A masked frame, as a client sends it."""
    size = len(payload)
    head = bytes([0x80 | opcode, 0x80 | size]) if size < 126 else bytes([0x80 | opcode, 0xFE, size >> 8, size & 255])
    key = (mask * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return head + mask + masked.to_bytes(size, "big")


def text(message: Mapping[str, object] | str) -> bytes:
    """A text message in its frame."""
    said = message if isinstance(message, str) else json.dumps(message, separators=(",", ":"))
    return frame(TEXT, said.encode())


def close(code: int) -> bytes:
    """A close frame."""
    return frame(CLOSE, code.to_bytes(2, "big"))


def media(track: str, number: int, payload: bytes) -> bytes:
    """The media message of that number, from 0 on; a message is 20 ms."""
    said = {"track": track, "chunk": str(number + 1), "timestamp": str(number * 20)}
    return text({"event": "media", "media": {**said, "payload": base64.b64encode(payload).decode()}})


def greeting(call: str) -> bytes:
    """What comes before the audio of a call."""
    start = {
        "streamSid": f"stream-{call}",
        "accountSid": "b08dacad-2f6c-4de1-93d6-cc732e0c69c5",
        "callSid": call,
        "tracks": list(TRACKS),
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    }
    connected = {"event": "connected", "protocol": "Call", "version": "0.2.0"}
    return text(connected) + text({"event": "start", "sequenceNumber": "1", "start": start})


STOP = text({"event": "stop", "sequenceNumber": "0"})

# What no platform says, and what costs a stream nothing but a count.
BAD = {
    "not json": text("not json"),
    "unknown": text({"event": "weather"}),
    "binary": frame(BINARY, b"\x00\x01"),
    "other stream": text({"event": "media", "streamSid": "another", "media": {"track": "inbound", "payload": "/w=="}}),
    "ping": frame(PING, b"still there?"),
}


def upgrade(path: str, token: str) -> bytes:
    """The request that opens a stream."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"Authorization: Bearer {token}\r\n\r\n"
    ).encode()
