from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.text import Text

from receiver.waveform import LABEL, ROWS, Shape, Span, draw, levels, measure

RATE = 8000


def recording(path: Path, *parts: tuple[float, int]) -> Path:
    """A file of (seconds, amplitude) after each other, square waves."""
    square = [np.where(np.arange(round(s * RATE)) % 8 < 4, level, -level) for s, level in parts]
    soundfile.write(path, np.concatenate(square).astype(np.int16), RATE)
    return path


def waveform(path: Path, gaps: Sequence[Span], width: int, encoding: str = "utf-8") -> Text:
    """A file, drawn ``width`` characters wide."""
    return draw(measure(path, width - LABEL), gaps, encoding=encoding)


def bars(text: str) -> list[str]:
    """The picture without its scale: rows of bars, then the axis."""
    return [line[LABEL:] for line in text.splitlines()][: ROWS + 1]


def test_levels_are_dbfs() -> None:
    full = np.full(100, -32768, np.int16)
    assert levels(full) == levels(np.tile(full, 3))
    assert (levels(full).peak_dbfs, levels(full).rms_dbfs) == (0, 0)
    sine = np.round(16384 * np.sin(np.arange(8000) * 2 * np.pi / 80)).astype(np.int16)
    assert levels(sine).peak_dbfs == pytest.approx(-6.02, abs=0.01)
    assert levels(sine).rms_dbfs == pytest.approx(-9.03, abs=0.01)


@pytest.mark.parametrize("length", [0, 10])
def test_silence_is_minus_infinity(length: int) -> None:
    assert levels(np.zeros(length, np.int16)).peak_dbfs == -math.inf
    assert levels(np.zeros(length, np.int16)).rms_dbfs == -math.inf


def test_a_file_measures_like_its_samples(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).integers(-20_000, 20_000, 300_000, np.int16)  # more than is read at a time
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    shape = measure(tmp_path / "a.wav", 100)
    assert shape.duration_s == 37.5
    assert shape.levels.rms_dbfs == pytest.approx(levels(samples).rms_dbfs)
    assert shape.levels.peak_dbfs == levels(samples).peak_dbfs
    assert np.array_equal(shape.peaks, np.abs(samples.astype(int)).reshape(100, 3000).max(axis=1))


def test_loud_is_high_and_silence_is_empty(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.wav", (1, 32767), (1, 0), (1, 32768 // 40))  # 0 dBFS, nothing, -32 dBFS
    top, middle, bottom, axis = bars(waveform(path, [], LABEL + 30).plain)
    assert top == "█" * 10 + " " * 20
    assert middle == "█" * 10 + " " * 20
    assert bottom == "█" * 10 + " " * 10 + "█" * 10
    assert axis == "─" * 30


def test_the_scale_and_the_length_are_written(tmp_path: Path) -> None:
    lines = waveform(recording(tmp_path / "a.wav", (2.5, 99)), [], 40).plain.splitlines()
    assert [line[:LABEL] for line in lines] == ["   0 dB ", " -16 dB ", " -32 dB ", " " * LABEL, " " * LABEL]
    assert lines[-1].split() == ["0", "s", "2.5", "s"]
    assert {len(line) for line in lines} == {40}


def test_a_gap_is_shaded_and_a_short_one_still_marked_on_the_axis(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.wav", (3, 32767))
    gaps = [(1.0, 2.0, "unsent"), (2.51, 2.52, "lost"), (2.9, 99.0, "unsent"), (1.5, 1.5, "lost")]
    top, _, bottom, axis = bars(waveform(path, gaps, LABEL + 30).plain)
    assert top == bottom == "█" * 10 + "░" * 10 + "█" * 9 + "░"
    assert axis == "─" * 10 + "╳" * 10 + "─" * 5 + "╳" + "─" * 3 + "╳"


@pytest.mark.parametrize("encoding", ["ascii", "iso8859-1", "no-such-encoding"])
def test_a_terminal_without_blocks_gets_ascii(tmp_path: Path, encoding: str) -> None:
    path = recording(tmp_path / "a.wav", (2, 20_000), (1, 0))
    text = waveform(path, [(0, 1, "lost")], LABEL + 30, encoding=encoding).plain
    assert text.isascii()
    top, _, bottom, axis = bars(text)
    assert bottom == "/" * 10 + "#" * 10 + " " * 10 and top[10] in ":|"
    assert axis == "x" * 10 + "-" * 20


@pytest.mark.parametrize("width", [1, 5, 200])
def test_any_width_and_a_file_of_a_few_samples_can_be_drawn(tmp_path: Path, width: int) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(7, 32767, np.int16), RATE)
    assert "█" in waveform(tmp_path / "a.wav", [(0, 1, "lost"), (5, 6, "lost")][1:], width).plain


def test_an_empty_file_draws_as_an_empty_axis(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(0, np.int16), RATE)
    text = waveform(tmp_path / "a.wav", [(0, 1, "lost")], 40).plain
    assert "0.0 s" in text and "╳" not in text


def test_a_stereo_file_is_drawn_by_its_louder_channel(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.column_stack((np.zeros(80), np.full(80, 0.5))), RATE)
    shape: Shape = measure(tmp_path / "a.wav", 4)
    assert shape.peaks.tolist() == [16384] * 4
    assert "█" in draw(shape).plain
