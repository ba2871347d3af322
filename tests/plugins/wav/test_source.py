"""WAV files as sources: every sample, in blocks, at any rate, to the exact length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from receiver_plugins.wav.format import header
from receiver_plugins.wav.source import STEP, Source


def test_a_file_is_read_block_by_block_to_its_last_sample(studio: Any, tmp_path: Path) -> None:
    said = studio.noise(STEP * 2 + 10).reshape(-1, 2)
    source = Source.open(studio.wav(tmp_path / "a.wav", said))
    assert (source.rate, source.channels, source.frames) == (8000, 2, STEP + 5)
    blocks = list(source.ints())
    assert [len(block) for block in blocks] == [STEP, 5]
    assert np.array_equal(np.concatenate(blocks), said)
    assert np.array_equal(np.concatenate(list(source.floats(8000))), said.astype(np.float32) / 32768)


def test_a_header_of_unknown_size_hides_nothing(studio: Any, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(header(8000) + studio.noise(1000).tobytes())
    assert Source.open(tmp_path / "a.wav").frames == 1000


@pytest.mark.parametrize("rate", [11025, 22050, 32000, 44100])
@pytest.mark.parametrize("frames", [1, 7, 1000, STEP, STEP + 1, 3 * STEP + 11])
def test_resampled_it_has_exactly_the_length_of_the_same_time(
    studio: Any, tmp_path: Path, rate: int, frames: int
) -> None:
    source = Source.open(studio.wav(tmp_path / "a.wav", studio.noise(frames), rate))
    resampled = np.concatenate(list(source.floats(48000)))
    assert len(resampled) == source.length(48000) == int(frames * 48000 / rate + 0.5)
    assert resampled.dtype == np.float32 and np.abs(resampled).max() <= 1


def test_resampling_moves_nothing(studio: Any, tmp_path: Path) -> None:
    time = np.arange(44100) / 44100
    tone = np.rint(np.sin(2 * np.pi * 440 * time) * 16000).astype(np.int16)
    resampled = np.concatenate(list(Source.open(studio.wav(tmp_path / "a.wav", tone, 44100)).floats(48000)))[:, 0]
    expected = np.sin(2 * np.pi * 440 * np.arange(48000) / 48000) * 16000 / 32768
    assert np.abs(resampled - expected)[500:-500].max() < 0.001


@pytest.mark.parametrize("content", [b"", b"RIFF", bytes(100)])
def test_what_is_no_wav_file_of_ours_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.wav does not begin like"):
        Source.open(tmp_path / "a.wav")


def test_a_file_that_is_cut_while_it_is_read_is_an_error(studio: Any, tmp_path: Path) -> None:
    source = Source.open(studio.wav(tmp_path / "a.wav", studio.noise(STEP * 2)))
    studio.wav(tmp_path / "a.wav", studio.noise(STEP))
    with pytest.raises(ValueError, match="became shorter"):
        list(source.ints())
