"""A lane: one track at another rate and sample type, exact to the sample."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.events import Cause, Ended, EndReason, Event, Frame, Gap
from receiver.sinks.blocks import blocks
from receiver.sinks.cutter import Block
from receiver.sinks.lane import Lane, Span

ENDED = Ended(EndReason.STOP, True, {})


def frame(start: int, samples: npt.ArrayLike, track: str = "inbound", rate: int = 8000) -> Frame:
    array = np.asarray(samples, np.int16)
    array.flags.writeable = False
    return Frame(track, start, rate, array)


def gap(start: int, end: int, track: str = "inbound", rate: int = 8000) -> Gap:
    return Gap(track, start, end, rate, Cause.LOST)


def tone(count: int, rate: int = 8000, amplitude: int = 8000) -> npt.NDArray[np.int16]:
    return np.asarray(np.rint(amplitude * np.sin(2 * np.pi * 440 * np.arange(count) / rate)), np.int16)


def joined(made: list[Block]) -> npt.NDArray[np.generic]:
    return np.concatenate([block.samples for block in made])


def test_float32_is_within_one() -> None:
    full = np.where(np.arange(8000) // 20 % 2, 32767, -32768)
    for rate in (8000, 16000):
        made = joined(list(blocks(iter([frame(0, full), ENDED]), rate=rate, dtype="float32")))
        assert made.dtype == np.float32
        assert np.abs(made).max() <= 1
    assert made.min() == -1


@pytest.mark.parametrize("rate", [16000, 24000, 48000])
@pytest.mark.parametrize("quality", ["QQ", "HQ"])
def test_resampled_in_pieces_equals_resampled_whole(rate: int, quality: str) -> None:
    samples = tone(8000)
    pieces = [frame(start, samples[start : start + 333]) for start in range(0, 8000, 333)]
    made = joined(list(blocks(iter([*pieces, ENDED]), rate=rate, quality=quality)))
    whole = soxr.resample(samples.astype(np.float32), 8000, rate, quality=quality)
    assert len(made) == rate
    assert np.abs(made.astype(float) - whole).max() <= 1


def test_silence_stays_silent_through_the_resampler() -> None:
    made = joined(list(blocks(iter([frame(0, np.zeros(4000)), ENDED]), rate=16000)))
    assert not made.any()


def exact(position: int, rate_in: int, rate_out: int) -> int:
    return (2 * position * rate_out + rate_in) // (2 * rate_in)


@settings(deadline=None, max_examples=60)
@given(
    steps=st.lists(st.tuples(st.booleans(), st.integers(1, 900)), max_size=25),
    rate_in=st.sampled_from([8000, 16000, 11025]),
    rate_out=st.sampled_from([8000, 16000, 22050, 7999]),
    skip=st.booleans(),
)
def test_positions_are_exact_at_any_rates_and_gaps(
    steps: list[tuple[bool, int]], rate_in: int, rate_out: int, skip: bool
) -> None:
    events: list[Event] = []
    position = 0
    audible = 0
    for is_gap, count in steps:
        if is_gap:
            events.append(gap(position, position + count, rate=rate_in))
        else:
            events.append(frame(position, np.ones(count), rate=rate_in))
        before, position = position, position + count
        if not is_gap:
            audible += exact(position, rate_in, rate_out) - exact(before, rate_in, rate_out)
    made = list(blocks(iter([*events, ENDED]), rate=rate_out, gaps="skip" if skip else "zeros"))
    if skip:
        assert sum(len(block.samples) for block in made) == audible
        assert all(before.end <= after.start for before, after in pairwise(made))
    else:
        assert sum(len(block.samples) for block in made) == exact(position, rate_in, rate_out)
        assert all(before.end == after.start for before, after in pairwise(made))
    assert all(0 < len(block.samples) <= max(round(rate_out * 0.02), 1) for block in made)


def test_a_stretch_that_rounds_up_is_filled_to_its_exact_length() -> None:
    events = [gap(0, 3), frame(3, [1000] * 3), ENDED]  # 8 samples of 22050 Hz at 8.27: from 8 to 17 are 9
    made = list(blocks(iter(events), rate=22050))
    assert [(block.start, block.end) for block in made] == [(0, 17)]


def lengths(spans: list[Span]) -> list[tuple[int, bool]]:
    return [(length, audio is None) for length, audio in spans]


def test_at_its_own_rate_a_track_passes_through_untouched() -> None:
    lane = Lane(8000, 8000, "int16", "HQ")
    event = frame(0, tone(160))
    ((length, audio),) = lane.put(event)
    assert (length, audio is event.samples) == (160, True)
    assert lengths(lane.put(gap(160, 1000))) == [(840, True)]
    assert lane.finish() == []


def test_a_gap_lets_out_what_the_resampler_held_and_then_itself() -> None:
    lane = Lane(8000, 16000, "int16", "HQ")
    inside = lengths(lane.put(frame(0, tone(160))))
    out = inside + lengths(lane.put(gap(160, 320)))
    assert sum(length for length, silent in out if not silent) == 320
    assert out[-1] == (320, True)
    assert lane.finish() == []


def test_a_gap_too_short_for_a_sample_is_none() -> None:
    lane = Lane(48000, 8000, "float32", "QQ")
    assert lane.put(gap(0, 2)) == []
    assert lengths(lane.put(gap(2, 6))) == [(1, True)]
    lane.put(frame(6, tone(2), rate=48000))
    assert lane.finish() == []  # a third of a sample, rounded


def test_what_the_resampler_swings_beyond_full_scale_is_held_within_it() -> None:
    lane = Lane(8000, 48000, "int16", "HQ")
    full = np.where(np.arange(4000) // 20 % 2, 32767, -32768)
    audio = np.concatenate([part for _, part in [*lane.put(frame(0, full)), *lane.finish()] if part is not None])
    assert (audio.dtype, len(audio), audio.min(), audio.max()) == (np.int16, 24000, -32768, 32767)
