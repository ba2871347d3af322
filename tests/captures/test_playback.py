"""Played back, a stream is what it was live, whenever somebody looked at it then."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.audio import AudioFormat, Encoding
from receiver.captures.capture import VERSION, Batch, CaptureError, End, Entry, Header, Pause
from receiver.captures.playback import Playback, settings_of
from receiver.captures.reader import CaptureReader
from receiver.events import MASKED, Cause, Digit, Ended, EndReason, Event, Frame, Gap
from receiver.media.g711 import G711
from receiver.sessions.session import Session
from receiver.sessions.settings import SessionSettings

TextOf = Callable[..., bytes]


SECRET = b"\x5a\xa5"
SECRET_TEXTS = ("secret", "WqVapVqlWqVa", "pVqlWqVapVql", "WqVapVqlWqVa")
SECRET_SAMPLES = G711(AudioFormat(Encoding.PCMU, 8000)).decode([SECRET * 4]).tobytes()


class Live:
    """A connection without a socket: a session, and a capture of what it keeps."""

    def __init__(self, options: SessionSettings) -> None:
        self.session = Session(at=0.0, settings=options)
        self.session.kept = []
        self.entries: list[Entry] = []
        self.events: list[Event] = []

    def receive(self, batch: list[str | bytes], at: float) -> None:
        self.events += self.session.receive(batch, at)
        if self.session.kept:
            self.entries.append(Batch(at, list(self.session.kept)))
            self.session.kept.clear()
        self.note_end(at)

    def tick(self, at: float) -> None:
        self.events += self.session.tick(at)
        self.note_end(at)

    def withhold(self, tracks: tuple[str, ...] | None, at: float) -> None:
        self.events += self.session.withhold(tracks, at)
        if self.session.reason is None:
            self.entries.append(Pause(at, tracks))
        self.note_end(at)

    def end(self, reason: EndReason, at: float) -> None:
        self.events += self.session.close(reason, at)
        self.note_end(at)

    def note_end(self, at: float) -> None:
        if self.session.reason is None or (self.entries and isinstance(self.entries[-1], End)):
            return
        error = self.session.error
        code, text = (1000, "") if error is None else (error.code, error.reason)
        self.entries.append(End(at, self.session.reason, code, text))


class Peer:
    """Says what a script says: each step says what is wrong with the next message, if anything is."""

    def __init__(self, words: Any, packet_ms: int) -> None:
        self.words = words
        self.packet_ms = packet_ms
        self.number = {"inbound": 0, "outbound": 0, "third": 0}
        self.offset_ms = 0
        self.secret = False
        """Whether nobody is to know what is said now."""

    def say(self, what: str, amount: int, track: str) -> list[str | bytes]:
        words = self.words
        match what:
            case "packets":
                return [self.packet(track) for _ in range(amount)]
            case "lost":
                self.number[track] += amount
                return []
            case "swapped":
                first, second = self.packet(track), self.packet(track)
                return [second, first]
            case "repeated":
                packet = self.packet(track)
                return [packet, packet]
            case "late":
                return [words.media(max(1, self.number[track] - amount), track=track)]
            case "silence":
                self.offset_ms += amount * 100
                return []
            case "restart":
                self.number[track] = 0
                return [self.packet(track)]
            case "jump":
                self.offset_ms += amount * 10_000
                return [self.packet(track)]
            case "back":
                self.offset_ms -= amount * 100
                return [self.packet(track)]
            case "unstamped":
                return [self.packet(track, timestamp=None)]
            case "uncounted":
                return [self.packet(track, chunk=None)]
            case "undecodable":
                return [self.packet(track, payload="***")]
            case "odd":
                return [self.packet(track, payload=b"\x00" * (amount * 100))]
            case "digit":
                return [words.digit("0123456789*#ABCD"[amount % 16], **({} if amount % 2 else {"track": track}))]
            case "mark":
                return [words.mark("secret" if self.secret else f"mark {amount}")]
            case "unknown":
                said = "secret" if self.secret else "weather"
                return [f'{{"event":"{said}"}}', '{"event":"dtmf_end","dtmf":{"digit":"7"}}']
            case "unreadable":
                return [
                    "secret" if self.secret else "not json",
                    '{"event":"dtmf","dtmf":{"digit":"five"}}',
                    "x" * 5000,
                ] * (amount % 3)
            case "binary":
                return [b"\x00\xff", b'{"dtmf":1}']
            case "connected":
                return [words.connected]
            case "second start":
                return [words.start()] if amount % 4 else [words.start(streamSid="another")]
        assert what == "stop"
        return [words.stop]

    def packet(self, track: str, **fields: Any) -> str:
        self.number[track] += 1
        number = self.number[track]
        stamp = max(0, (number - 1) * self.packet_ms + self.offset_ms)
        payload = SECRET * 4 * self.packet_ms if self.secret else bytes([number % 256]) * 8 * self.packet_ms
        natural = {"timestamp": str(stamp), "payload": payload}
        text: str = self.words.media(number, track=track, **(natural | fields))
        return text


COMMON = ["packets"] * 6 + ["lost", "swapped", "repeated", "late", "silence", "restart", "jump", "back"]
ODD = ["unstamped", "uncounted", "undecodable", "odd", "digit", "mark", "unknown", "unreadable", "binary", "connected"]
saying = st.tuples(
    st.sampled_from([*COMMON, *ODD, "second start", "stop"]),
    st.integers(0, 40),
    st.sampled_from(["inbound", "inbound", "outbound", "third"]),
)
TIMES = st.integers(0, 200_000) | st.integers(0, 3_000_000)  # microseconds
step = st.one_of(
    st.tuples(st.just("batch"), TIMES, st.lists(saying, max_size=5)),
    st.tuples(st.just("batch"), TIMES, st.lists(saying, max_size=5)),
    st.tuples(st.just("tick"), TIMES, st.none()),
    st.tuples(st.just("withhold"), TIMES, st.sampled_from([(), None, ("inbound",), ("outbound", "third")])),
)
options = st.builds(
    SessionSettings,
    counters=st.booleans(),
    own_zero=st.booleans(),
    message_bytes=st.just(4096),
    tracks=st.sampled_from([2, 8]),
    burst_s=st.sampled_from([0.0, 0.3, 2.0, 30.0]),
    bad_messages=st.sampled_from([3, 50]),
    mask_digits=st.booleans(),
    idle_timeout_s=st.sampled_from([5.0, 3600.0]),
)
lengths = st.sampled_from([20, 20, 100])  # ms of audio per packet
ENDS = [reason for reason in EndReason if reason not in (EndReason.CRASH, EndReason.START_TIMEOUT, EndReason.ERROR)]


def perform(
    words: Any, chosen: SessionSettings, script: list[tuple[str, int, Any]], end: EndReason, packet_ms: int
) -> Live:
    live, peer, now = Live(chosen), Peer(words, packet_ms), 0
    announced = ["inbound", "outbound"]
    live.receive([words.connected, words.start(tracks=announced)], 0.0)
    for kind, wait, what in script:
        now += wait
        at = round(now / 1e6, 6)
        if kind == "batch":
            live.receive([data for saying in what for data in peer.say(*saying)], at)
        elif kind == "withhold":
            live.withhold(what, at)
            peer.secret = what is None
        else:
            live.tick(at)
    live.end(end, round((now + 500_000) / 1e6, 6))
    return live


def played(text: bytes) -> tuple[list[Event], Session]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "capture.jsonl"
        path.write_bytes(text)
        with CaptureReader(path) as reader:
            playback = Playback(reader)
            return [event for events in playback for event in events], playback.session


def masked(events: list[Event]) -> list[Event]:
    return [msgspec.structs.replace(event, digit=MASKED) if isinstance(event, Digit) else event for event in events]


@settings(deadline=None)
@given(chosen=options, script=st.lists(step, max_size=25), end=st.sampled_from(ENDS), packet_ms=lengths)
def test_played_back_a_stream_is_what_it_was_live_however_often_it_was_looked_at(
    words: Any,
    text_of: TextOf,
    expect: ModuleType,
    chosen: SessionSettings,
    script: list[Any],
    end: EndReason,
    packet_ms: int,
) -> None:
    live = perform(words, chosen, script, end, packet_ms)
    header = Header(version=VERSION, settings=msgspec.to_builtins(chosen))
    events, session = played(text_of(live.entries, header))
    expected = masked(live.events) if chosen.mask_digits else live.events
    assert expect.summary(events) == expect.summary(expected)
    assert session.ended == live.session.ended


@settings(deadline=None)
@given(chosen=options, script=st.lists(step, max_size=25), end=st.sampled_from(ENDS), packet_ms=lengths)
def test_with_pauses_as_well_tracks_tile_and_every_message_is_accounted_for(
    words: Any, chosen: SessionSettings, script: list[Any], end: EndReason, packet_ms: int
) -> None:
    live = perform(words, chosen, script, end, packet_ms)
    ended = live.events[-1]
    assert isinstance(ended, Ended)
    for name, counters in ended.tracks.items():
        cursor = samples = 0
        gaps: dict[str, int] = {}
        for event in live.events:
            if isinstance(event, Frame | Gap) and event.track == name:
                assert event.start == cursor < event.end
                cursor = event.end
                if isinstance(event, Gap):
                    gaps[event.cause] = gaps.get(event.cause, 0) + event.end - event.start
                else:
                    samples += len(event.samples)
        assert counters.length == cursor
        assert (counters.samples, counters.gaps) == (samples, gaps)
        assert counters.received == counters.placed + counters.duplicate + counters.late + counters.rejected
        assert set(gaps) <= {Cause.LOST, Cause.UNSENT, Cause.REJECTED, Cause.PAUSED}


@settings(deadline=None)
@given(chosen=options, script=st.lists(step, max_size=25), packet_ms=lengths)
def test_nothing_that_was_said_while_it_was_paused_is_kept_or_told(
    words: Any, chosen: SessionSettings, script: list[Any], packet_ms: int
) -> None:
    live = perform(words, chosen, [*script, ("tick", 2_000_000, None)], EndReason.CLOSE, packet_ms)
    for entry in live.entries:
        for data in entry.data if isinstance(entry, Batch) else ():
            assert not any(secret in str(data) for secret in SECRET_TEXTS)
    for event in live.events:
        if isinstance(event, Frame):
            assert SECRET_SAMPLES not in event.samples.tobytes()
        assert "secret" not in str(event)


def test_a_packet_that_waits_is_placed_when_its_time_is_up_and_not_when_somebody_looks(
    words: Any, text_of: TextOf, expect: ModuleType
) -> None:
    """Live the flood shows at a tick; played back nothing happens until the next message."""
    chosen, tenth = SessionSettings(burst_s=0.5), bytes(800)
    live = Live(chosen)
    live.receive([words.connected, words.start()], 0.0)
    waiting = [words.media(n, payload=tenth, timestamp=str((n - 1) * 100)) for n in range(1, 30) if n != 2]
    live.receive(waiting, 0.01)
    live.tick(1.05)
    live.receive([words.media(30, payload=tenth, timestamp="2900")], 4.0)
    live.end(EndReason.CLOSE, 5.0)
    assert live.session.reason is EndReason.ERROR
    without_ticks = Session(at=0.0, settings=chosen)
    for entry in live.entries:
        if isinstance(entry, Batch):
            without_ticks.receive_kept(entry.data, entry.at)
    without_ticks.receive([words.media(30, payload=tenth, timestamp="2900")], 4.0)
    assert without_ticks.ended == live.session.ended
    events, session = played(text_of(live.entries, Header(version=VERSION, settings={"burst_s": 0.5})))
    assert expect.summary(events) == expect.summary(live.events)
    assert session.ended == live.session.ended


def test_without_a_last_line_a_stream_ended_by_a_crash(words: Any, text_of: TextOf) -> None:
    entries = [Batch(0.0, [words.connected, words.start()]), Batch(0.06, [words.media(1), words.media(3)])]
    events, session = played(text_of(entries))
    assert session.reason is EndReason.CRASH
    assert isinstance(events[-1], Ended)
    assert [(e.start, e.end) for e in events if isinstance(e, Frame | Gap)] == [(0, 160), (160, 320), (320, 480)]


def test_without_a_start_there_is_nothing(words: Any, text_of: TextOf) -> None:
    events, session = played(text_of([Batch(0.0, [words.connected])]))
    assert (events, session.started) == ([], None)


def test_times_that_go_backwards_stand_still(words: Any, text_of: TextOf) -> None:
    entries = [Batch(5.0, [words.connected, words.start()]), Batch(1.0, [words.media(1)]), End(0.5, EndReason.CLOSE)]
    events, _ = played(text_of(entries))
    assert [type(event).__name__ for event in events] == ["Started", "Frame", "Ended"]


def test_what_a_mistake_of_ours_ended_is_not_the_peers_fault(words: Any, text_of: TextOf) -> None:
    said = Batch(0.0, [words.connected, words.start()])
    (*_, ours), _ = played(text_of([said, End(1.0, EndReason.ERROR, 1011, "internal error")]))
    (*_, theirs), _ = played(text_of([said, End(1.0, EndReason.ERROR, 1008, "too much")]))
    assert isinstance(ours, Ended)
    assert isinstance(theirs, Ended)
    assert (ours.reason, ours.error, ours.close_code) == (EndReason.ERROR, None, None)
    assert (theirs.error, theirs.close_code) == ("too much", 1008)


def test_it_is_read_with_the_settings_of_its_header_or_with_others(
    tmp_path: Path, words: Any, text_of: TextOf, expect: ModuleType
) -> None:
    entries = [Batch(0.0, [words.connected, words.start(encoding="x/mine"), words.media(1)])]
    path = tmp_path / "a.jsonl"
    path.write_bytes(text_of(entries, Header(version=VERSION, settings={"encodings": {"x/mine": "PCMA"}})))
    with CaptureReader(path) as reader:
        assert settings_of(reader).encodings == {"x/mine": "PCMA"}
        as_it_was = [event for events in Playback(reader) for event in events]
    with CaptureReader(path) as reader:
        other = SessionSettings(encodings={"x/mine": "PCMU"})
        otherwise = [event for events in Playback(reader, other) for event in events]
    assert expect.summary(as_it_was)["started"]["format"]["encoding"] == "PCMA"
    assert expect.summary(otherwise)["started"]["format"]["encoding"] == "PCMU"


@pytest.mark.parametrize(
    "wrong",
    [
        {"dialect": "klingon"},
        {"burst_s": "much"},
        {"burst_s": 1e308},
        {"start_timeout_s": -1},
        {"bad_messages": -5},
        {"tracks": 10**18},
    ],
)
def test_settings_that_there_are_not_are_named(tmp_path: Path, wrong: dict[str, Any]) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"version": 1, "settings": wrong}) + "\n")
    with CaptureReader(path) as reader, pytest.raises(CaptureError, match=r"a\.jsonl: the header's settings"):
        Playback(reader)
