"""Block by block, a lossy file reads as it does in one piece."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from receiver_plugins.wav.audio_file import AudioFile
from receiver_plugins.wav.codec import CODECS


@pytest.mark.parametrize("name", CODECS)
def test_blocks_are_what_a_player_hears(tmp_path: Path, name: str) -> None:
    codec = CODECS[name]
    audio = np.random.default_rng(1).uniform(-0.5, 0.5, (80_000, 2)).astype(np.float32)
    with AudioFile(tmp_path / "a", "w", 8000, 2, codec.subtype, format=codec.container) as file:
        for at in range(0, len(audio), 7000):
            file.write(audio[at : at + 7000])
    whole = soundfile.read(tmp_path / "a", dtype="float32")[0]
    with AudioFile(tmp_path / "a") as file:
        assert not file.seekable()
        blocks = [file.read(7000, dtype="float32") for _ in range(12)]
    assert [len(block) for block in blocks] == [7000] * 11 + [3000]
    assert np.abs(np.concatenate(blocks) - whole).max() < 1e-6  # of MP3 the last bit may differ


def test_no_decoder_complains(tmp_path: Path) -> None:
    audio = soundfile.read("receiver/simulate/speech/outbound.flac", dtype="float32")[0][::2]
    soundfile.write(
        tmp_path / "a", audio, 8000, "MPEG_LAYER_III", format="MP3", **CODECS["mp3"].settings(8000, 1, None)
    )
    program = """
import sys
from receiver_plugins.wav.audio_file import AudioFile
with AudioFile(sys.argv[1]) as file:
    while len(file.read(5000)):
        pass
"""
    command = [sys.executable, "-c", program, str(tmp_path / "a")]
    done = subprocess.run(command, capture_output=True, check=True, timeout=20, text=True)
    assert done.stderr == ""
