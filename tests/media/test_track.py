"""Where audio is placed, and what a hole is called. Time is an argument, so nothing here waits."""

import random
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.audio import AudioFormat, Encoding
from receiver.dialects.messages import Media
from receiver.events import Cause, Discontinuity, Event, Frame, Gap
from receiver.media.decoding import decoder_for
from receiver.media.timeline import Timeline
from receiver.media.track import Track

RATE = 8000
PACKET = 160


def new_track(*, counters: bool = True, own_zero: bool = False, timeline: Timeline | None = None) -> Track:
    decoder = decoder_for(AudioFormat(Encoding.L16, RATE), l16_byte_order="little")
    return Track("inbound", decoder, timeline or Timeline(0.0), counters=counters, own_zero=own_zero)


def payload(number: int) -> bytes:
    """20 ms of audio in which every sample says which packet it is from."""
    return np.full(PACKET, number, "<i2").tobytes()


def packet(number: int, stamp: int | None = None, *, chunk: int | None = 0) -> Media:
    """The packet with this number, from 1, at its natural place unless another stamp is given."""
    stamp = (number - 1) * 20 if stamp is None else stamp
    return Media("inbound", payload(number), number if chunk == 0 else chunk, stamp)


def play(track: Track, packets: Iterable[Media], at: float = 0.0) -> list[Event]:
    for media in packets:
        track.push(media, at)
    return track.drain()


def finish(track: Track, at: float = 0.0) -> list[Event]:
    track.finish(at)
    return track.drain()


def check_tiles(events: list[Event]) -> int:
    """Frames and gaps follow one another from 0 without a seam; the answer is where they end."""
    cursor = 0
    for event in events:
        if isinstance(event, Frame | Gap):
            assert event.start == cursor
            assert event.end > event.start
            cursor = event.end
    return cursor


def heard(events: list[Event]) -> list[tuple[int, int]]:
    """(packet number, position in packets) of all audio, told from the samples themselves."""
    found = []
    for event in events:
        if isinstance(event, Frame):
            for offset in range(0, len(event.samples), PACKET):
                part = event.samples[offset : offset + PACKET]
                assert (part == part[0]).all()
                found.append((int(part[0]), (event.start + offset) / PACKET))
    return found


def gaps(events: list[Event]) -> list[tuple[int, int, str]]:
    return [(event.start, event.end, event.cause.value) for event in events if isinstance(event, Gap)]


def test_packets_in_order_are_one_frame() -> None:
    track = new_track()
    (frame,) = play(track, [packet(n) for n in range(1, 6)])
    assert isinstance(frame, Frame)
    assert (frame.start, frame.end, frame.rate) == (0, 5 * PACKET, RATE)
    assert not frame.samples.flags.writeable
    assert heard([frame]) == [(n, n - 1) for n in range(1, 6)]


def test_the_way_of_most_packets_and_the_careful_way_agree() -> None:
    quick, careful = new_track(), new_track()
    packets = [packet(n) for n in range(1, 50)]
    events = play(quick, packets)
    for media in packets:
        careful._sort(media, 0.0)
    assert heard(events) == heard(careful.drain())


def test_jittered_stamps_move_nothing() -> None:
    stamps = [5, 27, 40, 71, 79, 105]
    track = new_track()
    events = play(track, [packet(n, stamp) for n, stamp in enumerate(stamps, 1)])
    assert gaps(events) == []
    assert heard(events) == [(n, n - 1) for n in range(1, 7)]


@pytest.mark.parametrize("jitter", [35, 39])
def test_jitter_below_the_limit_in_either_direction_moves_nothing(jitter: int) -> None:
    chance = random.Random(jitter)
    track = new_track()
    stamps = [0, *((n - 1) * 20 + chance.randint(-jitter, jitter) for n in range(2, 400))]
    events = play(track, [packet(n, max(0, stamp)) for n, stamp in enumerate(stamps, 1)])
    assert gaps(events) == []
    assert check_tiles(events) == 399 * PACKET
    assert track.counters().discontinuities == 0


def test_what_lies_before_the_first_frame_is_unsent() -> None:
    events = play(new_track(), [packet(1, 102), packet(2, 122)])
    assert gaps(events) == [(0, 816, "unsent")]


def test_one_lost_frame_is_loss_and_keeps_the_others_exact_under_jitter() -> None:
    track = new_track()
    packets = [packet(1), packet(2, 33), packet(4, 49), packet(5, 85)]
    events = play(track, packets) + finish(track)
    assert check_tiles(events) == 5 * PACKET
    assert gaps(events) == [(2 * PACKET, 3 * PACKET, "lost")]
    assert heard(events) == [(1, 0), (2, 1), (4, 3), (5, 4)]


def test_suppressed_silence_is_unsent() -> None:
    track = new_track()
    events = play(track, [packet(1), packet(2), packet(3, 1_000), packet(4, 1_020)])
    assert gaps(events) == [(2 * PACKET, 50 * PACKET, "unsent")]


def test_loss_within_silence_is_both() -> None:
    track = new_track()
    events = play(track, [packet(1), packet(3, 1_000)]) + finish(track)
    assert gaps(events) == [(PACKET, 2 * PACKET, "lost"), (2 * PACKET, 50 * PACKET, "unsent")]


def test_skew_accumulates_and_is_absorbed_by_the_next_gap() -> None:
    track = new_track()
    slow = [packet(n, (n - 1) * 19) for n in range(1, 101)]
    events = play(track, slow)
    assert gaps(events) == []
    assert track.counters().skew_ms == 99
    events += play(track, [packet(101, 2_400)])
    assert gaps(events) == [(100 * PACKET, 120 * PACKET, "unsent")]


def test_more_lost_packets_than_the_stamps_leave_room_for_end_at_the_stamp() -> None:
    track = new_track()
    events = play(track, [packet(1), packet(11, 60)]) + finish(track)
    assert gaps(events) == [(PACKET, 3 * PACKET, "lost")]


def test_what_waits_has_not_become_anything_yet() -> None:
    track = new_track()
    play(track, [packet(1), packet(3), packet(4)])
    counters = track.counters()
    assert (counters.received, counters.placed) == (1, 1)
    play(track, [packet(2)])
    counters = track.counters()
    assert (counters.received, counters.placed, counters.reordered) == (4, 4, 1)


def test_a_repeated_packet_is_dropped_once() -> None:
    track = new_track()
    events = play(track, [packet(1), packet(2), packet(2), packet(1), packet(3)])
    assert heard(events) == [(1, 0), (2, 1), (3, 2)]
    assert track.counters().duplicate == 2


def test_a_repeated_packet_is_dropped_also_where_a_stamp_went_back_a_little() -> None:
    track = new_track()
    events = play(track, [packet(1), packet(2), packet(3), packet(4, 0), packet(2), packet(3), packet(5)])
    assert [number for number, _ in heard(events)] == [1, 2, 3, 4, 5]
    assert track.counters().duplicate == 2


@pytest.mark.parametrize("counter", [lambda n: 0, lambda n: 1, lambda n: n % 16, lambda n: (n + 1) // 2])
def test_a_counter_that_repeats_while_time_goes_on_costs_no_audio(counter: Callable[[int], int]) -> None:
    track = new_track()
    packets = [Media("inbound", payload(n), counter(n), (n - 1) * 20) for n in range(1, 200)]
    events = play(track, packets, at=1.0) + finish(track, 5.0)
    assert [number for number, _ in heard(events)] == list(range(1, 200))
    assert track.counters().duplicate == 0


def test_a_reordered_packet_takes_its_place_and_a_late_one_is_counted() -> None:
    track = new_track()
    events = play(track, [packet(n) for n in (1, 3, 2, 4)])
    assert heard(events) == [(n, n - 1) for n in (1, 2, 3, 4)]
    assert track.counters().reordered == 1
    events = play(track, [packet(n) for n in range(6, 60)]) + play(track, [packet(5)])
    assert track.counters().late == 1
    assert gaps(events) == [(4 * PACKET, 5 * PACKET, "lost")]


def test_waiting_packets_are_released_by_time() -> None:
    track = new_track()
    play(track, [packet(1), packet(3)])
    track.tick(0.9)
    assert track.drain() == []
    track.tick(1.1)
    assert heard(track.drain()) == [(3, 2)]


def test_an_undecodable_packet_is_rejected_in_its_own_place() -> None:
    track = new_track()
    events = play(track, [packet(1), Media("inbound", None, 2, 20), Media("inbound", b"", 3, 40), packet(4)])
    assert gaps(events) == [(PACKET, 2 * PACKET, "rejected"), (2 * PACKET, 3 * PACKET, "rejected")]
    assert track.counters().rejected == 2
    assert track.oversized == 0


def test_a_rejected_first_packet_is_reckoned_at_the_next_ones_length() -> None:
    events = play(new_track(), [Media("inbound", None, 1, 0), packet(2)])
    assert gaps(events) == [(0, PACKET, "rejected")]
    assert heard(events) == [(2, 1)]


def test_a_rejected_last_packet_still_takes_its_place() -> None:
    track = new_track()
    play(track, [packet(1), Media("inbound", None, 2, 20)])
    assert gaps(finish(track)) == [(PACKET, 2 * PACKET, "rejected")]


def test_more_than_a_second_in_one_packet_is_rejected() -> None:
    track = new_track()
    play(track, [packet(1), Media("inbound", bytes(2 * RATE + 2), 2, 20)])
    assert track.counters().rejected == 1
    assert track.oversized == 1


def test_a_payload_of_more_bytes_than_may_be_is_rejected_however_much_it_holds() -> None:
    decoder = decoder_for(AudioFormat(Encoding.L16, RATE), l16_byte_order="little")
    track = Track("inbound", decoder, Timeline(0.0), payload_bytes=2 * PACKET)
    play(track, [packet(1), Media("inbound", bytes(2 * PACKET + 2), 2, 20)])
    assert track.counters().rejected == track.oversized == 1


def test_an_odd_byte_is_cut_and_counted() -> None:
    track = new_track()
    events = play(track, [packet(1), Media("inbound", payload(2) + b"x", 2, 20), packet(3)])
    assert heard(events) == [(1, 0), (2, 1), (3, 2)]
    assert track.counters().trimmed == 1


def test_a_packet_without_a_stamp_follows_the_last() -> None:
    track = new_track()
    events = play(track, [packet(1), Media("inbound", payload(2), 2, None), packet(3)])
    assert heard(events) == [(1, 0), (2, 1), (3, 2)]
    assert track.counters().unstamped == 1


def test_a_packet_without_a_chunk_is_taken_to_be_the_next() -> None:
    track = new_track()
    packets = [packet(1), packet(2, chunk=None), packet(3)]
    events = play(track, packets)
    assert heard(events) == [(1, 0), (2, 1), (3, 2)]
    events = play(new_track(), [packet(1, chunk=None), packet(2)])
    assert heard(events) == [(1, 0), (2, 1)]


def test_without_counters_stamps_place_to_half_a_frame() -> None:
    track = new_track(counters=False)
    events = play(track, [packet(1), packet(1, 29), packet(2, 52)])
    assert gaps(events) == [(2 * PACKET, 416, "unsent")]
    assert track.counters().unstamped == 0


def test_a_jump_of_any_size_is_a_gap_while_our_own_clock_agrees() -> None:
    events = play(new_track(), [packet(1), packet(2, 600_000)], at=590.0)
    assert gaps(events) == [(PACKET, 600 * RATE, "unsent")]


@pytest.mark.parametrize("stamp", [31_001, 2**62])
def test_a_jump_beyond_our_own_clock_is_a_discontinuity(stamp: int) -> None:
    track = new_track()
    play(track, [packet(1)], at=0.0)
    events = play(track, [packet(2, stamp), packet(3, stamp + 20)], at=1.0)
    assert events[0] == Discontinuity("inbound", RATE, RATE, 0, stamp)
    assert gaps(events) == [(PACKET, RATE, "unsent")]
    assert heard(events) == [(2, 50), (3, 51)]


def test_a_clock_that_runs_backwards_is_a_discontinuity() -> None:
    track = new_track()
    play(track, [packet(n) for n in range(1, 101)], at=2.0)
    events = play(track, [packet(101, 500), packet(102, 520)], at=2.0)
    assert events[0] == Discontinuity("inbound", 100 * PACKET, RATE, 1_980, 500)
    assert heard(events) == [(101, 100), (102, 101)]


def test_a_counter_that_restarts_is_a_discontinuity() -> None:
    track = new_track()
    play(track, [packet(n) for n in range(1, 101)], at=2.0)
    events = play(track, [packet(1), packet(2)], at=3.0)
    assert isinstance(events[0], Discontinuity)
    assert gaps(events) == [(100 * PACKET, 150 * PACKET, "unsent")]
    assert heard(events) == [(1, 150), (2, 151)]


def test_an_absurd_chunk_costs_no_audio_after_it() -> None:
    track = new_track()
    events = play(track, [packet(1), packet(2, chunk=2**62)])
    events += play(track, [packet(n) for n in range(3, 60)], at=1.0) + finish(track)
    assert heard(events) == [(n, n - 1) for n in range(1, 60)]


def test_a_lost_span_without_stamps_cannot_run_away() -> None:
    track = new_track()
    play(track, [packet(1)])
    events = play(track, [Media("inbound", payload(2), 2**62, None)])
    assert isinstance(events[0], Discontinuity)
    assert check_tiles([*play(new_track(), [packet(1)]), *events]) == 2 * PACKET


def test_two_tracks_share_one_zero_unless_told_otherwise() -> None:
    timeline = Timeline(0.0)
    first, second = new_track(timeline=timeline), new_track(timeline=timeline)
    third = new_track(timeline=timeline, own_zero=True)
    zero = 1_705_312_200_000
    play(first, [packet(1, zero)])
    assert gaps(play(second, [packet(1, zero + 500)], at=0.5)) == [(0, 4_000, "unsent")]
    assert gaps(play(third, [packet(1, 0)], at=0.25)) == [(0, 2_000, "unsent")]


numbers = st.none() | st.integers(0, 400) | st.integers(0, 2**63 - 1)
anything = st.builds(
    Media,
    track=st.just("inbound"),
    payload=st.none() | st.binary(max_size=700) | st.integers(1, 400).map(payload),
    chunk=numbers,
    timestamp=numbers | st.integers(0, 8_000),
)


@settings(max_examples=300)
@given(st.lists(st.tuples(anything, st.floats(0, 3)), max_size=80), st.booleans(), st.booleans())
def test_whatever_arrives_frames_and_gaps_tile_and_every_message_is_accounted_for(
    script: list[tuple[Media, float]], counters: bool, own_zero: bool
) -> None:
    track = new_track(counters=counters, own_zero=own_zero)
    events: list[Event] = []
    at = 0.0
    for media, pause in script:
        at += pause
        track.push(media, at)
        track.tick(at)
        events += track.drain()
    track.finish(at)
    events += track.drain()
    length = check_tiles(events)
    count = track.counters()
    assert count.length == length
    assert count.received == len(script) == count.placed + count.duplicate + count.late + count.rejected
    audio = sum(len(event.samples) for event in events if isinstance(event, Frame))
    assert count.samples == audio == length - sum(count.gaps.values())
    assert set(count.gaps) <= {Cause.LOST, Cause.UNSENT, Cause.REJECTED}


@given(st.lists(st.integers(1, 64), unique=True, min_size=2), st.data())
def test_how_a_stream_is_split_into_batches_changes_nothing(chunks: list[int], data: st.DataObject) -> None:
    packets = [packet(n) for n in chunks]
    whole, parts = new_track(), new_track()
    expected = play(whole, packets) + finish(whole)
    cut = data.draw(st.integers(0, len(packets)))
    events = play(parts, packets[:cut]) + play(parts, packets[cut:]) + finish(parts)
    assert heard(events) == heard(expected)
    assert check_tiles(events) == check_tiles(expected)
