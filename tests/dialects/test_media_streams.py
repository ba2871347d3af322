from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from receiver.dialects import DIALECTS, Dialect, open_dialect
from receiver.dialects.messages import Connected, Dtmf, Mark, Media, Message, Start, Stop, Unknown
from receiver.errors import ProtocolError
from receiver.events import MASKED

STREAM_ID = "7d56cc11-536d-4a45-b4fb-ed3d55be843b"
AUDIO = bytes(range(160))
PAYLOAD = base64.b64encode(AUDIO).decode()
# A field that nobody reads, and that the typed decoder cannot: it sends a message to the tolerant reader.
SLOWLY = '"unread":"\\ud800",'


def started(name: str = "signalwire", tracks: tuple[str, ...] = ("inbound", "outbound")) -> Dialect:
    dialect = open_dialect(name)
    media_format = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
    start = {"streamSid": STREAM_ID, "callSid": "call", "tracks": list(tracks), "mediaFormat": media_format}
    dialect.parse(json.dumps({"event": "start", "start": start}))
    return dialect


def media(**changes: Any) -> str:
    fields = {"track": "inbound", "chunk": "17", "timestamp": "340", "payload": PAYLOAD} | changes
    return json.dumps({"event": "media", "media": {key: value for key, value in fields.items() if value is not ...}})


def both_ways(data: str, dialect: Dialect | None = None) -> Message:
    """What a message means, after the fast and the tolerant reader agreed on it."""
    dialect = dialect or started()
    fast, slow = dialect.parse(data), dialect.parse(data.replace("{", "{" + SLOWLY, 1))
    assert fast == slow
    return fast


def refusal(data: str | bytes, dialect: Dialect | None = None) -> str:
    with pytest.raises(ProtocolError) as caught:
        (dialect or started()).parse(data)
    assert caught.value.code == 1007
    assert len(caught.value.reason.encode()) <= 120
    return caught.value.reason


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("data", [b"", b"{}", media().encode()])
def test_a_binary_message_is_1003_before_and_after_start(name: str, data: bytes) -> None:
    for dialect in (open_dialect(name), started(name)):
        with pytest.raises(ProtocolError) as caught:
            dialect.parse(data)
        assert caught.value.code == 1003


@pytest.mark.parametrize("number", ["17", 17, 17.0, " 17", "017", "17 ", "17.0"])
def test_counters_may_be_strings_or_numbers(number: object) -> None:
    assert both_ways(media(chunk=number, timestamp=number)) == Media("inbound", AUDIO, 17, 17)


@pytest.mark.parametrize("number", [..., None, "", "x", -1, "-1", 1.5, True, [], {}, 2**63, str(2**63), "\u0667"])
def test_unreadable_counters_are_missing_and_the_audio_is_kept(number: object) -> None:
    assert both_ways(media(chunk=number, timestamp=number)) == Media("inbound", AUDIO, None, None)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400", "9" * 5000])
def test_a_counter_beyond_json_is_refused_by_name(number: str) -> None:
    data = media().replace('"17"', number)
    if number == "9" * 5000:
        assert refusal(data) == "media.chunk is not a JSON number"
    assert "media.chunk" in refusal(data)


@pytest.mark.parametrize("unread", ["NaN", "1e400", "9" * 5000, '"\\ud800"', '{"a":[{}]}', '"\\u0000"'])
def test_a_field_that_nobody_reads_may_hold_anything(unread: str) -> None:
    data = media().replace("{", '{"unread":' + unread + ",", 1)
    assert started().parse(data) == Media("inbound", AUDIO, 17, 340)


@pytest.mark.parametrize(
    ("written", "track"),
    [
        ("inbound", "inbound"),
        ("outbound_track", "outbound"),
        ("INBOUND", "inbound"),
        ("mixed", "mixed"),
        ("null", "null"),
    ],
)
def test_a_track_may_be_written_in_many_ways(written: str, track: str) -> None:
    assert both_ways(media(track=written)) == Media(track, AUDIO, 17, 340)


@pytest.mark.parametrize("track", ["", "_track", "a b", "../x", "x" * 33, "\x00"])
def test_a_track_that_is_no_name_is_refused(track: str) -> None:
    assert refusal(media(track=track)).startswith("media.track is not a name")


@pytest.mark.parametrize("track", [..., None, 5, []])
def test_without_a_track_the_only_one_announced_is_meant(track: object) -> None:
    assert both_ways(media(track=track), started(tracks=("outbound",))) == Media("outbound", AUDIO, 17, 340)
    for announced in ((), ("inbound", "outbound")):
        assert refusal(media(track=track), started(tracks=announced)) == "media.track is missing or not a string"


@pytest.mark.parametrize("payload", [..., None, "", 5, [], "QQ", "QUI=QUI=", PAYLOAD + "\n", "-_-_", "\u00e9AAA"])
def test_an_unreadable_payload_is_none_and_the_message_keeps_its_place(payload: object) -> None:
    assert both_ways(media(payload=payload)) == Media("inbound", None, 17, 340)


def test_a_payload_whose_base64_spells_null_is_audio() -> None:
    assert both_ways(media(payload="null")) == Media("inbound", base64.b64decode("null"), 17, 340)


def test_a_payload_with_escaped_slashes_is_audio() -> None:
    data = media(payload="////").replace("////", "\\/\\/\\/\\/")
    assert both_ways(data) == Media("inbound", b"\xff\xff\xff", 17, 340)


@pytest.mark.parametrize("body", ["null", "[]", '"x"', "5"])
def test_media_without_its_object_is_refused(body: str) -> None:
    assert refusal(f'{{"event":"media","media":{body}}}') == "media is missing or not an object"


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize(
    "message",
    [
        json.loads(media()),
        {"event": "dtmf", "dtmf": {"digit": "1"}},
        {"event": "mark", "mark": {"name": "x"}},
        {"event": "stop"},
    ],
    ids=lambda message: message["event"],
)
def test_a_message_of_another_stream_is_refused(name: str, message: dict[str, Any]) -> None:
    dialect = started(name)
    plain = dialect.parse(json.dumps(message))
    assert dialect.parse(json.dumps(message | {"streamSid": STREAM_ID})) == plain
    assert dialect.parse(json.dumps(message | {"streamSid": None})) == plain
    for other in ("another", "", 5, "\ud800"):
        assert refusal(json.dumps(message | {"streamSid": other}), dialect) == "streamSid is not the one of start"


@pytest.mark.parametrize("name", DIALECTS)
def test_media_before_start_is_read_for_the_session_to_judge(name: str) -> None:
    dialect = open_dialect(name)
    data = json.dumps(json.loads(media()) | {"streamSid": "any"})
    assert both_ways(data, dialect) == Media("inbound", AUDIO, 17, 340)


def test_of_duplicate_keys_the_last_wins() -> None:
    assert started().parse('{"event":"media","event":"stop","media":{"track":"inbound","payload":"QUJD"}}') == Stop()
    twice = media().replace('"chunk": "17"', '"chunk":"x","chunk":"18","payload":"?"')
    assert started().parse(twice) == Media("inbound", AUDIO, 18, 340)
    assert both_ways(media().replace('"event": "media"', '"event":"stop","event":"media"')) == started().parse(media())


@pytest.mark.parametrize(
    "event", ["", '"event":null,', '"event":5,', '"event":["media"],', '"event":{},', '"event":NaN,']
)
def test_a_message_without_an_event_is_refused(event: str) -> None:
    data = "{" + event + '"media":{"track":"inbound","payload":"QUJD"}}'
    assert refusal(data) == "event is missing or not a string"


@pytest.mark.parametrize("event", ["clear", "", "Media", "x" * 64])
def test_an_unknown_event_is_named(event: str) -> None:
    assert started().parse(json.dumps({"event": event, "streamSid": "any"})) == Unknown(event)


def test_the_name_of_an_unknown_event_is_clipped_and_has_utf_8() -> None:
    assert started().parse(json.dumps({"event": "é" * 65})) == Unknown("é" * 64)
    assert started().parse('{"event":"a\\ud800b"}') == Unknown("a?b")


@pytest.mark.parametrize(
    "data", ["", "x", "[]", "[" * 100_000, '{"event":"media"', '\ufeff{"event":"stop"}', media() + "x"]
)
def test_what_is_no_json_object_is_refused(data: str) -> None:
    assert refusal(data)


@pytest.mark.parametrize(
    ("written", "version"), [('"0.2.0"', "0.2.0"), ("null", None), ("2", None), (f'"{"1" * 33}"', None)]
)
def test_the_version_of_connected_decides_nothing(written: str, version: str | None) -> None:
    assert open_dialect("signalwire").parse(f'{{"event":"connected","version":{written}}}') == Connected(version)
    assert open_dialect("signalwire").parse('{"event":"connected"}') == Connected(None)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"digit": "5", "duration": 2000}, Dtmf("5", 2000)),
        ({"digit": "5", "duration": "2000"}, Dtmf("5", 2000)),
        ({"digit": "5", "duration": "long"}, Dtmf("5")),
        ({"digit": "#", "track": "inbound_track"}, Dtmf("#", None, "inbound")),
        ({"digit": "*", "track": "a b"}, Dtmf("*")),
        ({"digit": "0", "track": 5}, Dtmf("0")),
        ({"digit": "d"}, Dtmf("D")),
        ({"digit": 7}, Dtmf("7")),
    ],
)
def test_a_digit_comes_with_and_without_duration_and_track(body: dict[str, Any], expected: Dtmf) -> None:
    assert started().parse(json.dumps({"event": "dtmf", "dtmf": body})) == expected


@pytest.mark.parametrize("digit", [None, "", "E", "12", "\u0667", "\uff21", True, -1, 10, 1.0, [], ["5"], "5\n"])
def test_what_is_on_no_keypad_is_refused(digit: object) -> None:
    assert refusal(json.dumps({"event": "dtmf", "dtmf": {"digit": digit}})).startswith("dtmf.digit")


def test_a_digit_nested_without_end_is_refused() -> None:
    deep = "[" * 900 + "]" * 900
    assert refusal(f'{{"event":"dtmf","dtmf":{{"digit":{deep}}}}}')


@pytest.mark.parametrize("message", [{"event": "dtmf"}, {"event": "mark"}, {"event": "mark", "mark": "x"}])
def test_an_event_without_its_object_is_refused(message: dict[str, Any]) -> None:
    assert refusal(json.dumps(message)) == f"{message['event']} is missing or not an object"


@pytest.mark.parametrize("name", ["", "x", "é" * 2048, "\0 %s {}"])
def test_a_mark_has_a_name(name: str) -> None:
    assert started().parse(json.dumps({"event": "mark", "mark": {"name": name}})) == Mark(name)


@pytest.mark.parametrize("name", [None, 5, "x" * 4097, "é" * 2049, "\ud800"])
def test_a_mark_without_a_readable_name_is_refused(name: object) -> None:
    assert refusal(json.dumps({"event": "mark", "mark": {"name": name}})).startswith("mark.name")


@pytest.mark.parametrize("body", [{}, {"stop": {"accountSid": "a", "callSid": "c"}}, {"stop": None}])
def test_a_stop_comes_with_and_without_a_body(body: dict[str, Any]) -> None:
    assert started().parse(json.dumps({"event": "stop"} | body)) == Stop()


@pytest.mark.parametrize("name", DIALECTS)
def test_parameters_may_come_with_connected(name: str) -> None:
    dialect = open_dialect(name)
    dialect.parse('{"event":"connected","customParameters":{"a":"connected","b":1}}')
    body = {
        "streamSid": "s",
        "callSid": "c",
        "mediaFormat": {"encoding": "OPUS"},
        "customParameters": {"a": "start"},
    }
    start = dialect.parse(json.dumps({"event": "start", "start": body}))
    assert isinstance(start, Start)
    assert start.parameters == {"a": "start", "b": 1}


@pytest.mark.parametrize("event", ["connected", "start"])
def test_a_parameter_beyond_json_is_refused(event: str) -> None:
    body = '"streamSid":"s","callSid":"c","mediaFormat":{"encoding":"OPUS"},"customParameters":{"a":[1e400]}'
    data = f'{{"event":"{event}",{body},"start":{{{body}}}}}'
    assert refusal(data, open_dialect("signalwire")) == f"{event}.customParameters: a value is not a JSON number"


def test_a_second_start_is_read_and_changes_nothing() -> None:
    dialect = started(tracks=("inbound",))
    body = {"streamSid": "other", "callSid": "c", "tracks": ["outbound"], "mediaFormat": {"encoding": "OPUS"}}
    second = dialect.parse(json.dumps({"event": "start", "start": body}))
    assert isinstance(second, Start)
    assert second.stream_id == "other"
    assert dialect.parse(media(track=...)) == Media("inbound", AUDIO, 17, 340)
    assert refusal(json.dumps(json.loads(media()) | {"streamSid": "other"}), dialect)


def test_ten_thousand_keys_and_much_white_space_are_read() -> None:
    many = json.loads(media()) | {f"k{number}": number for number in range(10_000)}
    assert both_ways(json.dumps(many)) == Media("inbound", AUDIO, 17, 340)
    assert both_ways(media() + " " * 60_000) == Media("inbound", AUDIO, 17, 340)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(), max_size=8),
    st.sampled_from(["inbound", "outbound_track", STREAM_ID, PAYLOAD, "QQ==", "null", "1e3", " 7", "AC" + "0" * 32]),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
EVENTS = st.sampled_from(["connected", "start", "media", "dtmf", "mark", "stop", "other"])
NAMES = st.sampled_from(
    "track chunk timestamp payload streamSid callSid accountSid tracks mediaFormat encoding sampleRate channels "
    "customParameters digit duration name".split()
)
BODIES = st.dictionaries(NAMES, VALUES | st.dictionaries(NAMES, VALUES, max_size=4), max_size=8)
MESSAGES = st.builds(
    lambda event, body, rest: json.dumps({**rest, event: body, "event": event}), EVENTS, BODIES, BODIES
)


@given(st.sampled_from(DIALECTS), st.booleans(), st.lists(st.text() | MESSAGES | VALUES.map(json.dumps), max_size=6))
@example("auto", True, ["[" * 100_000, '{"event":"media","media":{"payload":' + "[" * 5000])
@settings(database=None, deadline=None, max_examples=300)
def test_any_text_is_a_message_or_a_protocol_error(name: str, after_start: bool, texts: list[str]) -> None:
    dialect = started(name) if after_start else open_dialect(name)
    for data in texts:
        try:
            message = dialect.parse(data)
        except ProtocolError as error:
            assert error.code in (1007, 4400)
            assert 0 < len(error.reason.encode()) <= 120
        else:
            assert isinstance(message, Message)


@given(st.dictionaries(st.sampled_from(["track", "chunk", "timestamp", "payload"]), VALUES, max_size=4), VALUES)
@settings(database=None, deadline=None, max_examples=300)
def test_a_field_that_nobody_reads_never_changes_what_a_message_means(body: dict[str, Any], stream_id: Any) -> None:
    plain = json.dumps({"event": "media", "media": {"track": "inbound"} | body, "streamSid": stream_id})
    dialect = started()
    outcomes = []
    for data in (plain, plain.replace("{", "{" + SLOWLY, 1)):
        try:
            outcomes.append(dialect.parse(data))
        except ProtocolError as error:
            outcomes.append((error.code, error.reason))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    ("body", "masked"),
    [
        ({"digit": "5", "duration": 250}, {"duration": 250, "digit": "X"}),
        ({"digit": 5, "duration": "250.0", "key": "5"}, {"duration": 250, "digit": "X"}),
        ({"digit": "#", "track": "inbound_track"}, {"track": "inbound_track", "digit": "X"}),
        ({"digit": "5", "duration": "five", "track": "five is it"}, {"digit": "X"}),
        ({"digit": "5", "duration": [5], "track": {"5": 5}}, {"digit": "X"}),
    ],
)
@pytest.mark.parametrize("name", DIALECTS)
def test_a_masked_key_is_the_same_message_without_the_key(
    name: str, body: dict[str, Any], masked: dict[str, Any]
) -> None:
    dialect = open_dialect(name)
    said = {"event": "dtmf", "sequenceNumber": "7", "pressed": "5", "dtmf": body}
    text = dialect.masked(json.dumps(said))
    assert json.loads(text) == {"event": "dtmf", "sequenceNumber": "7", "dtmf": masked}
    before, after = dialect.parse(json.dumps(said)), dialect.parse(text)
    assert isinstance(before, Dtmf)
    assert after == msgspec.structs.replace(before, digit=MASKED)
