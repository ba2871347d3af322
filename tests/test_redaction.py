"""What is masked, and what is left to read."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.events import Digit
from receiver.redaction import TEXT, clean, clean_traceback, is_secret, redact, redact_text

SECRET = "Zq9-secretvalue_77.x~"
JSON_ALONE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner),
)


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {SECRET}",
        f"authorization: {SECRET}",
        f"Proxy-Authorization: Basic {SECRET}",
        f"(b'authorization', b'Bearer {SECRET}')",
        f"[(b'authorization', b'{SECRET}'), (b'host', b'localhost')]",
        f'{{"Authorization": "{SECRET}"}}',
        f"BEARER  {SECRET} was refused",
        f"GET /stream?token={SECRET} HTTP/1.1",
        f"GET /stream?a=1&access_token={SECRET}&b=2",
        f"wss://host/stream?key={SECRET}#there",
        f"/stream%3Ftoken%3D{SECRET}",
        f"url=http://x/?api-key={SECRET}",
        f"RECEIVER_TOKEN={SECRET}",
        f"X-Twilio-Signature: {SECRET}",
        f"Cookie: session={SECRET}; other={SECRET}",
        f'{{"event":"media","media":{{"payload":"{SECRET}"}}}}',
        f'{{\\"media\\":{{\\"payload\\":\\"{SECRET}\\"}}}}',
        f"Media(track='inbound', payload=b'{SECRET}', chunk=1)",
        f'Media(track="inbound", payload=b"it\\"s {SECRET}", chunk=1)',
        f"{{'token': '{SECRET}'}}",
        f"token = '{SECRET}'",
        f'"payload": "{SECRET} and no end',
        repr(Digit(SECRET, 0, 8000)),
    ],
)
def test_a_secret_in_a_text_is_masked_in_every_shape_it_takes(text: str) -> None:
    masked = redact_text(text)
    assert SECRET not in masked
    assert "***" in masked
    assert redact_text(masked) == masked


@pytest.mark.parametrize(
    "text",
    [
        "stream ended",
        "sources.default.auth.tokens: expected a list",
        "the token of source default was read again",
        "bearer of bad news",
        "http://host/stream?from=%2B4930&to=7",
        "keyboard=qwertz monkeys=7",
        "Digital audio, 3 digits long",
    ],
)
def test_plain_words_about_secrets_are_left_alone(text: str) -> None:
    assert redact_text(text) == text


@pytest.mark.parametrize(
    "key", ["token", "Authorization", "client_secret", "db-password", "payload", "digit", "digits"]
)
def test_a_key_that_says_secret_is_known(key: str) -> None:
    assert is_secret(key)
    assert redact({key: SECRET, "and": [{key: {"deep": SECRET}}]}) == {key: "***", "and": [{key: "***"}]}


@pytest.mark.parametrize("key", ["source", "token_name", "stream", "digitally", "key"])
def test_other_keys_are_not(key: str) -> None:
    assert not is_secret(key)
    assert redact({key: "value"}) == {key: "value"}


@given(JSON_ALONE)
def test_anything_becomes_something_that_strict_json_can_say(value: object) -> None:
    text = json.dumps(redact(value), allow_nan=False)
    text.encode("ascii")
    json.dumps(redact(value), ensure_ascii=False).encode("utf-8")


def test_bytes_are_told_by_their_size_alone() -> None:
    assert redact(b"\xff" * 160) == "160 bytes"


def test_an_object_that_cannot_be_shown_costs_nothing_else() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    assert redact({"a": Broken(), "b": 1}) == {"a": "<Broken>", "b": 1}


def test_an_exception_is_shown_with_its_kind() -> None:
    assert redact(ValueError(f"token={SECRET}")) == "ValueError: token=***"


def test_size_and_depth_are_bounded() -> None:
    value: object = "x" * 1_000_000
    for _ in range(100):
        value = [value] * 2
    text = json.dumps(redact([1] * 100_000 + [value]))
    assert len(text) < 1_000
    assert len(clean("x" * 1_000_000)) < TEXT + 50
    assert len(json.dumps(redact(value))) < 2**7 * (TEXT + 50)
    assert len(clean_traceback("line\n" * 1_000_000)) <= 4 * TEXT


def test_the_end_of_a_traceback_is_kept_and_a_cut_line_is_not() -> None:
    text = f"payload=b'{'y' * 16 * TEXT}'\nValueError: here"
    assert clean_traceback(text) == "ValueError: here"
    assert clean_traceback(f"a\nValueError: token={SECRET}") == "a\nValueError: token=***"


@pytest.mark.parametrize("unit", ["a-", "token", "\\", "bearer ", "x_", '"payload":"', "key=", "authorization:", "\\'"])
def test_no_text_takes_long(unit: str) -> None:
    started = time.process_time()
    clean(unit * (2 * TEXT))
    clean_traceback(unit * (16 * TEXT))
    assert time.process_time() - started < 10
