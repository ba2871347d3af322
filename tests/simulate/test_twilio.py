from __future__ import annotations

import json
import re

from receiver.simulate.speaker import Opening
from receiver.simulate.twilio import Twilio


def test_messages_are_what_twilio_publishes() -> None:
    speaker = Twilio()
    assert json.loads(speaker.connected()) == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    start = json.loads(speaker.start(Opening(("inbound",), "audio/x-mulaw", 8000, {"a": "b"})))
    stream, call, account = (start["start"][name] for name in ("streamSid", "callSid", "accountSid"))
    assert re.fullmatch(r"MZ[0-9a-f]{32} CA[0-9a-f]{32} AC[0-9a-f]{32}", f"{stream} {call} {account}")
    assert start == {
        "event": "start",
        "sequenceNumber": "1",
        "start": {
            "accountSid": account,
            "streamSid": stream,
            "callSid": call,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"a": "b"},
        },
        "streamSid": stream,
    }
    assert json.loads(speaker.media("inbound", 0, b"\x01\x02")) == {
        "event": "media",
        "sequenceNumber": "2",
        "media": {"track": "inbound", "chunk": "1", "timestamp": "0", "payload": "AQI="},
        "streamSid": stream,
    }
    assert json.loads(speaker.dtmf("1", 250)) == {
        "event": "dtmf",
        "sequenceNumber": "3",
        "dtmf": {"track": "inbound_track", "digit": "1"},
        "streamSid": stream,
    }
    assert json.loads(speaker.stop()) == {
        "event": "stop",
        "sequenceNumber": "4",
        "stop": {"accountSid": account, "callSid": call},
        "streamSid": stream,
    }


def test_ids_can_be_given() -> None:
    opening = Opening(("inbound",), "audio/x-mulaw", 8000, {}, "MZ1", "CA1", "AC1")
    start = json.loads(Twilio().start(opening))["start"]
    assert (start["streamSid"], start["callSid"], start["accountSid"]) == ("MZ1", "CA1", "AC1")
