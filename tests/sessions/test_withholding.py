"""What is withheld leaves its time and its size: no audio, no key, no mark, no word of it is kept or told."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from receiver.events import MASKED, Cause, Digit, Ended, EndReason, Event, Frame, Gap, Marked, Started
from receiver.sessions.session import Session
from receiver.sessions.settings import SessionSettings

CONNECTED = json.dumps({"event": "connected", "protocol": "Call", "version": "0.2.0"})
STOP = json.dumps({"event": "stop", "sequenceNumber": "999"})
START = json.dumps(
    {
        "event": "start",
        "start": {
            "streamSid": "stream",
            "callSid": "call",
            "accountSid": "account",
            "tracks": ["inbound", "outbound"],
            "customParameters": {},
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        },
    }
)
SECRET = b"\x11" * 160


def media(number: int, *, track: str = "inbound", payload: bytes = b"\xff" * 160) -> str:
    text = base64.b64encode(payload).decode()
    body = {"track": track, "chunk": str(number), "timestamp": str((number - 1) * 20), "payload": text}
    return json.dumps({"event": "media", "media": body})


def digit(key: str, **fields: Any) -> str:
    return json.dumps({"event": "dtmf", "sequenceNumber": "7", "dtmf": {"digit": key, **fields}})


def mark(name: str) -> str:
    return json.dumps({"event": "mark", "mark": {"name": name}})


def live(**settings: Any) -> Session:
    session = Session(at=0.0, settings=SessionSettings(**settings))
    session.kept = []
    session.receive([CONNECTED, START], 0.0)
    session.kept.clear()
    return session


def the_end(session: Session, at: float) -> tuple[list[Event], Ended]:
    *events, ended = session.close(EndReason.CLOSE, at)
    assert isinstance(ended, Ended)
    return events, ended


def test_nothing_of_a_paused_span_is_told_or_kept() -> None:
    session = live(mask_digits=False)
    session.receive([media(1)], 0.02)
    session.withhold(None, 0.03)
    assert session.kept is not None
    session.kept.clear()
    secrets = [media(2, payload=SECRET), digit("7"), mark("card"), '{"event":"card"}', "card", b"card", "x" * 70_000]
    assert session.receive(list(secrets), 1.0) == []
    assert session.kept == [len(one) for one in secrets]
    assert session.kinds["unreadable"] == 3
    session.withhold((), 1.01)
    events = session.receive([media(52)], 1.04)
    assert [(type(event), event.start, event.end) for event in events if isinstance(event, Frame | Gap)] == [
        (Gap, 160, 51 * 160),
        (Frame, 51 * 160, 52 * 160),
    ]
    _, ended = the_end(session, 2.0)
    assert ended.ignored == {"paused": len(secrets)}
    counters = ended.tracks["inbound"]
    assert (counters.received, counters.placed) == (2, 2)
    assert counters.gaps == {"paused": 50 * 160}


def test_what_is_needed_to_follow_the_stream_is_kept_and_a_stop_ends_it() -> None:
    session = live()
    session.withhold(None, 0.5)
    events = session.receive([CONNECTED, START, STOP], 1.0)
    assert session.kept == [len(CONNECTED), len(START), '{"event":"stop"}']
    assert isinstance(events[-1], Ended)
    assert (events[-1].reason, events[-1].stop_received) == (EndReason.STOP, True)


def test_a_muted_track_is_silent_and_the_other_is_heard() -> None:
    session = live(mask_digits=False)
    session.receive([media(1), media(1, track="outbound")], 0.02)
    session.withhold(("inbound",), 0.03)
    assert session.kept is not None
    session.kept.clear()
    said = [media(2, payload=SECRET), media(2, track="outbound"), mark("a"), digit("1"), digit("2", track="inbound")]
    events = session.receive([*said, digit("3", track="outbound"), '{"event":"card"}'], 0.04)
    assert [(event.track, event.start) for event in events if isinstance(event, Frame | Gap)] == [("outbound", 160)]
    assert [event.digit for event in events if isinstance(event, Digit)] == ["3"]
    assert [event.name for event in events if isinstance(event, Marked)] == ["a"]
    withheld = [index for index, one in enumerate(session.kept) if isinstance(one, int)]
    assert withheld == [0, 3, 4, 6]
    events, ended = the_end(session, 1.03)
    assert [(e.track, e.start, e.end) for e in events if isinstance(e, Gap)] == [("inbound", 160, 160 + 8000)]
    assert ended.tracks["outbound"].gaps == {}


def test_a_packet_sent_while_it_was_paused_and_late_is_withheld_too() -> None:
    session = live()
    session.receive([media(1)], 0.02)
    session.withhold(None, 0.03)
    session.withhold((), 1.03)
    assert session.kept is not None
    session.kept.clear()
    events = session.receive([media(30, payload=SECRET), media(52), media(31, payload=SECRET), media(53)], 1.05)
    assert [(event.start, event.end) for event in events if isinstance(event, Frame)] == [(51 * 160, 53 * 160)]
    assert [isinstance(one, int) for one in session.kept] == [True, False, True, False]
    _, ended = the_end(session, 2.0)
    counters = ended.tracks["inbound"]
    assert ended.ignored["paused"] == 2
    assert counters.received == counters.placed == 3


def bare(number: int, payload: bytes = SECRET) -> str:
    """A packet without a counter."""
    body = {"track": "inbound", "timestamp": (number - 1) * 20, "payload": base64.b64encode(payload).decode()}
    return json.dumps({"event": "media", "media": body})


@pytest.mark.parametrize(
    ("settings", "pauses", "late"),
    [
        ({}, [(1.0, 2.0)], [media(90, payload=SECRET)]),
        ({"counters": False}, [(1.0, 2.0)], [media(90, payload=SECRET)]),
        ({}, [(1.0, 2.0)], [bare(90)]),
        ({}, [(0.3, 0.6), (1.2, 2.0)], [media(90, payload=SECRET)]),  # and nothing came between the two
        ({}, [(0.03, 2.0)], [media(90, track="outbound", payload=SECRET)]),  # of which nothing had come
        ({}, [(0.03, 2.0)], [media(90, track="third", payload=SECRET)]),  # which nobody had announced
    ],
    ids=["behind a newer one", "counters ignored", "no counter", "two pauses", "first of its track", "new track"],
)
def test_nothing_that_was_sent_during_a_pause_is_heard_or_kept_for_five_seconds(
    settings: dict[str, Any], pauses: list[tuple[float, float]], late: list[str]
) -> None:
    session = live(**settings)
    session.receive([media(1)], 0.02)  # then silence: a pause does not begin where the last packet ended
    for begin, end in pauses:
        session.withhold(None, begin)
        session.withhold((), end)
    assert session.kept is not None
    session.kept.clear()
    first = session.receive(late, 2.03)
    again = session.receive([media(102), *late], 2.05)
    assert session.receive([media(103), *late], 6.9) is not None
    assert [one for one in session.kept if isinstance(one, int)] == [len(late[0])] * 3
    assert [event.start for event in [*first, *again] if isinstance(event, Frame)] == [101 * 160]
    _, ended = the_end(session, 7.0)
    assert ended.ignored["paused"] == 3


def test_after_that_a_packet_is_only_late() -> None:
    session = live()
    session.receive([media(1)], 0.02)
    session.withhold(None, 0.03)
    session.withhold((), 1.03)
    session.receive([media(52)], 1.05)
    session.receive([media(300), media(30)], 6.1)
    _, ended = the_end(session, 7.0)
    assert "paused" not in ended.ignored
    assert ended.tracks["inbound"].duplicate + ended.tracks["inbound"].late == 1


def test_a_peer_that_counts_from_1970_is_heard_after_a_pause() -> None:
    session = live()
    session.withhold(None, 0.03)
    session.withhold((), 1.03)
    body = {"track": "inbound", "chunk": 1, "timestamp": 1_705_312_200_000, "payload": "/////w=="}
    events = session.receive([json.dumps({"event": "media", "media": body})], 1.05)
    assert any(isinstance(event, Frame) for event in events)


def test_a_start_with_other_ids_ends_a_paused_stream_without_being_kept() -> None:
    session = live()
    session.withhold(None, 0.5)
    other = START.replace('"call"', '"4111111111111111"')
    *_, ended = session.receive([other], 1.0)
    assert isinstance(ended, Ended)
    assert (ended.close_code, ended.ignored) == (1008, {"paused": 1})
    assert session.kept == [len(other)]


def test_it_can_be_asked_for_before_the_stream_starts() -> None:
    session = Session(at=0.0)
    session.withhold(None, 0.0)
    started, *_ = session.receive([CONNECTED, START, media(1, payload=SECRET)], 0.02)
    assert isinstance(started, Started)
    session.withhold((), 1.0)
    events = session.receive([media(51)], 1.02)
    assert [(type(event), event.start) for event in events if isinstance(event, Frame | Gap)] == [
        (Gap, 0),
        (Frame, 50 * 160),
    ]


def test_a_track_that_opens_while_others_are_muted_is_heard() -> None:
    session = live()
    session.withhold(("inbound",), 0.5)
    events = session.receive([media(51, track="third")], 1.0)
    assert [(e.track, e.start) for e in events if isinstance(e, Frame)] == [("third", 50 * 160)]
    session.withhold(("inbound", "fourth"), 1.1)
    assert session.receive([media(60, track="fourth", payload=SECRET)], 1.2) == []


def test_a_track_that_opens_after_a_pause_of_the_stream_is_not_heard_in_it_either() -> None:
    session = live()
    session.withhold(None, 0.03)
    session.withhold((), 1.03)
    events = session.receive([media(60, track="third")], 1.2)
    told = [(type(event), event.start) for event in events if isinstance(event, Frame | Gap)]
    assert told == [(Gap, 0), (Frame, 59 * 160)]
    assert [event.cause for event in events if isinstance(event, Gap)] == [Cause.PAUSED]
    assert session.receive([media(30, track="third", payload=SECRET)], 1.3) == []
    _, ended = the_end(session, 2.0)
    assert ended.ignored["paused"] == 1 and ended.tracks["third"].received == 1


def test_after_the_end_there_is_nothing_to_withhold() -> None:
    session = live()
    session.close(EndReason.CLOSE, 1.0)
    assert session.withhold(None, 2.0) == []


def test_what_waits_too_long_is_placed_before_it_is_withheld() -> None:
    session = live()
    session.receive([media(1), media(3)], 0.1)
    events = session.withhold(None, 5.0)
    assert [(type(event), event.start) for event in events if isinstance(event, Frame | Gap)] == [
        (Gap, 160),
        (Frame, 320),
    ]


@pytest.mark.parametrize("noise", ["not json", b"\x00", "x" * 70_000], ids=["text", "binary", "oversized"])
def test_withheld_noise_is_skipped_without_a_verdict(noise: str | bytes) -> None:
    session = live()
    session.withhold(None, 0.1)
    session.receive([noise] * 60, 0.2)
    assert session.error is None
    assert the_end(session, 1.0)[1].ignored == {"paused": 60}


# What is kept of pressed keys, without any pause.


def test_keys_are_masked_in_what_is_kept_and_not_in_the_events() -> None:
    session = live()
    events = session.receive([digit("7", duration=250, track="inbound_track", pressed="7"), media(1)], 0.02)
    assert [(e.digit, e.duration_ms, e.track) for e in events if isinstance(e, Digit)] == [("7", 250, "inbound")]
    assert session.kept is not None
    masked = json.loads(str(session.kept[0]))
    assert masked == {
        "event": "dtmf",
        "sequenceNumber": "7",
        "dtmf": {"track": "inbound_track", "duration": 250, "digit": MASKED},
    }
    assert session.kept[1] == media(1)


def test_a_masked_key_is_read_as_one() -> None:
    session = live()
    session.receive([digit("7", duration="250.0")], 0.02)
    assert session.kept is not None
    (again,) = live().receive_kept(list(session.kept), 0.02)
    assert isinstance(again, Digit)
    assert (again.digit, again.duration_ms) == (MASKED, 250)


@pytest.mark.parametrize(
    "data",
    [
        digit("seven"),
        '{"event":"dtmf","dtmf":{"digit":"7"',
        b'{"event":"dtmf","dtmf":{"digit":"7"}}',
        '{"event":"DTMF_END","key":"7"}',
        '{"event":"pressed","Digits":"7"}',
        '{"event":"dtmf","dtmf":{"digit":"7","pad":"' + "x" * 70_000 + '"}}',
    ],
    ids=["odd", "cut", "binary", "unknown", "digits", "oversized"],
)
def test_what_may_tell_a_key_is_masked_as_a_whole_and_counted_as_it_was(data: str | bytes) -> None:
    session = live()
    session.receive([data], 0.02)
    assert session.kept is not None
    (kept,) = session.kept
    assert isinstance(kept, type(data))
    assert "7" not in str(kept)
    again = live()
    again.receive_kept([kept], 0.02)
    assert the_end(again, 1.0)[1].ignored == the_end(session, 1.0)[1].ignored


@pytest.mark.parametrize("data", [digit("7", duration=250), "dtmf 7", b"dtmf 7", '{"event":"dtmf7"}'])
def test_with_digits_kept_everything_is_verbatim(data: str | bytes) -> None:
    session = live(mask_digits=False)
    session.receive([data], 0.02)
    assert session.kept == [data]


def test_nothing_is_kept_unless_somebody_asked_for_it_nor_after_the_end() -> None:
    session = Session(at=0.0)
    session.receive([CONNECTED, START, media(1), digit("1")], 0.0)
    assert session.kept is None
    session.kept = []
    session.receive([STOP, media(2)], 0.1)
    assert session.kept == [STOP]


def test_a_message_that_ends_the_stream_is_kept() -> None:
    session = live(bad_messages=2)
    session.receive(["a", "b", "c", "d"], 0.1)
    assert session.error is not None
    assert session.kept == ["a", "b", "c"]


def test_a_message_that_our_own_reader_fails_on_is_kept_for_whoever_looks_into_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = live()

    def fail(data: str | bytes) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(session._dialect, "parse", fail)
    with pytest.raises(ZeroDivisionError):
        session.receive(["a", "b"], 0.1)
    assert session.kept == ["a"]
