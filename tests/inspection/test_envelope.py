from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from receiver.inspection.envelope import BUCKETS, Envelope, WaveformFigures, peaks
from receiver.waveform import levels

RATE = 8000


def test_levels_are_those_of_the_samples() -> None:
    samples = np.random.default_rng(1).integers(-32768, 32768, 100_000).astype(np.int16)
    envelope = Envelope(RATE)
    envelope.add(0, samples)
    found = envelope.figures()
    assert found.audio_s == 12.5 and found.active_s == 12.5
    assert found.peak_dbfs == round(levels(samples).peak_dbfs, 2)
    assert found.rms_dbfs == round(levels(samples).rms_dbfs, 2)


def test_how_the_audio_is_cut_into_frames_makes_no_difference() -> None:
    generator = np.random.default_rng(2)
    samples = (generator.normal(0, 300, 70_000) * (np.arange(70_000) // 4000 % 2)).astype(np.int16)
    whole, pieces = Envelope(RATE), Envelope(RATE)
    whole.add(0, samples)
    position = 0
    while position < len(samples):
        size = int(generator.integers(1, 500))
        pieces.add(position, samples[position : position + size])
        position += size
    assert pieces.figures() == whole.figures()
    assert pieces.waveform() == whole.waveform()
    assert 0 < whole.figures().active_s < 70_000 / RATE


def test_the_waveform_has_the_extremes_of_each_bucket_and_nothing_in_a_gap() -> None:
    envelope = Envelope(RATE)
    envelope.add(0, np.array([5] * 8 + [-7, 3] * 4, np.int16))
    envelope.add(32, np.array([9, -9, 100], np.int16))
    found = envelope.waveform()
    assert found.step_s == 0.001
    assert (found.low, found.high) == ([5, -7, None, None, -9], [5, 3, None, None, 100])


def test_memory_does_not_grow_with_hours_of_audio() -> None:
    envelope = Envelope(RATE)
    second = np.full(RATE, 100, np.int16)
    for number in range(3600):
        envelope.add(number * RATE, second)
    envelope.add(3600 * RATE, np.full(10, -20_000, np.int16))
    found = envelope.waveform()
    assert len(found.low) <= BUCKETS and found.step_s * len(found.low) >= 3600
    assert found.low[-1] == -20_000 and set(found.low[:-1]) == {100}
    assert envelope.figures().audio_s == 3600.00125


def test_a_packet_a_day_later_is_still_there() -> None:
    envelope = Envelope(48_000)
    envelope.add(86_400 * 48_000, np.full(960, 77, np.int16))
    found = envelope.waveform()
    assert found.high[-1] == 77 and set(found.high[:-1]) == {None}


def test_silence_is_null_in_json() -> None:
    silent, empty = Envelope(RATE), Envelope(RATE)
    silent.add(0, np.zeros(160, np.int16))
    assert silent.figures().peak_dbfs == -math.inf
    assert msgspec.json.decode(msgspec.json.encode(silent.figures())) == {
        "audio_s": 0.02,
        "peak_dbfs": None,
        "rms_dbfs": None,
        "active_s": 0.0,
    }
    assert empty.figures().audio_s == 0
    assert empty.waveform() == WaveformFigures(0.001, [], [])


@pytest.mark.parametrize(("level", "active"), [(183, 0.0), (185, 0.1)])  # -45.06 and -44.97 dBFS
def test_what_is_louder_than_the_noise_of_a_line_is_active(level: int, active: float) -> None:
    envelope = Envelope(RATE)
    envelope.add(0, np.full(800, level, np.int16))
    assert envelope.figures().active_s == active


def test_columns_of_a_picture_have_the_loudest_of_their_time() -> None:
    waveform = WaveformFigures(0.5, [-5, None, -32768, 1], [7, None, 3, 2])
    assert peaks(waveform, 2.0, 4).tolist() == [7, 0, 32768, 2]
    assert peaks(waveform, 2.0, 2).tolist() == [7, 32768]
    assert peaks(waveform, 2.0, 8).tolist() == [7, 7, 0, 0, 32768, 32768, 2, 2]
    assert peaks(waveform, 4.0, 4).tolist() == [7, 32768, 0, 0]
