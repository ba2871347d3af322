"""Audio in, utterances out: every sample where it was, whatever the blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from receiver_plugins.transcribe.cutter import FRAME, SURE, Cutter
from receiver_plugins.transcribe.engine import RATE, Int16Array
from receiver_plugins.transcribe.utterance import Utterance

SILENCE_S, PADDING_S, LONGEST_S = 0.3, 0.12, 2.0


def loud(frame: bytes) -> bool:
    return bool(np.frombuffer(frame, np.int16).max(initial=0) > 1000)


def cutter(**options: Any) -> Cutter:
    return Cutter(loud, **{"silence_s": SILENCE_S, "padding_s": PADDING_S, "longest_s": LONGEST_S, **options})


def said(samples: Int16Array, *, sizes: list[int] | None = None, **options: Any) -> list[Utterance]:
    """The utterances of a track that is put in pieces of these sizes, again and again."""
    one = cutter(**options)
    begun: list[Utterance] = []
    at = number = 0
    sizes = sizes or [FRAME]
    while at < len(samples):
        size = sizes[number % len(sizes)]
        begun += one.put(at, samples[at : at + size])
        at, number = min(at + size, len(samples)), number + 1
    begun += one.close()
    assert one.end == len(samples)
    assert one.spoken == sum(utterance.end - utterance.start for utterance in begun)
    assert one.utterance is None
    return begun


def track(*seconds: float) -> Int16Array:
    """Silence and speech in turn. Every sample tells its place, so that none can stand for another."""
    parts = []
    at = 0
    for number, length in enumerate(seconds):
        count = round(length * RATE)
        values = (np.arange(at, at + count) % 900).astype(np.int16)
        parts.append(values + np.int16(2000) if number % 2 else values)
        at += count
    return np.concatenate(parts)


def spans(utterances: list[Utterance]) -> list[tuple[int, int]]:
    return [(one.start, one.end) for one in utterances]


@st.composite
def tracks(draw: st.DrawFn) -> Int16Array:
    frames = draw(st.lists(st.integers(0, 100), min_size=1, max_size=9))
    odd = draw(st.integers(0, FRAME - 1))
    return track(*(count * FRAME / RATE for count in frames), odd / RATE)


def check(utterances: list[Utterance], samples: Int16Array, longest_s: float = LONGEST_S) -> None:
    """Utterances and silence tile the track, and all of the speech is in utterances."""
    at = 0
    silence = []
    for number, one in enumerate(utterances):
        assert one.number == number + 1 and one.over
        assert at <= one.start < one.end <= len(samples)
        assert one.end - one.start <= longest_s * RATE
        assert np.array_equal(one.read(one.start, len(samples)), samples[one.start : one.end])
        silence.append((at, one.start))
        at = one.end
    silence.append((at, len(samples)))
    verdicts = [loud(samples[at : at + FRAME].tobytes()) for at in range(0, len(samples), FRAME)]
    for first in range(len(verdicts) - SURE + 1):
        if all(verdicts[first : first + SURE]):
            start, end = first * FRAME, min((first + SURE) * FRAME, len(samples))
            assert not any(max(left, start) < min(right, end) for left, right in silence)


@settings(max_examples=60, deadline=None)
@given(tracks(), st.lists(st.integers(100, 5000), min_size=1, max_size=6))
def test_utterances_and_silence_tile_the_track_for_any_blocks(samples: Int16Array, sizes: list[int]) -> None:
    utterances = said(samples, sizes=sizes)
    check(utterances, samples)
    assert spans(utterances) == spans(said(samples))


@settings(max_examples=60, deadline=None)
@given(tracks(), st.lists(st.tuples(st.integers(1, 9000), st.integers(0, 60_000)), min_size=1, max_size=8))
def test_gaps_of_any_length_leave_every_sample_in_its_place(samples: Int16Array, pieces: list[tuple[int, int]]) -> None:
    """A gap is silence, whether it is looked at or passed over."""
    one, begun, parts, position, taken = cutter(), [], [], 0, 0
    for size, gap in pieces:
        piece = samples[taken : taken + size]
        if not len(piece):
            break
        begun += one.put(position, piece)
        parts += [piece, np.zeros(gap, np.int16)]
        taken, position = taken + len(piece), position + len(piece) + gap
    begun += one.close()
    whole = np.concatenate([*parts, np.zeros(1, np.int16)])
    at = 0
    for utterance in begun:
        assert at <= utterance.start < utterance.end <= one.end <= position
        assert np.array_equal(utterance.read(utterance.start, len(whole)), whole[utterance.start : utterance.end])
        at = utterance.end


def test_samples_may_come_one_by_one() -> None:
    samples = track(0.1, 0.2, 0.4, 0.1)
    assert spans(said(samples, sizes=[1])) == spans(said(samples)) != []


def test_an_utterance_has_a_little_silence_before_and_behind_it() -> None:
    (one,) = said(track(1.2, 0.9, 1.2))
    assert (one.start, one.end) == (round((1.2 - PADDING_S) * RATE), round((2.1 + PADDING_S) * RATE))


def test_a_pause_shorter_than_the_silence_is_within_an_utterance_and_a_longer_one_ends_it() -> None:
    assert len(said(track(0.3, 0.6, 0.27, 0.6, 1))) == 1
    assert len(said(track(0.3, 0.6, 0.33, 0.6, 1))) == 2


def test_a_click_is_no_speech_and_does_not_put_off_the_end() -> None:
    assert said(track(0.6, 0.06, 0.6)) == []
    (one,) = said(track(0.6, 0.3, 0.21, 0.06, 0.21, 0.06, 3))
    assert one.end == round((0.9 + PADDING_S) * RATE)


def test_padding_never_reaches_into_the_utterance_before() -> None:
    first, second = said(track(0.6, 0.6, 0.33, 0.6, 1), padding_s=0.3)
    assert first.end <= second.start
    check([first, second], track(0.6, 0.6, 0.33, 0.6, 1))


def test_long_speech_is_cut_and_goes_on_in_the_next_utterance_without_a_sample_between() -> None:
    samples = track(0.6, 5, 1)
    utterances = said(samples)
    check(utterances, samples)
    assert len(utterances) == 3
    assert [one.end for one in utterances[:-1]] == [one.start for one in utterances[1:]]
    assert all(one.end - one.start > (LONGEST_S - 0.03) * RATE for one in utterances[:-1])


def test_an_hour_without_audio_costs_no_more_than_a_second_and_ends_the_utterance() -> None:
    asked = 0

    def counted(frame: bytes) -> bool:
        nonlocal asked
        asked += 1
        return loud(frame)

    one = Cutter(counted, silence_s=SILENCE_S, padding_s=PADDING_S, longest_s=LONGEST_S)
    talk = track(0, 0.6)
    (first,) = one.put(0, talk)
    before = asked
    assert not first.over
    (second,) = one.put(3600 * RATE, talk)
    assert first.over and asked - before < 60
    assert first.end == len(talk) + round(PADDING_S * RATE)
    assert second.start == 3600 * RATE  # there is nothing before it
    assert one.end == 3600 * RATE + len(talk)


def test_speech_that_goes_on_behind_a_forced_end_is_the_next_utterance_from_its_first_sample() -> None:
    one, samples = cutter(), track(0, 0.95)
    for at in (0, 9600):
        (utterance,) = one.put(at, samples[at : at + 9600])
        begun = one.close()
        assert begun == [] and utterance.over
        assert (utterance.start, utterance.end) == (at, min(at + 9600, len(samples)))
    (rest,) = [*one.put(len(samples), track(0, 0.03)), *one.close()]  # no more than a click, by itself
    assert rest.start == len(samples)


def test_numbers_go_on_where_they_are_told_to() -> None:
    assert [one.number for one in said(track(0.3, 0.3, 1, 0.3, 1), first=7)] == [7, 8]


def test_what_is_cut_off_by_the_end_is_whole_to_the_last_sample() -> None:
    samples = track(0.3, 1.2345)
    (one,) = said(samples)
    assert one.end == len(samples)
    check([one], samples)


@pytest.mark.parametrize("seconds", [(), (0.0,), (0.01,), (1.0,)])
def test_where_nobody_speaks_there_is_no_utterance(seconds: tuple[float, ...]) -> None:
    assert said(track(*seconds, 0)) == []
