"""What the tests of captures share."""

from __future__ import annotations

import base64
import importlib.util
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from receiver.captures.capture import (
    VERSION,
    Batch,
    End,
    Entry,
    Header,
    Pause,
    encode_batch,
    encode_end,
    encode_header,
    encode_pause,
)


@pytest.fixture(scope="session")
def expect() -> ModuleType:
    """``tests/captures/expect.py``."""
    spec = importlib.util.spec_from_file_location("expect", Path(__file__).with_name("expect.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Words:
    """What a peer says, one stream in SignalWire's words."""

    connected = json.dumps({"event": "connected", "protocol": "Call", "version": "0.2.0"})
    stop = json.dumps({"event": "stop", "sequenceNumber": "999"})

    @staticmethod
    def start(*, encoding: str = "audio/x-mulaw", rate: int = 8000, **changes: Any) -> str:
        body = {
            "streamSid": "7d56cc11-536d-4a45-b4fb-ed3d55be843b",
            "accountSid": "b08dacad-2f6c-4de1-93d6-cc732e0c69c5",
            "callSid": "76ac3c36-56da-4a3e-a0d6-b5f8df6da9ad",
            "tracks": ["inbound"],
            "customParameters": {},
            "mediaFormat": {"encoding": encoding, "sampleRate": rate, "channels": 1},
            **changes,
        }
        return json.dumps({"event": "start", "sequenceNumber": "1", "start": body})

    @staticmethod
    def media(number: int, *, payload: bytes | str | None = None, **fields: Any) -> str:
        """Packet ``number``, from 1, of 20 ms, filled with its number, at its natural place."""
        payload = bytes([number % 256]) * 160 if payload is None else payload
        text = payload if isinstance(payload, str) else base64.b64encode(payload).decode()
        body = {"track": "inbound", "chunk": str(number), "timestamp": str((number - 1) * 20), "payload": text}
        body = {key: value for key, value in (body | fields).items() if value is not None}
        return json.dumps({"event": "media", "sequenceNumber": str(number + 1), "media": body})

    @staticmethod
    def digit(digit: str, **fields: Any) -> str:
        return json.dumps({"event": "dtmf", "sequenceNumber": "7", "dtmf": {"digit": digit, "duration": 250, **fields}})

    @staticmethod
    def mark(name: str) -> str:
        return json.dumps({"event": "mark", "mark": {"name": name}})


@pytest.fixture(scope="session")
def words() -> type[Words]:
    """What a peer says."""
    return Words


@pytest.fixture(scope="session")
def text_of() -> Callable[..., bytes]:
    """``text_of(entries, header)``: a capture's bytes."""

    def encode(entries: Iterable[Entry], header: Header | None = None) -> bytes:
        lines = [encode_header(header or Header(version=VERSION))]
        for entry in entries:
            match entry:
                case Batch():
                    lines.append(encode_batch(entry))
                case Pause():
                    lines.append(encode_pause(entry))
                case End():
                    lines.append(encode_end(entry))
        return b"".join(lines)

    return encode
