"""The format: whatever a peer says comes back character by character, and every line is JSON to everybody."""

from __future__ import annotations

import json
import subprocess
import timeit
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import receiver
from receiver.captures.capture import (
    MAX_HEADERS,
    Batch,
    End,
    Entry,
    Header,
    Pause,
    decode_header,
    decode_line,
    encode_batch,
    encode_end,
    encode_header,
    encode_pause,
    is_json_line,
    storable_headers,
)
from receiver.events import EndReason

SCHEMA = jsonschema.Draft202012Validator(
    json.loads((Path(receiver.__file__).parent / "capture.schema.json").read_text())
)
MEDIA = '{"event":"media","media":{"track":"inbound","chunk":"1","timestamp":"0","payload":"' + "A" * 216 + '"}}'


def strictly(line: bytes) -> Any:
    """The line, read by Python's parser, which is told to refuse what JSON has not."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(constant)

    return json.loads(line.decode("utf-8"), parse_constant=refuse)


def lines(batch: Batch) -> list[bytes]:
    text = encode_batch(batch)
    assert text.endswith(b"\n")
    return text.removesuffix(b"\n").split(b"\n")


def code_of(data: str | bytes | int) -> str:
    (line,) = lines(Batch(1.5, [data]))
    code: str = strictly(line)[1]
    return code


def numbers() -> st.SearchStrategy[str]:
    digits = st.text("0123456789", min_size=1, max_size=30)
    return st.builds(str.__add__, st.sampled_from(["-", "", "1", "0", "1.", "1e", "1E-"]), digits)


escapes = st.sampled_from([r"\u0000", r"\ud800", r"\udc00", r"\ud83d\ude00", r"\n", r"\/", r"\x", r"\u12", "\\", '"'])
strings = st.lists(st.text(max_size=5) | escapes, max_size=4).map(lambda parts: '"' + "".join(parts) + '"')
scalars = strings | numbers() | st.sampled_from(["null", "true", "NaN", "Infinity", "-Infinity", "nul", "", "\x00"])
space = st.sampled_from(["", " ", "\t", "\r", "\n", "\u2028", "\ufeff", "\x0b"])
json_like = st.recursive(
    st.builds(lambda before, value, after: before + value + after, space, scalars, space),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: "[" + ",".join(items) + "]")
        | st.lists(st.tuples(strings, inner), max_size=3).map(
            lambda items: "{" + ",".join(f"{key}:{value}" for key, value in items) + "}"
        )
    ),
    max_leaves=8,
)
anything = st.text() | json_like | st.binary() | st.recursive(st.none(), st.lists).map(json.dumps)


@given(st.lists(anything | st.integers(0, 2**31), max_size=5), st.floats(0, 9e6).map(lambda at: round(at, 6)))
@example(["[" * 256 + "]" * 256, "[" * 100_000, "[" * 200 + "]" * 200, "1" * 5000, '{"a":' + "9" * 4299 + "}"], 0.0)
@example(["", " ", "\x00", "\u2028", r'"\ud800"', '{"a":1,"a":2}', '{"a": 1e999}', "NaN", b"", b"\n"], 1e-06)
@example(['{"a":1}\r', '{"a":1}\t', '{"a":"\x1f"}', '{"a":"\x7f\x85"}', '"a', "01", "1]", '1],"m",[2'], 12.345678)
def test_whatever_is_said_comes_back_character_by_character_and_stands_in_strict_json(
    data: list[str | bytes | int], at: float
) -> None:
    found: list[Entry] = []
    for line in lines(Batch(at, list(data))) if data else ():
        said = strictly(line)
        assert (said[0], len(said)) == (at, 3)
        SCHEMA.validate(said)
        found.append(decode_line(line + b"\n"))
    assert found == [Batch(at, [one]) for one in data]


@pytest.mark.system
def test_jq_reads_every_line(tmp_path: Path) -> None:
    data = ["[" * 200 + "]" * 200, "[" * 300 + "]" * 300, "9" * 5000, r'"\u0000"', '{"a":1,"a":2}', "\x00", "\u2028"]
    text = encode_batch(Batch(1e-06, [*data, "", r'"\ud800"', "\ufeff{}", '"\x7f"', b"\xff", 12, "-0", "1E+400"]))
    path = tmp_path / "capture.jsonl"
    path.write_bytes(encode_header(Header(version=1)) + text + encode_pause(Pause(2.0, ("inbound",))))
    run = subprocess.run(["jq", "-c", "length", path], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert len(run.stdout.splitlines()) == len(data) + 10


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ('{"event":"connected"}', "m"),
        (' {"event" : "connected"}\t', "m"),
        ('{"a":"\u2028"}', "m"),
        ('{"a":1,"a":2}', "m"),
        ('{"a":123456789012345678901234567890}', "m"),
        ("[" * 200 + "]" * 200, "m"),
        ('"' + "A" * 60_000 + '"', "m"),
        ("[" * 201 + "]" * 201, "t"),
        ("1" * 4001, "t"),
        ('{"a":1}\n', "t"),
        ('{"a":NaN}', "t"),
        ('{"a":"\x01"}', "t"),
        (r'{"a":"\ud800"}', "t"),
        ("", "t"),
        ("[" * 100_000, "t"),
        (b"", "b"),
        (b'{"event":"connected"}', "b"),
        (330, "p"),
    ],
)
def test_a_message_stands_in_its_line_as_it_is_where_everybody_reads_it(data: str | bytes | int, code: str) -> None:
    assert code_of(data) == code
    if code == "m":
        assert isinstance(data, str)
        assert lines(Batch(0.25, [data])) == [f'[0.25,"m",{data}]'.encode()]


def test_a_lone_surrogate_which_no_socket_delivers_becomes_a_question_mark() -> None:
    (line,) = lines(Batch(0.0, ["\ud800"]))
    assert decode_line(line) == Batch(0.0, ["?"])


def test_looking_at_a_message_costs_about_a_microsecond() -> None:
    took = min(timeit.repeat(lambda: is_json_line(MEDIA), number=1000)) / 1000
    assert took < 100e-6  # of a slow machine; measured: 0.5


@pytest.mark.parametrize(
    "entry", [Pause(1.5, None), Pause(1.5, ()), Pause(1.5, ("inbound", "a"))], ids=["all", "nothing", "tracks"]
)
def test_a_pause_comes_back(entry: Pause) -> None:
    SCHEMA.validate(strictly(encode_pause(entry)))
    assert decode_line(encode_pause(entry)) == entry


@pytest.mark.parametrize("reason", list(EndReason))
def test_an_end_comes_back(reason: EndReason) -> None:
    entry = End(2.000001, reason, 1008, 'more than "50"\n\u2028')
    SCHEMA.validate(strictly(encode_end(entry)))
    assert decode_line(encode_end(entry)) == entry
    assert decode_line(encode_end(End(2.0, reason))) == End(2.0, reason)


def test_a_header_comes_back_and_has_no_defaults_in_it() -> None:
    header = Header(
        version=1,
        source="default",
        path="/calls/{tenant}",
        headers=(("host", "example.org"), ("host", "example.net")),
        resolution_ms=60,
        accepted=datetime(2026, 11, 21, 10, 20, 7, 123456, UTC),
        stream="01994d3e-5f0a-7c3b-9b1e-0f6f5a3c2d11",
        path_parameters={"tenant": "ü"},
        peer_address="192.0.2.7",
        token="main",
        settings={"burst_s": 30.0, "encodings": {}},
    )
    line = encode_header(header)
    SCHEMA.validate(strictly(line))
    assert decode_header(line) == header
    assert encode_header(Header(version=1)) == b'{"version":1}\n'
    assert decode_header(b'{"version":1,"from":"a later version"}').source == "capture"


def test_a_header_can_be_written_whatever_stood_in_the_address() -> None:
    line = encode_header(Header(version=1, path_parameters={"tenant": "\udcff"}))
    assert decode_header(line).path_parameters == {"tenant": "\\udcff"}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{}", "the first line is not its header"),
        (b"[0.0]", "the first line is not its header"),
        (b'{"version":"1"}', "the first line is not its header"),
        (b"\xff", "the first line is not its header"),
        (b"[" * 100_000, "the first line is not its header"),
        (b'{"version":1,"accepted":"0001-01-01T00:00:00+14:00"}', "in the year 1$"),
        (b'{"version":1,"accepted":"9999-12-31T23:59:59Z"}', "in the year 9999"),
        (b'{"version":2}', "has version 2, and this reads version 1"),
    ],
)
def test_what_is_no_header_is_named(line: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        decode_header(line)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"", "is not"),
        (b"{}", "is not"),
        (b"[1.0]", "is not .seconds, code, value."),
        (b'[1.0,"m",{}', "is not .seconds, code, value."),
        (b'["1.0","m",{}]', "does not begin with a time"),
        (b'[-1,"m",{}]', "does not begin with a time"),
        (b'[NaN,"m",{}]', "does not begin with a time"),
        (b'[1e7,"m",{}]', "does not begin with a time"),
        (b'[1_0,"m",{}]', "does not begin with a time"),
        (b'[1.0,"m",{"a":}]', "cannot be read"),
        (b'[1.0,"m",{}],"x",{}]', "cannot be read"),
        (b'[1.0,"m",{"a":"\xff"}]', "cannot be read"),
        (b'[1.0,"t",{}]', "cannot be read"),
        (b'[1.0,"b","A"]', "cannot be read"),
        (b'[1.0,"b","\xc3\xa4==="]', "cannot be read"),
        (b'[1.0,"p",-1]', "cannot be read"),
        (b'[1.0,"p",true]', "cannot be read"),
        (b'[1.0,"p","some"]', "neither a size"),
        (b'[1.0,"x",{"reason":"boredom"}]', "cannot be read"),
        (b'[1.0,"x",{}]', "cannot be read"),
        (b'[1.0,"M",{]', "cannot be read"),
        (b'[1.0,"q",{}]', 'unknown code "q"'),
        (b"[1.0,m,{}]", "unknown code m"),
    ],
)
def test_what_is_no_line_is_named(line: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        decode_line(line)


def test_spaces_between_the_parts_of_a_line_made_by_hand_do_no_harm() -> None:
    assert decode_line(b'  [ 1 , "t" , "a, b" ]  \r\n') == Batch(1.0, ["a, b"])


def test_what_was_sent_is_passed_over() -> None:
    assert decode_line(b'[1.0,"M",{"event":"clear"}]') == Batch(1.0, [])


def test_headers_are_kept_without_secrets_and_within_bounds() -> None:
    said = [
        (b"Host", b"example.org"),
        (b"User-Agent", b"\xfcml\xe4ut"),
        (b"Authorization", b"Bearer s3cr3t"),
        (b"Cookie", b"session=s3cr3t"),
        (b"X-Twilio-Signature", b"s3cr3t"),
        (b"X-Auth-Token", b"s3cr3t"),
        (b"X-Api-Key", b"s3cr3t"),
        (b"Sec-WebSocket-Key", b"s3cr3t"),
        (b"Sec-WebSocket-Protocol", b"s3cr3t"),
        (b"Referer", b"https://example.org/s3cr3t"),
        (b"X-Original-URI", b"/twilio/s3cr3t"),
        (b"X-Forwarded-Path", b"/twilio/s3cr3t"),
        (b"X-Debug", b"?token=an0ther"),
        (b"Forwarded", b'for=192.0.2.1;path="/twilio/s3cr3t"'),
        (b"X-Request-Line", b"GET /twilio/s%33cr%33t HTTP/1.1"),
        (b"X-Long", b"a" * 5000),
    ]
    kept = storable_headers(said, "s3cr3t")
    assert [name for name, _ in kept] == ["host", "user-agent", "x-debug", "x-long"]
    assert "s3cr3t" not in repr(kept)
    assert "cr%33t" not in repr(kept)
    assert "an0ther" not in repr(kept)
    assert len(dict(kept)["x-long"]) < 1100
    assert len(storable_headers([(b"a", b"b")] * 1000)) == MAX_HEADERS
