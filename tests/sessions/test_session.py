"""One stream from start to end: what is legal, what is forgiven, and with which code the rest is refused."""

import base64
import json
from collections.abc import Iterable
from typing import Any

import pytest

from receiver.errors import LimitExceeded
from receiver.events import Digit, Ended, EndReason, Event, Frame, Gap, Marked, Started
from receiver.sessions.session import Session
from receiver.sessions.settings import SessionSettings

IDS = {"streamSid": "7d56cc11-536d-4a45-b4fb-ed3d55be843b", "callSid": "76ac3c36-56da-4a3e-a0d6-b5f8df6da9ad"}
CONNECTED = json.dumps({"event": "connected", "protocol": "Call", "version": "0.2.0"})
STOP = json.dumps({"event": "stop", "sequenceNumber": "999"})


def start(**changes: Any) -> str:
    body = {
        **IDS,
        "accountSid": "b08dacad",
        "tracks": ["inbound"],
        "customParameters": {},
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        **changes,
    }
    return json.dumps({"event": "start", "sequenceNumber": "1", "start": body})


def media(number: int, *, payload: bytes = b"\xff" * 160, track: str = "inbound", **fields: Any) -> str:
    body = {
        "track": track,
        "chunk": str(number),
        "timestamp": str((number - 1) * 20),
        "payload": base64.b64encode(payload).decode(),
        **fields,
    }
    return json.dumps({"event": "media", "sequenceNumber": str(number + 1), "media": body})


def live(**settings: Any) -> Session:
    session = Session(at=0.0, settings=SessionSettings(**settings))
    (event,) = session.receive([CONNECTED, start()], 0.0)
    assert isinstance(event, Started)
    return session


def refusal(session: Session) -> tuple[int, str]:
    assert session.error is not None
    return session.error.code, session.error.reason


def the_end(events: Iterable[Event]) -> Ended:
    (ended,) = (event for event in events if isinstance(event, Ended))
    return ended


def test_every_message_is_of_one_kind() -> None:
    session = live(tracks=1)
    said = [media(1), media(1, track="outbound"), "nothing", b"", "x" * 70_000, start(), media(2), STOP, media(3)]
    session.receive(said, 0.1)
    kinds = {"connected": 1, "start": 2, "media": 3, "unreadable": 3, "stop": 1, "ignored": 1}
    assert session.kinds == kinds and session.kinds.total() == len(said) + 2
    assert session.ended is not None
    assert session.ended.ignored == {"unreadable": 2, "binary": 1, "oversized": 1, "second_start": 1}


def test_a_whole_stream() -> None:
    session = Session(at=0.0)
    events = session.receive([CONNECTED, start(), media(1), media(2), STOP], 0.0)
    started, frame, ended = events
    assert isinstance(started, Started)
    assert (started.dialect, started.stream_id, started.parameters) == ("signalwire", IDS["streamSid"], {})
    assert isinstance(frame, Frame)
    assert (frame.start, frame.end) == (0, 320)
    assert isinstance(ended, Ended)
    assert (ended.reason, ended.stop_received) == (EndReason.STOP, True)
    assert ended.tracks["inbound"].received == ended.tracks["inbound"].placed == 2
    assert ended.ignored == {}
    assert session.error is None
    assert session.kinds == {"connected": 1, "start": 1, "media": 2, "stop": 1}


def test_the_end_comes_once() -> None:
    session = live()
    assert the_end(session.close(EndReason.FIN, 1.0)).stop_received is False
    assert session.close(EndReason.RESET, 2.0) == []
    assert session.receive([media(1)], 3.0) == []
    assert session.tick(9_999.0) == []
    assert session.reason is EndReason.FIN


def test_a_connection_without_a_stream_has_no_last_event() -> None:
    session = Session(at=0.0)
    assert session.close(EndReason.CLOSE, 1.0) == []
    assert session.reason is EndReason.CLOSE
    assert session.ended is None


def test_media_after_stop_is_ignored() -> None:
    session = live()
    session.receive([media(1), STOP], 0.0)
    assert session.receive([media(2), STOP], 0.1) == []
    assert session.error is None


def test_a_stop_before_the_start_is_out_of_order() -> None:
    session = Session(at=0.0)
    session.receive([CONNECTED, STOP], 0.0)
    assert refusal(session)[0] == 1008


def test_no_start_in_time() -> None:
    session = Session(at=5.0, settings=SessionSettings(start_timeout_s=10))
    session.receive([CONNECTED], 5.0)
    assert session.tick(14.9) == []
    assert session.error is None
    assert session.tick(15.0) == []
    assert refusal(session)[0] == 4408
    assert session.reason is EndReason.START_TIMEOUT


def test_the_clock_may_begin_with_the_first_call() -> None:
    session = Session()
    session.tick(1_000.0)
    assert session.error is None
    late = Session()
    late.receive([CONNECTED], 1_000.0)
    assert late.tick(1_009.0) == []
    assert late.error is None


def test_a_stream_without_media_is_idle_in_the_end() -> None:
    session = live(idle_timeout_s=60)
    session.receive([media(1)], 30.0)
    session.receive([json.dumps({"event": "mark", "mark": {"name": "alive"}})], 80.0)
    assert session.tick(89.0) == []
    assert the_end(session.tick(90.0)).reason is EndReason.IDLE
    endless = live(idle_timeout_s=0)
    assert endless.tick(10_000_000.0) == []


def test_media_before_start_is_forgiven_a_few_times_after_a_greeting() -> None:
    session = Session(at=0.0)
    session.receive([CONNECTED, *[media(n) for n in range(1, 6)]], 0.0)
    assert session.error is None
    session.receive([media(6)], 0.0)
    assert refusal(session) == (1008, "media before start")
    stranger = Session(at=0.0)
    stranger.receive([media(1)], 0.0)
    assert refusal(stranger) == (1008, "media before start")


def test_small_disorder_is_counted_and_forgiven() -> None:
    session = Session(at=0.0)
    mark = json.dumps({"event": "mark", "mark": {"name": "m"}})
    digit = json.dumps({"event": "dtmf", "dtmf": {"digit": "1"}})
    unknown = json.dumps({"event": "weather"})
    session.receive([mark, digit, start(), CONNECTED, CONNECTED, start(), unknown], 0.0)
    assert session.error is None
    assert the_end(session.close(EndReason.CLOSE, 1.0)).ignored == {
        "early_mark": 1,
        "early_dtmf": 1,
        "start_before_connected": 1,
        "second_connected": 1,
        "second_start": 1,
        "unknown_event": 1,
    }


def test_a_second_start_with_other_ids_ends_the_stream() -> None:
    session = live()
    events = session.receive([media(1), start(streamSid="another")], 0.0)
    assert refusal(session)[0] == 1008
    assert isinstance(events[0], Frame)
    ended = the_end(events)
    assert (ended.reason, ended.close_code) == (EndReason.ERROR, 1008)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"mediaFormat": {"encoding": "audio/x-unheard-of"}}, 4415),
        ({"mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 12345}}, 4415),
        ({"mediaFormat": {"encoding": "audio/x-mulaw", "channels": 9}}, 4415),
        ({"mediaFormat": None}, 4400),
        ({"streamSid": None}, 4400),
        ({"callSid": "../../etc"}, 4400),
        ({"customParameters": [1]}, 4400),
    ],
)
def test_a_start_that_cannot_be_used_is_refused(changes: dict[str, Any], code: int) -> None:
    session = Session(at=0.0)
    assert session.receive([CONNECTED, start(**changes)], 0.0) == []
    assert refusal(session)[0] == code
    assert session.reason is EndReason.ERROR


@pytest.mark.parametrize(("data", "code"), [(b"\x00", 1003), ("not json", 1007), ("[]", 1007), ('{"event": 1}', 1007)])
def test_before_the_start_whatever_cannot_be_read_ends_it(data: str | bytes, code: int) -> None:
    session = Session(at=0.0)
    session.receive([CONNECTED, data], 0.0)
    assert refusal(session)[0] == code


@pytest.mark.parametrize(
    "bad", ["not json", "[]", "[" * 60_000, '{"event":"media"}', media(1, track="a/b"), "\ufeff{}"]
)
def test_after_the_start_a_bad_message_costs_itself_alone(bad: str) -> None:
    session = live()
    events = session.receive([media(1), *[bad] * 50, media(2)], 0.0)
    assert session.error is None
    assert [event.end for event in events if isinstance(event, Frame)] == [320]
    assert the_end(session.close(EndReason.CLOSE, 1.0)).ignored["unreadable"] == 50


def test_but_not_without_end() -> None:
    session = live()
    events = session.receive([media(1), *["not json"] * 51, media(2)], 0.0)
    assert refusal(session) == (1008, "more than 50 bad messages in 10 s")
    assert the_end(events).tracks["inbound"].received == 1


def test_bad_messages_far_apart_are_forgiven_for_ever() -> None:
    session = live(burst_s=0)
    for second in range(1_000):
        session.receive(["not json"] * 4, float(second))
    assert session.error is None


def test_binary_messages_are_forgiven_ten_times() -> None:
    session = live()
    session.receive([b"\x00"] * 10, 0.0)
    assert session.error is None
    session.receive([b"\x00"], 0.0)
    assert refusal(session)[0] == 1003


def test_media_that_cannot_be_decoded_is_a_gap_and_counted() -> None:
    session = live()
    events = session.receive([media(1), media(2, payload=b""), media(3)], 0.0)
    assert [(type(event), event.start) for event in events if isinstance(event, Frame | Gap)] == [
        (Frame, 0),
        (Gap, 160),
        (Frame, 320),
    ]
    session.receive([media(n, payload=b"") for n in range(4, 54)], 1.0)
    assert refusal(session)[0] == 1008


def test_oversized_payloads_are_forgiven_ten_times() -> None:
    session = live()
    large = b"\xff" * 8_001
    session.receive([media(n, payload=large) for n in range(1, 11)], 0.0)
    assert session.error is None
    session.receive([media(11, payload=large)], 0.0)
    assert refusal(session)[0] == 1009


def test_an_oversized_message_is_refused_before_it_is_read() -> None:
    session = Session(at=0.0)
    session.receive([" " * 65_537], 0.0)
    assert refusal(session)[0] == 1009
    tolerant = live()
    tolerant.receive([" " * 65_537, media(1)], 0.0)
    assert tolerant.error is None


def test_more_audio_than_time_is_a_flood() -> None:
    session = live(burst_s=1)
    session.receive([media(n) for n in range(1, 51)], 0.0)
    assert session.error is None
    session.receive([media(51)], 0.0)
    assert refusal(session)[0] == 4429
    assert isinstance(session.error, LimitExceeded)


def test_a_stall_and_its_burst_are_no_flood() -> None:
    session = live(burst_s=1)
    session.receive([media(n) for n in range(1, 1_001)], 20.0)
    assert session.error is None


def test_without_a_burst_limit_a_call_may_come_at_once() -> None:
    session = live(burst_s=0)
    packets = [n for n in range(1, 15_001) if n % 100]
    events = session.receive([media(n) for n in packets], 0.0)
    assert session.error is None
    length = 0
    for event in events:
        if isinstance(event, Frame | Gap):
            length = event.end
    assert length == 14_999 * 160


def test_an_unannounced_track_opens_when_its_audio_arrives() -> None:
    session = live()
    events = session.receive([media(1, track="mixed"), media(1, track="outbound_track")], 0.0)
    assert {event.track for event in events if isinstance(event, Frame)} == {"mixed", "outbound"}
    ended = the_end(session.close(EndReason.CLOSE, 1.0))
    assert ended.ignored == {"unannounced_track": 2}
    assert set(ended.tracks) == {"inbound", "mixed", "outbound"}


def test_tracks_are_bounded() -> None:
    session = live(tracks=2)
    session.receive([media(1, track=name) for name in ("a", "b", "c")], 0.0)
    ended = the_end(session.close(EndReason.CLOSE, 1.0))
    assert set(ended.tracks) == {"inbound", "a"}
    assert ended.ignored == {"unannounced_track": 1, "unreadable": 2}


def test_digits_and_marks_stand_where_the_audio_was() -> None:
    session = live()
    digit = json.dumps({"event": "dtmf", "dtmf": {"digit": "5", "duration": 2000}})
    mark = json.dumps({"event": "mark", "mark": {"name": "here"}})
    events = session.receive([media(1), digit, media(2), mark], 0.0)
    assert [event for event in events if isinstance(event, Digit)] == [Digit("5", 160, 8000, 2000, None)]
    assert [event for event in events if isinstance(event, Marked)] == [Marked("here", 320, 8000)]


def test_waiting_packets_are_released_by_a_tick() -> None:
    session = live()
    assert len(session.receive([media(1), media(3)], 0.0)) == 1
    assert [type(event) for event in session.tick(2.0)] == [Gap, Frame]


def test_settings_reach_the_tracks() -> None:
    linear = {"encoding": "audio/x-L16", "sampleRate": 8000, "channels": 1}
    session = Session("signalwire", settings=SessionSettings(l16_byte_order="big"))
    events = session.receive([start(mediaFormat=linear), media(1, payload=b"\x01\x02" * 80)], 0.0)
    assert isinstance(events[1], Frame)
    assert events[1].samples[0] == 0x0102
    redirected = Session(settings=SessionSettings(encodings={"audio/x-own": "PCMA"}))
    (started,) = redirected.receive([start(mediaFormat={"encoding": "AUDIO/X-OWN"})], 0.0)
    assert isinstance(started, Started)
    assert started.format.encoding == "PCMA"
    uncounted = live(counters=False)
    events = uncounted.receive([media(9), media(9, timestamp="180")], 1.0)
    assert [event.end for event in events if isinstance(event, Frame)] == [10 * 160]


def test_what_one_batch_holds_changes_nothing() -> None:
    data = [CONNECTED, start(), *[media(n) for n in (1, 2, 4, 3, 3, 6)], "bad", b"bad", STOP]
    whole, single = Session(at=0.0), Session(at=0.0)
    at_once = the_end(whole.receive(data, 0.0))
    one_by_one = the_end([event for item in data for event in single.receive([item], 0.0)])
    assert at_once == one_by_one


def test_a_mistake_behind_a_message_that_was_read_is_raised_and_the_message_is_kept_once() -> None:
    class Broken(dict[str, str]):
        def items(self) -> Any:
            raise RuntimeError("a mistake of whoever made this table")

    session = Session(at=0.0, settings=SessionSettings(encodings=Broken()))
    session.kept = []
    with pytest.raises(RuntimeError, match="a mistake"):
        session.receive([CONNECTED, start(), media(1)], 0.0)
    assert session.kept == [CONNECTED, start()]
