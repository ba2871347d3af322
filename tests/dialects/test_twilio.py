from __future__ import annotations

import json
from typing import Any

import pytest

from receiver.dialects import open_dialect
from receiver.dialects.messages import Start
from receiver.dialects.twilio import Twilio

DIGITS = "0123456789abcdef" * 2
UUID = "7d56cc11-536d-4a45-b4fb-ed3d55be843b"


def test_a_start_without_custom_parameters_is_odd_and_counted() -> None:
    body = {
        "streamSid": "MZ" + DIGITS,
        "callSid": "CA" + DIGITS,
        "accountSid": "AC" + DIGITS,
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    }
    start = Twilio().parse(json.dumps({"event": "start", "start": body}))
    assert isinstance(start, Start)
    assert (start.parameters, start.defects) == ({}, 1)


@pytest.mark.parametrize(
    ("start", "is_twilio"),
    [
        ({"streamSid": UUID, "start": {"streamSid": UUID}}, True),
        ({"start": {"streamSid": "MZ" + DIGITS}}, True),
        ({"start": {"streamSid": UUID, "callSid": "CA" + DIGITS}}, True),
        ({"start": {"accountSid": "AC" + "X" * 32}}, True),
        ({"start": {"streamSid": UUID, "callSid": "CA7f2c11-536d-4a45-b4fb-ed3d55be843b"}}, False),
        ({"start": {"streamSid": "MZ" + DIGITS + "\n", "callSid": 5}}, False),
        ({"start": None}, False),
        ({"streamSid": None}, False),
        ({}, False),
    ],
)
def test_its_start_shows_in_the_ids(start: dict[str, Any], is_twilio: bool) -> None:
    assert Twilio.recognises(start) is is_twilio


def test_it_is_named() -> None:
    dialect = open_dialect("twilio")
    assert isinstance(dialect, Twilio)
    assert (dialect.name, dialect.l16_byte_order) == ("twilio", "little")
