"""The commands of the page on recordings, run on what the recorder wrote."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile

from receiver.events import Cause, Event, Frame, Gap, Samples
from receiver.testing import RunReceiver

PAGE = (Path(__file__).parents[3] / "docs" / "recordings.md").read_text()
SECONDS = 11  # a tenth segment is sorted behind the second one by most


def command(program: str) -> str:
    (found,) = re.findall(rf"^{program} .*joined\.wav$", PAGE, re.MULTILINE)
    return str(found)


def recorded(run_receiver: RunReceiver, audio: Samples) -> Path:
    sinks = {"wav": {"use": "wav", "options": {"segment_s": 1}}}
    with run_receiver(sinks=sinks) as server:
        return server.play((audio, 8000), codec="L16", rate=8000).folder


@pytest.mark.system
def test_segments_are_joined_in_the_order_of_their_numbers(run_receiver: RunReceiver) -> None:
    said = np.random.default_rng(1).integers(-32768, 32768, SECONDS * 8000 - 100).astype(np.int16)
    folder = recorded(run_receiver, said)
    assert len(list(folder.glob("inbound*.wav"))) == SECONDS
    subprocess.run(["bash", "-c", command("sox")], cwd=folder, check=True, timeout=20)
    assert np.array_equal(soundfile.read(folder / "joined.wav", dtype="int16")[0], said)


def test_a_segment_is_put_into_its_place_where_one_before_it_is_missing(studio: Any, tmp_path: Path) -> None:
    said = np.random.default_rng(1).integers(-32768, 32768, 16_100).astype(np.int16)
    said[8000:16_000] = 0
    events: list[Event] = [
        Frame("inbound", 0, 8000, said[:8000]),
        Gap("inbound", 8000, 16_000, 8000, Cause.UNSENT),
        Frame("inbound", 16_000, 8000, said[16_000:]),
    ]
    studio.record(tmp_path, events, segment_s=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inbound.wav", "inbound@16000.wav"]
    arguments = shlex.split(command("ffmpeg").replace("57600000", "16000"))
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), *arguments[1:]], cwd=tmp_path, check=True, timeout=20)
    assert np.array_equal(soundfile.read(tmp_path / "joined.wav", dtype="int16")[0], said)
