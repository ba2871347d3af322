"""A track that nobody is to hear for a while: the span is a gap, and everything around it stays where it was."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from receiver.audio import AudioFormat, Encoding
from receiver.dialects.messages import Media
from receiver.events import Event, Frame, Gap
from receiver.media.decoding import decoder_for
from receiver.media.timeline import Timeline
from receiver.media.track import BELATED_S, Track

RATE = 8000
PACKET = 160


def new_track(**options: bool) -> Track:
    decoder = decoder_for(AudioFormat(Encoding.L16, RATE), l16_byte_order="little")
    return Track("inbound", decoder, Timeline(0.0), **options)


def packet(number: int, stamp: int | None = None, *, chunk: int | None = 0) -> Media:
    stamp = (number - 1) * 20 if stamp is None else stamp
    return Media("inbound", np.full(PACKET, number, "<i2").tobytes(), number if chunk == 0 else chunk, stamp)


def play(track: Track, packets: Iterable[Media], at: float) -> list[Event]:
    for media in packets:
        track.push(media, at)
    return track.drain()


def spans(events: list[Event]) -> list[tuple[float, float, str | list[int]]]:
    """Where what lies, in packets: the numbers of packets, or why there are none."""
    found: list[tuple[float, float, str | list[int]]] = []
    for event in events:
        if isinstance(event, Gap):
            found.append((event.start / PACKET, event.end / PACKET, event.cause.value))
        if isinstance(event, Frame):
            found.append((event.start / PACKET, event.end / PACKET, event.samples[::PACKET].tolist()))
    return found


def test_the_gap_is_what_the_peers_clock_says() -> None:
    track = new_track()
    events = play(track, [packet(1), packet(2)], 0.04)
    track.pause(0.05)
    track.resume(1.0)
    events += play(track, [packet(51), packet(52)], 1.04)
    assert spans(events) == [(0, 2, [1, 2]), (2, 50, "paused"), (50, 52, [51, 52])]
    assert track.counters().gaps == {"paused": 48 * PACKET}


def test_a_counter_accuses_nobody_of_what_was_withheld() -> None:
    track = new_track()
    play(track, [packet(1)], 0.02)
    track.pause(0.03)
    track.resume(10.0)
    events = play(track, [packet(501), packet(502)], 10.04)
    track.finish(11.0)
    assert spans(events + track.drain()) == [(1, 500, "paused"), (500, 502, [501, 502])]
    counters = track.counters()
    assert (counters.received, counters.placed, counters.late, counters.duplicate) == (3, 3, 0, 0)


def test_what_waits_when_it_is_paused_was_heard_and_is_placed() -> None:
    track = new_track()
    events = play(track, [packet(1), packet(3)], 0.06)
    track.pause(0.07)
    events += track.drain()
    track.resume(1.0)
    events += play(track, [packet(51)], 1.02)
    assert spans(events) == [(0, 1, [1]), (1, 2, "lost"), (2, 3, [3]), (3, 50, "paused"), (50, 51, [51])]


def test_what_was_owed_when_it_is_paused_keeps_its_cause() -> None:
    track = new_track()
    events = play(track, [packet(1), Media("inbound", None, 2, 20)], 0.04)
    track.pause(0.05)
    track.resume(1.0)
    events += track.drain() + play(track, [packet(51)], 1.02)
    assert spans(events) == [(0, 1, [1]), (1, 2, "rejected"), (2, 50, "paused"), (50, 51, [51])]


def test_one_that_ends_paused_is_as_long_as_our_clock_says() -> None:
    track = new_track()
    events = play(track, [packet(1)], 0.02)
    track.pause(0.02)
    track.finish(1.02)
    assert spans(events + track.drain()) == [(0, 1, [1]), (1, 51, "paused")]


def test_so_is_one_that_was_resumed_and_said_nothing_more() -> None:
    track = new_track()
    events = play(track, [packet(1)], 0.02)
    track.pause(0.02)
    track.resume(1.02)
    track.finish(5.0)
    assert spans(events + track.drain()) == [(0, 1, [1]), (1, 51, "paused")]


def test_pauses_without_audio_between_them_are_one() -> None:
    track = new_track()
    events = play(track, [packet(1)], 0.02)
    for at in (0.02, 1.02):
        track.pause(at)
        track.pause(at + 0.1)  # asked for twice
        track.resume(at + 0.5)
        track.resume(at + 0.6)
    events += play(track, [packet(101)], 2.04)
    assert spans(events) == [(0, 1, [1]), (1, 100, "paused"), (100, 101, [101])]


def test_a_packet_without_a_stamp_goes_where_our_clock_puts_it() -> None:
    track = new_track()
    events = play(track, [packet(1)], 0.02)
    track.pause(0.02)
    track.resume(1.02)
    events += play(track, [Media("inbound", packet(7).payload, 51, None)], 1.04)
    assert spans(events) == [(0, 1, [1]), (1, 51, "paused"), (51, 52, [7])]


@pytest.mark.parametrize("counters", [True, False])
def test_a_peer_whose_clock_stood_still_goes_on_behind_what_was_heard(counters: bool) -> None:
    track = new_track(counters=counters)
    events = play(track, [packet(1)], 0.02)
    track.pause(0.02)
    track.resume(10.0)
    assert not track.belated(20, 10.0 + BELATED_S)
    events += play(track, [packet(2)], 10.0 + BELATED_S)
    assert spans(events) == [(0, 1, [1]), (1, 2, [2])]


def test_a_packet_sent_during_the_pause_is_belated_and_one_sent_after_it_is_not() -> None:
    track = new_track()
    play(track, [packet(1)], 0.02)
    assert not track.belated(20, 0.03)
    track.pause(0.02)
    track.resume(1.02)
    assert track.belated(20, 1.03)
    assert track.belated(900, 1.03)
    assert not track.belated(1020, 1.03)
    assert not track.belated(1000, 1.03)  # within the jitter
    assert not track.belated(None, 1.03)
    assert not track.belated(900, 1.02 + BELATED_S)
    play(track, [packet(52)], 1.04)
    assert not track.belated(1040, 1.05)


def test_a_track_that_opens_on_a_stream_that_was_paused_has_nothing_before_its_first_packet() -> None:
    track = new_track()
    track.join()
    assert spans(play(track, [packet(51)], 1.02)) == [(0, 50, "paused"), (50, 51, [51])]


def test_a_track_without_audio_before_the_pause_is_paused_from_its_beginning() -> None:
    track = new_track()
    track.pause(0.5)
    track.resume(1.0)
    assert spans(play(track, [packet(51)], 1.02)) == [(0, 50, "paused"), (50, 51, [51])]


def test_nothing_waits_past_its_deadline() -> None:
    track = new_track()
    assert track.deadline is None
    play(track, [packet(1), packet(3)], 0.5)
    assert track.deadline == 1.5
    track.tick(1.49)
    assert track.drain() == []
    track.tick(9.0)
    assert track.deadline is None
    assert spans(track.drain()) == [(1, 2, "lost"), (2, 3, [3])]
