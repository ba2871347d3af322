from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.events import Cause, Digit, Ended, EndReason, Event, Frame, Gap
from receiver.sinks.blocks import blocks
from receiver.sinks.cutter import Block

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


def test_frames_of_any_length_become_blocks_of_one_length_and_a_short_last_one() -> None:
    samples = np.arange(1000)
    events = [frame(0, samples[:7]), frame(7, samples[7:700]), Digit("1", 0, 8000), frame(700, samples[700:]), ENDED]
    made = list(blocks(iter(events)))
    assert [len(block.samples) for block in made] == [160] * 6 + [40]
    assert all(before.end == after.start for before, after in pairwise(made))
    assert np.array_equal(joined(made), samples)
    assert {(block.track, block.rate) for block in made} == {("inbound", 8000)}


def test_asynchronous_events_give_the_same_blocks() -> None:
    events = [frame(0, tone(999)), gap(999, 2000), frame(2000, tone(77)), ENDED]

    async def feed() -> AsyncIterator[Event]:
        for event in events:
            yield event

    async def collect() -> list[Block]:
        source = blocks(feed(), rate=16000, ms=30)
        made = [block async for block in source]
        assert source.late == {}
        return made

    plain = list(blocks(iter(events), rate=16000, ms=30))
    made = asyncio.run(collect())
    assert [(block.track, block.start, len(block.samples)) for block in made] == [
        (block.track, block.start, len(block.samples)) for block in plain
    ]
    assert np.array_equal(joined(made), joined(plain))


def test_tracks_are_separate_unless_told_otherwise() -> None:
    made = list(blocks(iter([frame(0, [1] * 160), frame(0, [2] * 160, "outbound"), ENDED])))
    assert [(block.track, int(block.samples[0])) for block in made] == [("inbound", 1), ("outbound", 2)]


def test_gaps_are_zeros_or_skipped() -> None:
    events = [frame(0, [5] * 200), gap(200, 500), frame(500, [6] * 100), ENDED]
    zeros = joined(list(blocks(iter(events))))
    assert np.array_equal(zeros, [5] * 200 + [0] * 300 + [6] * 100)
    skipped = list(blocks(iter(events), gaps="skip"))
    assert [(block.start, len(block.samples)) for block in skipped] == [(0, 160), (160, 40), (500, 100)]


def test_a_gap_of_ten_hours_costs_no_memory() -> None:
    events = [gap(0, 10 * 3600 * 8000), frame(10 * 3600 * 8000, [1] * 160), ENDED]
    tracemalloc.start()
    last = None
    for made in blocks(iter(events), rate=48000, ms=1000, tracks="pair"):
        last = made
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert last is not None and last.end == 10 * 3600 * 48000 + 960
    assert peak < 5_000_000


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


def exact(position: int, rate_in: int, rate_out: int) -> int:
    return (2 * position * rate_out + rate_in) // (2 * rate_in)


def test_a_pair_is_inbound_left_and_outbound_right() -> None:
    events = [frame(0, [1] * 160), frame(0, [2] * 160, "outbound"), frame(0, [9] * 160, "mixed"), ENDED]
    (made,) = blocks(iter(events), tracks="pair")
    assert made.track == "pair"
    assert made.samples.shape == (160, 2)
    assert made.samples[0].tolist() == [1, 2]


def test_a_silent_side_is_padded_as_soon_as_the_skew_is_over() -> None:
    made = blocks(iter([frame(0, [1] * 8000), frame(8000, [1] * 160), ENDED]), tracks="pair", dtype="float32")
    everything = list(made)
    assert joined(everything).shape == (8160, 2)
    assert not joined(everything)[:, 1].any()
    assert made.late == {}


def test_blocks_of_a_pair_come_while_the_other_side_is_silent() -> None:
    events: Iterator[Event] = iter([frame(0, [1] * 8000), frame(8000, [1] * 160), frame(8160, [1] * 160)])
    made = blocks(events, tracks="pair")
    assert next(made).start == 0
    assert next(made).start == 160
    assert next(events, None) is None


def test_a_late_second_side_lands_in_its_place_and_too_late_audio_is_cut_and_counted() -> None:
    events = [
        frame(0, [1] * 16000),
        gap(0, 4000, "outbound"),
        frame(4000, [2] * 8000, "outbound"),  # 4000 .. 8000 has been given out already
        ENDED,
    ]
    made = blocks(iter(events), tracks="pair")
    everything = joined(list(made))
    assert made.late == {"outbound": 4000}
    assert len(everything) == 16000
    assert everything[:, 1].tolist() == [0] * 8000 + [2] * 4000 + [0] * 4000


def test_a_mix_is_the_sum_and_does_not_wrap() -> None:
    events = [
        frame(0, [30000, -30000, 100]),
        frame(0, [30000, -30000, 11, 7], "outbound"),
        gap(3, 5),
        gap(4, 5, "outbound"),
        ENDED,
    ]
    (made,) = blocks(iter(events), tracks="mix")
    assert (made.track, made.samples.dtype) == ("mix", np.int16)
    assert made.samples.tolist() == [32767, -32768, 111, 7, 0]
    (made,) = blocks(iter(events), tracks="mix", dtype="float32")
    assert made.samples.dtype == np.float32
    assert np.allclose(made.samples, [1, -1, 111 / 32768, 7 / 32768, 0])


def test_joined_tracks_of_different_rates_meet_at_the_first_ones() -> None:
    events = [frame(0, tone(1600)), frame(0, tone(3200, 16000), "outbound", 16000), ENDED]
    made = joined(list(blocks(iter(events), tracks="pair")))
    assert made.shape == (1600, 2)
    assert np.abs(made[200:1400, 0].astype(int) - made[200:1400, 1]).max() < 200


def test_a_joint_gap_is_skipped_only_where_every_side_has_one() -> None:
    events = [frame(0, [1] * 100), gap(100, 300), gap(0, 200, "outbound"), frame(200, [2] * 100, "outbound"), ENDED]
    made = list(blocks(iter(events), tracks="pair", gaps="skip"))
    assert [(block.start, block.end) for block in made] == [(0, 100), (200, 300)]


def test_no_audio_is_no_blocks() -> None:
    assert list(blocks(iter([ENDED]), tracks="mix")) == []
    assert list(blocks(iter([]))) == []


@pytest.mark.parametrize(
    "wrong",
    [{"ms": 0}, {"rate": 0}, {"max_skew_s": -1}, {"dtype": "int32"}, {"tracks": "both"}, {"gaps": "drop"}],
)
def test_unknown_arguments_are_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        blocks(iter([]), **wrong)
