from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.dialects.json_text import LARGEST_INTEGER, audio, integer, member, read_object, text
from receiver.errors import ProtocolError


@pytest.mark.parametrize(
    "data",
    ["", " ", "x", "{", '{"a":1} x', '\ufeff{"a":1}', "{'a':1}", '{"a":"\n"}', '{"a":01}', '{"a":1,}', "{}{}"],
)
def test_text_that_is_not_json_is_refused_with_1007(data: str) -> None:
    with pytest.raises(ProtocolError, match="not JSON") as caught:
        read_object(data)
    assert caught.value.code == 1007


@pytest.mark.parametrize("data", ["[]", "1", "null", '"text"', "NaN", "[{}]"])
def test_json_that_is_not_an_object_is_refused_with_1007(data: str) -> None:
    with pytest.raises(ProtocolError, match="not a JSON object") as caught:
        read_object(data)
    assert caught.value.code == 1007


@pytest.mark.parametrize("data", ["[" * 100_000, '{"a":' * 100_000, '{"a":' + "[" * 60_000 + "]" * 60_000 + "}"])
def test_nesting_without_end_is_a_protocol_error(data: str) -> None:
    with pytest.raises(ProtocolError, match=r"nested too deeply|not JSON") as caught:
        read_object(data)
    assert caught.value.code == 1007


def test_of_duplicate_keys_the_last_wins() -> None:
    assert read_object('{"a":1,"b":2,"a":3}') == {"a": 3, "b": 2}


@pytest.mark.parametrize("beyond", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "9" * 5000])
def test_a_number_beyond_json_is_refused_only_where_it_is_read(beyond: str) -> None:
    fields = read_object(f'{{"read":{beyond},"other":"here"}}')
    assert fields["other"] == "here"
    with pytest.raises(ProtocolError, match=r"media\.chunk is not a JSON number") as caught:
        integer(fields["read"], "media.chunk")
    assert caught.value.code == 1007


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("7", 7),
        (7, 7),
        (7.0, 7),
        ("0", 0),
        ("-0", 0),
        (" 7", 7),
        ("7\n", 7),
        ("007", 7),
        ("7.0", 7),
        ("1e3", 1000),
        ("0" * 40 + "7", 7),
        (LARGEST_INTEGER, LARGEST_INTEGER),
        (str(LARGEST_INTEGER), LARGEST_INTEGER),
    ],
)
def test_an_integer_is_read_from_a_number_or_a_string(written: object, value: int) -> None:
    assert integer(written, "x") == value


@pytest.mark.parametrize(
    "written",
    [
        None,
        True,
        False,
        "",
        " ",
        "x",
        "-1",
        -1,
        7.5,
        "7.5",
        "+7",
        "1_000",
        "0x7",
        "\u0667",  # a digit, in Arabic
        "\uff17",  # a digit, in full width
        "7 7",
        "NaN",
        "Infinity",
        "1e400",
        LARGEST_INTEGER + 1,
        str(LARGEST_INTEGER + 1),
        1e300,
        "9" * 5000,
        " " * 60_000 + "7",
        [],
        {},
        [7],
    ],
)
def test_what_is_no_integer_in_range_is_as_good_as_missing(written: object) -> None:
    assert integer(written, "x") is None


def test_a_member_must_be_an_object() -> None:
    assert member({"mark": {"name": "x"}}, "mark") == {"name": "x"}
    for message in ({}, {"mark": None}, {"mark": "x"}, {"mark": []}):
        with pytest.raises(ProtocolError, match="mark is missing or not an object") as caught:
            member(message, "mark", 4400)
        assert caught.value.code == 4400


def test_text_is_measured_in_bytes_and_must_have_utf_8() -> None:
    assert text("é", 2) == "é"
    assert text("é", 1) is None
    assert text("abc", 2) is None
    assert text("\0", 1) == "\0"
    assert text(json.loads('"\\ud800"'), 9) is None
    assert text(5, 9) is None


@pytest.mark.parametrize(
    "payload",
    [
        None,
        5,
        [],
        "",
        "QQ",
        "QUJ",
        "Q===",
        "QUJD\n",
        " QUJD",
        "QU JD",
        "-_-_",
        "QQ==QQ==",
        "QUI=QUI=",
        "====",
        "QUJD====",
        "QUJD!",
        "\u00e9UJD",
        "\ud800UJD",
    ],
)
def test_what_only_resembles_base64_is_no_audio(payload: object) -> None:
    assert audio(payload) is None


@given(st.binary(min_size=1))
@settings(database=None)
def test_base64_of_any_bytes_gives_those_bytes(payload: bytes) -> None:
    assert audio(base64.b64encode(payload).decode()) == payload
