"""A recording that proves what is in it."""

from __future__ import annotations

import numpy as np
from recorded import FRAME, frames_of, mark_samples

from receiver.audio import AudioFormat, Encoding
from receiver.media.g711 import G711


def frame(number: int, unit: int) -> list[int]:
    nibbles = [number >> shift & 15 for shift in (20, 16, 12, 8, 4, 0)]
    nibbles += [unit >> shift & 15 for shift in (16, 12, 8, 4, 0)] + [10]
    return [int(mark_samples()[nibble]) for nibble in nibbles] + [0] * (FRAME - len(nibbles))


def test_a_frame_says_which_one_it_is_and_whose() -> None:
    numbers, units = frames_of(np.array(frame(0, 0) + frame(70_000, 1999), np.int16))
    assert numbers.tolist() == [0, 70_000]
    assert units.tolist() == [0, 1999]


def test_silence_and_a_shift_by_one_sample_are_none_of_ours() -> None:
    shifted = [0, *frame(1, 1)[:-1]]
    numbers, units = frames_of(np.array([0] * FRAME + shifted, np.int16))
    assert numbers.tolist() == [-1, -1]
    assert units.tolist() == [-1, -1]


def test_a_frame_that_has_not_been_written_whole_is_not_looked_at() -> None:
    numbers, _ = frames_of(np.array(frame(5, 0) + frame(6, 0)[:-1], np.int16))
    assert numbers.tolist() == [5]


def test_marks_are_what_the_decoder_makes_of_their_codes() -> None:
    decoded = G711(AudioFormat(Encoding.PCMU, 8000, 1)).decode([bytes(range(0x80, 0x100, 8))])
    assert mark_samples().tolist() == decoded.tolist()
