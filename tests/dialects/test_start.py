from __future__ import annotations

import json
from typing import Any

import pytest

from receiver.dialects.messages import MediaFormat, Start
from receiver.dialects.start import MAX_TRACKS, read_start, track_name
from receiver.errors import ProtocolError

BODY: dict[str, Any] = {
    "streamSid": "7d56cc11-536d-4a45-b4fb-ed3d55be843b",
    "accountSid": "b08dacad-2f6c-4de1-93d6-cc732e0c69c5",
    "callSid": "76ac3c36-56da-4a3e-a0d6-b5f8df6da9ad",
    "tracks": ["inbound", "outbound"],
    "customParameters": {"from": "+15550100"},
    "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
}
ABSENT = object()


def read(*, parameters_due: bool = False, greeting: dict[str, object] | None = None, **changes: Any) -> Start:
    body = {name: value for name, value in (BODY | changes).items() if value is not ABSENT}
    return read_start({"event": "start", "start": body}, greeting or {}, parameters_due=parameters_due)


def refusal(code: int = 4400, **changes: Any) -> str:
    with pytest.raises(ProtocolError) as caught:
        read(**changes)
    assert caught.value.code == code
    assert len(caught.value.reason.encode()) <= 120
    return caught.value.reason


def test_a_whole_start_has_no_defect() -> None:
    assert read() == Start(
        stream_id=BODY["streamSid"],
        call_id=BODY["callSid"],
        account_id=BODY["accountSid"],
        tracks=("inbound", "outbound"),
        format=MediaFormat("audio/x-mulaw", 8000, 1),
        parameters={"from": "+15550100"},
        defects=0,
    )


@pytest.mark.parametrize("name", ["streamSid", "callSid", "accountSid"])
def test_an_id_is_looked_for_at_the_top_level_too(name: str) -> None:
    body = {key: value for key, value in BODY.items() if key != name}
    start = read_start({"start": body, name: "top:1"}, {}, parameters_due=False)
    assert "top:1" in (start.stream_id, start.call_id, start.account_id)
    assert start.defects == 0


def test_an_id_inside_start_is_taken_first() -> None:
    assert read_start({"start": BODY, "streamSid": "top"}, {}, parameters_due=False).stream_id == BODY["streamSid"]


@pytest.mark.parametrize("name", ["streamSid", "callSid"])
@pytest.mark.parametrize("value", [ABSENT, None])
def test_a_start_without_a_required_id_is_refused_by_name(name: str, value: object) -> None:
    assert refusal(**{name: value}) == f"start.{name} is missing"


@pytest.mark.parametrize("name", ["streamSid", "callSid", "accountSid"])
@pytest.mark.parametrize(
    "value",
    ["", 5, [], {}, True, "../x", "a/b", "a\\b", "%2e%2e", "a b", "x" * 129, "\U0001f600", "\u202e", "a\0", "\ud800"],
)
def test_an_id_that_is_no_identifier_is_refused_by_name(name: str, value: object) -> None:
    assert refusal(**{name: value}).startswith(f"start.{name} is not an identifier")


def test_a_trailing_line_break_is_no_part_of_an_id() -> None:
    assert refusal(callSid="call\n").startswith("start.callSid")


def test_no_account_is_one_defect() -> None:
    start = read(accountSid=ABSENT)
    assert (start.account_id, start.defects) == (None, 1)


@pytest.mark.parametrize("body", [None, [], "x", 5])
def test_a_start_without_its_object_is_refused(body: object) -> None:
    with pytest.raises(ProtocolError, match="start is missing or not an object") as caught:
        read_start({"event": "start", "start": body}, {}, parameters_due=False)
    assert caught.value.code == 4400


@pytest.mark.parametrize("value", [ABSENT, None, [], "audio/x-mulaw"])
def test_a_start_without_a_media_format_is_refused(value: object) -> None:
    assert refusal(mediaFormat=value) == "start.mediaFormat is missing or not an object"


@pytest.mark.parametrize("encoding", [None, 5, "x" * 129, "\ud800"])
def test_a_media_format_without_a_readable_encoding_is_refused(encoding: object) -> None:
    assert refusal(mediaFormat={"encoding": encoding}).startswith("start.mediaFormat.encoding")


def test_rate_and_channels_may_be_strings() -> None:
    start = read(mediaFormat={"encoding": "L16", "sampleRate": "16000", "channels": " 1"})
    assert start.format == MediaFormat("L16", 16000, 1)
    assert start.defects == 0


@pytest.mark.parametrize("value", [None, "fast", -8000, [], True])
def test_an_unreadable_rate_is_missing_and_counted(value: object) -> None:
    start = read(mediaFormat={"encoding": "L16", "sampleRate": value})
    assert start.format == MediaFormat("L16", None, None)
    assert start.defects == 2


@pytest.mark.parametrize(
    ("announced", "tracks", "defects"),
    [
        (["inbound"], ("inbound",), 0),
        (["Inbound_Track", "OUTBOUND"], ("inbound", "outbound"), 0),
        (["inbound", "inbound_track"], ("inbound",), 1),
        (["inbound", 5, None, "a/b", ""], ("inbound",), 4),
        (["mixed"], ("mixed",), 0),
        ([], (), 1),
        (None, (), 1),
        (ABSENT, (), 1),
        ("inbound", (), 1),
        ({"inbound": True}, (), 1),
    ],
)
def test_tracks_are_normalised_and_what_is_odd_is_counted(
    announced: object, tracks: tuple[str, ...], defects: int
) -> None:
    start = read(tracks=announced)
    assert (start.tracks, start.defects) == (tracks, defects)


def test_no_more_tracks_are_kept_than_a_call_can_have() -> None:
    start = read(tracks=[f"t{number}" for number in range(5000)])
    assert len(start.tracks) == MAX_TRACKS
    assert start.defects == 5000 - MAX_TRACKS


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("inbound", "inbound"),
        ("inbound_track", "inbound"),
        ("OUTBOUND_TRACK", "outbound"),
        ("Mixed", "mixed"),
        ("a.b-c_d", "a.b-c_d"),
        ("x" * 32 + "_track", "x" * 32),
        ("_track", None),
        ("", None),
        ("x" * 33, None),
        ("a b", None),
        ("../x", None),
        ("inbound\n", None),
        ("\u212a", None),  # the Kelvin sign, whose small letter is an ASCII k
        ("\ud800", None),
    ],
)
def test_a_track_has_one_name_however_it_is_written(written: str, name: str | None) -> None:
    assert track_name(written) == name


@pytest.mark.parametrize("value", [ABSENT, None, {}])
def test_no_custom_parameters_are_documented_and_no_defect(value: object) -> None:
    start = read(customParameters=value)
    assert (start.parameters, start.defects) == ({}, 0)


@pytest.mark.parametrize(("value", "defects"), [(ABSENT, 1), (None, 1), ({}, 0)])
def test_where_parameters_are_due_their_absence_is_counted(value: object, defects: int) -> None:
    assert read(customParameters=value, parameters_due=True).defects == defects


def test_custom_parameters_may_hold_any_json() -> None:
    parameters = json.loads('{"a":1,"b":[true,null,{"c":2.5}],"d":"\\u0000../","":"","long":123456789012345678901234}')
    assert read(customParameters=parameters).parameters == parameters


def test_parameters_that_came_with_connected_are_kept_and_those_of_start_win() -> None:
    start = read(greeting={"a": 1, "from": "earlier"})
    assert start.parameters == {"a": 1, "from": "+15550100"}


def test_parameters_are_bounded_together() -> None:
    assert "more than 99" in refusal(greeting={str(number): "" for number in range(99)})


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([], "not an object"),
        ("x", "not an object"),
        (5, "not an object"),
        ({str(number): "" for number in range(100)}, "more than 99 entries"),
        ({"k" * 4097: ""}, "a key is too long"),
        ({"\ud800": ""}, "a key is too long or not Unicode"),
        ({"k": "v" * 4095}, "longer than 4096 bytes"),
        ({"k": ["v" * 100] * 50}, "longer than 4096 bytes"),
        ({"k": "\ud800"}, "not Unicode"),
        ({"k": json.loads("[" * 40 + "]" * 40)}, "deeper than 32 levels"),
        ({"k": json.loads('{"a":' * 40 + "1" + "}" * 40)}, "deeper than 32 levels"),
    ],
)
def test_custom_parameters_beyond_their_bounds_are_refused(value: object, reason: str) -> None:
    assert reason in refusal(customParameters=value)


def test_ninety_nine_parameters_of_four_kilobytes_are_within_bounds() -> None:
    parameters = {f"{number:02}": "v" * 4094 for number in range(99)}
    assert read(customParameters=parameters).parameters == parameters
