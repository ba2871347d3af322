from __future__ import annotations

import json
from typing import Any

import pytest

from receiver.dialects import open_dialect
from receiver.dialects.messages import Connected, Media, Start, Stop, Unknown
from receiver.errors import ProtocolError

MZ = "MZ" + "0123456789abcdef" * 2
UUID = "7d56cc11-536d-4a45-b4fb-ed3d55be843b"


def start(stream_id: str, **rest: Any) -> str:
    body = {"streamSid": stream_id, "callSid": "c", "mediaFormat": {"encoding": "audio/x-mulaw"}}
    return json.dumps({"event": "start", "start": body} | rest)


@pytest.mark.parametrize(
    ("data", "name"), [(start(MZ), "twilio"), (start(UUID, streamSid=UUID), "twilio"), (start(UUID), "signalwire")]
)
def test_a_vendor_is_recognised_by_its_start_and_kept(data: str, name: str) -> None:
    dialect = open_dialect("auto")
    assert dialect.name == "auto"
    assert dialect.parse('{"event":"connected","version":"1.0.0"}') == Connected("1.0.0")
    assert dialect.name == "auto"
    assert isinstance(dialect.parse(data), Start)
    assert dialect.name == name
    assert dialect.l16_byte_order == "little"
    assert isinstance(dialect.parse(start(UUID)), Start)
    assert dialect.parse('{"event":"stop"}') == Stop()
    assert dialect.name == name


def test_messages_before_start_are_read() -> None:
    dialect = open_dialect("auto")
    media = '{"event":"media","media":{"track":"inbound","payload":"AAE="},"streamSid":"x"}'
    assert dialect.parse(media) == Media("inbound", b"\x00\x01")
    assert dialect.parse('{"event":"hello"}') == Unknown("hello")
    assert dialect.name == "auto"


@pytest.mark.parametrize("data", ['{"event":"start"}', '{"event":"start","start":{}}', '{"event":"start","start":5}'])
def test_a_start_that_cannot_be_used_recognises_nobody(data: str) -> None:
    dialect = open_dialect("auto")
    with pytest.raises(ProtocolError) as caught:
        dialect.parse(data)
    assert caught.value.code == 4400
    assert dialect.name == "auto"
