"""Speaks like SignalWire.

Messages as published on https://signalwire.com/docs/compatibility-api/cxml/reference/voice/stream (read 2026-11-21):
ids are UUIDs and stand in the start message alone, counters and timestamps are strings, a stop has no body.
"""

from __future__ import annotations

import uuid
from binascii import b2a_base64
from collections import Counter

from receiver.simulate.speaker import Opening, to_json


class SignalWire:
    """One call's stream in SignalWire's words."""

    def __init__(self) -> None:
        self._sequence = 0
        self._chunks: Counter[str] = Counter()

    def connected(self) -> str:
        """The greeting: it has no sequence number."""
        return to_json({"event": "connected", "protocol": "Call", "version": "0.2.0"})

    def start(self, opening: Opening) -> str:
        """The stream begins; sequence number 1."""
        start = {
            "streamSid": opening.stream_id or str(uuid.uuid4()),
            "accountSid": opening.account_id or str(uuid.uuid4()),
            "callSid": opening.call_id or str(uuid.uuid4()),
            "tracks": opening.tracks,
            "customParameters": opening.parameters,
            "mediaFormat": {"encoding": opening.encoding, "sampleRate": opening.rate, "channels": 1},
        }
        return to_json({"event": "start", "sequenceNumber": self._next(), "start": start})

    def media(self, track: str, timestamp_ms: int, payload: bytes) -> str:
        """One packet."""
        self._chunks[track] += 1
        # Written by hand: at full speed this is most of what a speaker does, and nothing in it needs escaping.
        return (
            f'{{"event":"media","sequenceNumber":"{self._next()}","media":{{"track":"{track}",'
            f'"chunk":"{self._chunks[track]}","timestamp":"{timestamp_ms}",'
            f'"payload":"{b2a_base64(payload, newline=False).decode()}"}}}}'
        )

    def dtmf(self, digit: str, duration_ms: int) -> str:
        """A key; the duration is a number. A one-way stream's dtmf names no stream."""
        body = {"digit": digit, "duration": duration_ms}
        return to_json({"event": "dtmf", "sequenceNumber": self._next(), "dtmf": body})

    def stop(self) -> str:
        """The end, without a body."""
        return to_json({"event": "stop", "sequenceNumber": self._next()})

    def _next(self) -> str:
        self._sequence += 1
        return str(self._sequence)
