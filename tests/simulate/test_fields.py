from __future__ import annotations

import json
from typing import Any

import pytest

from receiver.simulate.fields import Fields, number, read_fields, read_message, renumbered, write_message


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        ('{"event":"media","media":{"track":"inbound","timestamp":"40","chunk":"3"}}', Fields("media", "inbound", 40)),
        ('{"media":{"timestamp":40.0,"track":"x"},"event":"media"}', Fields("media", "x", 40)),
        ('{"event":"media","media":{"timestamp":" 0040 "}}', Fields("media", "", 40)),
        ('{"event":"media","media":{"timestamp":"soon","track":7}}', Fields("media")),
        ('{"event":"media","media":{"timestamp":-1}}', Fields("media")),
        ('{"event":"media","media":{"timestamp":true}}', Fields("media")),
        ('{"event":"media","media":null}', Fields("media")),
        ('{"event":"media","media":[1]}', Fields("media")),
        ('{"event":"media","x":"\\ud800","media":{"track":"a","timestamp":1}}', Fields("media", "a", 1)),
        ('{"event":"media","x":NaN,"media":{"track":"a","timestamp":1}}', Fields("media", "a", 1)),
        ('{"event":"start","start":{},"media":{"timestamp":1}}', Fields("start")),
        ('{"event":7}', Fields()),
        ("[1]", Fields()),
        ("no JSON", Fields()),
        ("\ud800", Fields()),
        ("[" * 100_000, Fields()),
        (b'{"event":"media"}', Fields()),
    ],
)
def test_what_a_message_is_is_read_out_of_anything(data: str | bytes, fields: Fields) -> None:
    assert read_fields(data) == fields
    assert read_fields(data).is_media == (fields.event == "media")


@pytest.mark.parametrize(
    ("data", "message"), [('{"a":1}', {"a": 1}), ('{"a":NaN,"b":"\\ud800"}', None), ("[1]", {}), ("{", {}), (b"{}", {})]
)
def test_a_message_is_an_object_or_nothing(data: str | bytes, message: dict[str, Any] | None) -> None:
    assert read_message(data) == message if message is not None else read_message(data)["b"] == "\ud800"


def test_a_message_is_written_on_one_line() -> None:
    assert write_message({"a": "\u00fc\n", "b": [1]}) == '{"a":"\u00fc\\n","b":[1]}'
    assert json.loads(write_message({"a": "\ud800"})) == {"a": "\ud800"}


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("7", 7),
        (7.9, 7),
        ("1e3", 1000),
        ("nan", None),
        (2**63, None),
        ("9" * 400, None),
        ("9" * 99, None),
        (None, None),
        ("x", None),
    ],
)
def test_numbers(value: object, read: int | None) -> None:
    assert number(value) == read


def test_a_number_stays_of_its_kind() -> None:
    body = {"a": "1", "b": 1}
    renumbered(body, "a", 5)
    renumbered(body, "b", 6)
    assert body == {"a": "5", "b": 6}
