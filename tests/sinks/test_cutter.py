"""A cutter: blocks of one length, whatever comes in."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from receiver.events import Cause, Digit, Ended, EndReason, Frame, Gap
from receiver.sinks.blocks import blocks
from receiver.sinks.cutter import Block, Cutter
from receiver.sinks.lane import Audio

ENDED = Ended(EndReason.STOP, True, {})


def frame(start: int, samples: npt.ArrayLike, track: str = "inbound", rate: int = 8000) -> Frame:
    array = np.asarray(samples, np.int16)
    array.flags.writeable = False
    return Frame(track, start, rate, array)


def gap(start: int, end: int, track: str = "inbound", rate: int = 8000) -> Gap:
    return Gap(track, start, end, rate, Cause.LOST)


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


def test_lengths_round_to_samples_and_are_never_nothing() -> None:
    empty: Audio = np.zeros(1, np.int16)
    for rate, ms, length in ((11025, 20, 220), (8000, 0.19, 2), (8000, 0.001, 1)):
        cutter = Cutter("inbound", rate, ms, "zeros", empty)
        made = [*cutter.put((5 * length, np.arange(5 * length, dtype=np.int16))), *cutter.finish()]
        assert [(block.start, block.end) for block in made] == [(n * length, (n + 1) * length) for n in range(5)]


def test_a_block_of_one_piece_is_not_copied_and_silence_is_not_to_be_written_to() -> None:
    cutter = Cutter("inbound", 8000, 20, "zeros", np.zeros(1, np.int16))
    samples: Audio = np.arange(320, dtype=np.int16)
    first, second = cutter.put((320, samples))
    assert np.shares_memory(first.samples, samples) and np.shares_memory(second.samples, samples)
    (silent,) = cutter.put((160, None))
    assert (silent.start, silent.rate, silent.track) == (320, 8000, "inbound")
    with pytest.raises(ValueError, match="read-only"):
        silent.samples[0] = 1
    assert list(cutter.finish()) == []


def test_blocks_of_pairs_keep_their_shape_through_a_gap() -> None:
    cutter = Cutter("pair", 8000, 20, "zeros", np.zeros((1, 2), np.float32))
    (made,) = [*cutter.put((60, np.ones((60, 2), np.float32))), *cutter.put((100, None))]
    assert made.samples.shape == (160, 2)
    assert made.samples[:60].all() and not made.samples[60:].any()
