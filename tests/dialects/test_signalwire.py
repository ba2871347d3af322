from __future__ import annotations

import json

from receiver.dialects import open_dialect
from receiver.dialects.messages import Media, Start
from receiver.dialects.signalwire import SignalWire

START = {
    "event": "start",
    "sequenceNumber": "1",
    "start": {
        "streamSid": "7d56cc11-536d-4a45-b4fb-ed3d55be843b",
        "accountSid": "b08dacad-2f6c-4de1-93d6-cc732e0c69c5",
        "callSid": "76ac3c36-56da-4a3e-a0d6-b5f8df6da9ad",
        "tracks": ["inbound", "outbound"],
        "mediaFormat": {"encoding": "audio/x-L16", "sampleRate": 16000, "channels": 1},
    },
}


def test_a_start_without_custom_parameters_is_as_documented() -> None:
    start = SignalWire().parse(json.dumps(START))
    assert isinstance(start, Start)
    assert (start.parameters, start.defects) == ({}, 0)


def test_media_needs_no_stream_id() -> None:
    dialect = SignalWire()
    dialect.parse(json.dumps(START))
    media = '{"event":"media","media":{"track":"outbound","chunk":"1","timestamp":"0","payload":"AAE="}}'
    assert dialect.parse(media) == Media("outbound", b"\x00\x01", 1, 0)


def test_it_sends_l16_little_endian() -> None:
    dialect = open_dialect("signalwire")
    assert isinstance(dialect, SignalWire)
    assert (dialect.name, dialect.l16_byte_order) == ("signalwire", "little")
