"""Reading back: a file that was cut, changed, or made of other audio is told from one that holds its source."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from receiver_plugins.wav.codec import CODECS
from receiver_plugins.wav.source import STEP, Source
from receiver_plugins.wav.verification import difference


def made(path: Path, codec: str, audio: Any, rate: int = 8000) -> Path:
    chosen = CODECS[codec]
    settings: dict[str, Any] = chosen.settings(rate, 1 if audio.ndim == 1 else audio.shape[1], None)
    written = audio if chosen.lossless else audio.astype(np.float32) / 32768
    soundfile.write(path, written, rate, chosen.subtype, format=chosen.container, **settings)
    return path


@pytest.fixture(params=CODECS)
def codec(request: pytest.FixtureRequest) -> str:
    """Every format in turn."""
    return str(request.param)


def call(studio: Any, seconds: float = 20) -> Any:
    """Both sides of a conversation, each speaking in turn."""
    speech = soundfile.read("receiver/simulate/speech/outbound.flac", dtype="int16")[0][::2]
    left = speech[: int(seconds * 8000)]
    return np.stack([left, np.roll(left, 20_000)], 1)


def test_a_file_that_holds_its_source_has_no_difference(studio: Any, tmp_path: Path, codec: str) -> None:
    audio = call(studio)
    source = Source.open(studio.wav(tmp_path / "a.wav", audio))
    seen: list[int] = []
    assert difference(made(tmp_path / "a", codec, audio), source, CODECS[codec], lambda: seen.append(1)) is None
    assert len(seen) == -(-len(audio) // STEP)  # block by block


def test_other_lengths_rates_and_channels_are_named(studio: Any, tmp_path: Path, codec: str) -> None:
    audio = call(studio, 4)
    source = Source.open(studio.wav(tmp_path / "a.wav", audio))
    for name, wrong in {
        "short": (audio[:-1], 8000),
        "long": (np.concatenate([audio, audio[:1]]), 8000),
        "rate": (audio, 16000),
        "mono": (audio[:, 0], 8000),
    }.items():
        said = difference(made(tmp_path / name, codec, *wrong), source, CODECS[codec])
        assert said is not None and "and should be" in said and f"2 x {len(audio)} samples at 8000 Hz" in said


def test_swapped_channels_are_a_difference(studio: Any, tmp_path: Path, codec: str) -> None:
    audio = call(studio)
    source = Source.open(studio.wav(tmp_path / "a.wav", audio))
    assert difference(made(tmp_path / "a", codec, audio[:, ::-1]), source, CODECS[codec]) is not None


def test_a_sample_of_shift_is_a_difference(studio: Any, tmp_path: Path, codec: str) -> None:
    audio = call(studio)
    source = Source.open(studio.wav(tmp_path / "a.wav", audio))
    assert difference(made(tmp_path / "a", codec, np.roll(audio, 1, axis=0)), source, CODECS[codec]) is not None


def test_another_call_of_the_same_length_is_a_difference(studio: Any, tmp_path: Path, codec: str) -> None:
    audio = call(studio)
    source = Source.open(studio.wav(tmp_path / "a.wav", audio))
    assert difference(made(tmp_path / "a", codec, audio[::-1]), source, CODECS[codec]) is not None


def test_one_changed_sample_is_a_difference_in_flac(studio: Any, tmp_path: Path) -> None:
    audio = call(studio)
    source = Source.open(studio.wav(tmp_path / "a.wav", audio))
    audio[70_000, 1] ^= 1
    said = difference(made(tmp_path / "a", "flac", audio), source, CODECS["flac"])
    assert said == "the samples are not the same after 8.2 s"


def test_a_file_that_was_cut_is_a_difference(studio: Any, tmp_path: Path, codec: str) -> None:
    audio = call(studio)
    source = Source.open(studio.wav(tmp_path / "a.wav", audio))
    path = made(tmp_path / "a", codec, audio)
    for share in (0.9, 0.5, 0.02, 0):
        os.truncate(path, int(path.stat().st_size * share))
        assert difference(path, source, CODECS[codec]) is not None


def test_a_hole_in_the_file_is_a_difference(studio: Any, tmp_path: Path, codec: str) -> None:
    audio = call(studio)
    source = Source.open(studio.wav(tmp_path / "a.wav", audio))
    path = made(tmp_path / "a", codec, audio)
    size = path.stat().st_size
    with path.open("r+b") as file:  # a block that never reached the disk
        file.seek(size // 2)
        file.write(bytes(size // 10))
    assert difference(path, source, CODECS[codec]) is not None


def test_another_format_under_the_same_name_is_a_difference(studio: Any, tmp_path: Path, codec: str) -> None:
    audio = call(studio, 2)
    source = Source.open(studio.wav(tmp_path / "a.wav", audio))
    other = "flac" if codec != "flac" else "mp3"
    said = difference(made(tmp_path / "a", other, audio), source, CODECS[codec])
    assert said is not None and said.startswith(f"it is {CODECS[other].container}")


@pytest.mark.parametrize("content", [b"", b"OggS", b"not audio at all" * 100])
def test_what_is_no_audio_cannot_be_read(studio: Any, tmp_path: Path, codec: str, content: bytes) -> None:
    source = Source.open(studio.wav(tmp_path / "a.wav", studio.noise(100)))
    (tmp_path / "a").write_bytes(content)
    assert str(difference(tmp_path / "a", source, CODECS[codec])).startswith("it cannot be read: ")
