"""Speaks like Twilio.

Messages as published on https://www.twilio.com/docs/voice/media-streams/websocket-messages (read November 2026):
ids are AC…, CA… and MZ… with 32 hex digits, every message after the greeting names the stream, a stop has a body.
"""

from __future__ import annotations

import uuid
from binascii import b2a_base64
from collections import Counter
from collections.abc import Mapping

from receiver.simulate.speaker import Opening, to_json


class Twilio:
    """One call's stream in Twilio's words."""

    def __init__(self) -> None:
        self._sequence = 0
        self._chunks: Counter[str] = Counter()
        self._stream_id = self._call_id = self._account_id = ""

    def connected(self) -> str:
        """The greeting: it has no sequence number and names no stream."""
        return to_json({"event": "connected", "protocol": "Call", "version": "1.0.0"})

    def start(self, opening: Opening) -> str:
        """The stream begins; sequence number 1."""
        self._stream_id = opening.stream_id or f"MZ{uuid.uuid4().hex}"
        self._call_id = opening.call_id or f"CA{uuid.uuid4().hex}"
        self._account_id = opening.account_id or f"AC{uuid.uuid4().hex}"
        start = {
            "accountSid": self._account_id,
            "streamSid": self._stream_id,
            "callSid": self._call_id,
            "tracks": opening.tracks,
            "mediaFormat": {"encoding": opening.encoding, "sampleRate": opening.rate, "channels": 1},
            "customParameters": opening.parameters,
        }
        return self._message("start", start)

    def media(self, track: str, timestamp_ms: int, payload: bytes) -> str:
        """One packet."""
        self._chunks[track] += 1
        body = {
            "track": track,
            "chunk": str(self._chunks[track]),
            "timestamp": str(timestamp_ms),
            "payload": b2a_base64(payload, newline=False).decode(),
        }
        return self._message("media", body)

    def dtmf(self, digit: str, duration_ms: int) -> str:
        """A key. Twilio says on which track and not for how long."""
        return self._message("dtmf", {"track": "inbound_track", "digit": digit})

    def stop(self) -> str:
        """The end, with the ids once more."""
        return self._message("stop", {"accountSid": self._account_id, "callSid": self._call_id})

    def _message(self, event: str, body: Mapping[str, object]) -> str:
        self._sequence += 1
        return to_json(
            {"event": event, "sequenceNumber": str(self._sequence), event: body, "streamSid": self._stream_id}
        )
