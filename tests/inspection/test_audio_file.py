from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from receiver.events import Cause, Gap
from receiver.inspection.audio_file import READ_SAMPLES, measure

RATE = 8000


def test_gaps_are_left_out_and_the_rest_is_measured(tmp_path: Path) -> None:
    samples = np.full(3 * READ_SAMPLES, 1000, np.int16)
    gaps = [(100, 200), (READ_SAMPLES - 50, 2 * READ_SAMPLES + 50), (3 * READ_SAMPLES - 10, 3 * READ_SAMPLES + 500)]
    for start, end in gaps:
        samples[start:end] = 0
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    found = measure(tmp_path / "a.wav", [Gap("a", start, end, RATE, Cause.LOST) for start, end in gaps]).figures()
    assert found.audio_s == round(int((samples != 0).sum()) / RATE, 6)
    assert (found.peak_dbfs, found.rms_dbfs) == (-30.31, -30.31)


def test_gaps_of_another_rate_are_not_looked_for(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(800, np.int16), RATE)
    assert measure(tmp_path / "a.wav", [Gap("a", 0, 800, 16_000, Cause.LOST)]).figures().audio_s == 0.1


def test_channels_count_as_one(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.column_stack((np.full(80, 2000), np.zeros(80))).astype(np.int16), RATE)
    assert measure(tmp_path / "a.wav", []).waveform().high == [1000] * 10


def test_or_one_of_them_alone(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.column_stack((np.full(80, 2000), np.full(80, 7))).astype(np.int16), RATE)
    assert measure(tmp_path / "a.wav", [], 0).waveform().high == [2000] * 10
    assert measure(tmp_path / "a.wav", [], 1).waveform().high == [7] * 10
    with pytest.raises(IndexError):
        measure(tmp_path / "a.wav", [], 2)


def test_what_is_no_audio_raises(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("no audio")
    with pytest.raises(soundfile.LibsndfileError):
        measure(tmp_path / "a.wav", [])
    with pytest.raises(FileNotFoundError):
        measure(tmp_path / "b.wav", [])
