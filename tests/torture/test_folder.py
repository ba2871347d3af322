"""What a strict reader finds in a folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from caller import callers, cast
from folder import HEADER, Unreadable, lost_s, missing_from, read, samples_of
from readers import disagreement
from receiver_plugins.wav.format import header
from voice import FRAME

CALL = callers(cast(1, 1.0), "x")[0]


def wav(path: Path, samples: np.ndarray) -> None:
    path.write_bytes(header(8000, samples.ndim, samples.nbytes) + samples.astype("<i2").tobytes())


@pytest.fixture
def final(tmp_path: Path) -> Path:
    inbound, outbound = (voice.samples for voice in CALL.voices)
    wav(tmp_path / "inbound.wav", inbound)
    wav(tmp_path / "outbound.wav", outbound)
    wav(tmp_path / "stereo.wav", np.stack([inbound, outbound], 1))
    list_files(tmp_path)
    return tmp_path


def list_files(folder: Path) -> None:
    files = [
        {"path": path.name, "bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in folder.glob("*.wav")
    ]
    said = {"stream_id": "x-0", "end": {"reason": "crash"}, "files": files}
    (folder / "stream.json").write_text(json.dumps(said))


def test_a_folder_that_is_as_it_should_be(final: Path) -> None:
    found = read(final)
    assert (found.problems, found.stream_id, found.reason) == ([], "x-0", "crash")
    assert [missing_from(found.audio[voice.track], voice) for voice in CALL.voices] == [(50, None), (50, None)]
    assert disagreement(final / "inbound.wav", 8000) == []
    assert disagreement(final / "stereo.wav", 8000, ("wave", "soundfile", "ffmpeg")) == []


def shorten(folder: Path) -> None:
    os.truncate(folder / "inbound.wav", 1000)


def spoil_stereo(folder: Path) -> None:
    with (folder / "stereo.wav").open("r+b") as file:
        file.seek(HEADER.size + 6)
        file.write(b"\0\0")
    list_files(folder)


def cut_stereo(folder: Path) -> None:
    os.truncate(folder / "stereo.wav", 1000)
    list_files(folder)


@pytest.mark.parametrize(
    ("deed", "problem"),
    [
        (shorten, "inbound.wav has the header"),
        (shorten, "inbound.wav is not as stream.json says"),
        (spoil_stereo, "stereo.wav has another channel 1"),
        (cut_stereo, "stereo.wav has the header"),
        (lambda folder: wav(folder / "more.wav", np.ones(9)), "more.wav is not listed"),
        (lambda folder: (folder / "outbound.wav").unlink(), "outbound.wav is not as stream.json says"),
        (lambda folder: (folder / "stream.json").unlink(), "there is no stream.json"),
        (lambda folder: (folder / "journal.jsonl").touch(), "journal.jsonl was left"),
        (lambda folder: (folder / "x.wav.part").touch(), "x.wav.part was left"),
    ],
)
def test_every_deviation_is_found(final: Path, deed: Callable[[Path], None], problem: str) -> None:
    deed(final)
    assert any(said.startswith(problem) for said in read(final).problems), read(final).problems


def test_a_file_that_is_shorter_than_a_header(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    with pytest.raises(Unreadable, match=r"a\.wav has 4 bytes"):
        samples_of(tmp_path / "a.wav")
    assert "cannot read" in disagreement(tmp_path / "a.wav", 0, ("wave",))[0]
    wav(tmp_path / "a.wav", np.ones(10))
    assert disagreement(tmp_path / "a.wav", 9, ("wave",)) == ["wave reads 10 frames of a.wav, not 9"]


def test_what_is_missing_is_counted_from_the_first_message_that_is_not_whole() -> None:
    (voice, _), spoken = CALL.voices, CALL.voices[0].samples
    assert missing_from(None, voice) == (0, None)
    assert missing_from(spoken[: 3 * FRAME + 1], voice) == (3, None)
    hole = spoken.copy()
    hole[5 * FRAME + 7 : 8 * FRAME] = 0
    assert missing_from(hole, voice) == (5, None)
    assert missing_from(spoken[1:], voice) == (0, "inbound has audio that nobody said there, from sample 0 on")
    assert missing_from(np.append(spoken, spoken), voice) == (50, "inbound is longer than what was said")


def test_what_is_lost_is_the_time_since_the_first_missing_message_was_sent(final: Path) -> None:
    call = callers(cast(1, 1.0), "x")[0]
    call.sent[:] = [[number * 0.02 for number in range(50)] for _ in call.voices]
    found = read(final)
    assert lost_s(call, found, 1.0) == ([0.0, 0.0], [])
    found.audio["outbound"] = found.audio["outbound"][: 40 * FRAME]
    assert lost_s(call, found, 1.0) == ([0.0, pytest.approx(0.2)], [])
    assert lost_s(call, None, 1.0)[0] == [1.0, 1.0]
    found.audio["inbound"] = found.audio["outbound"]
    assert lost_s(call, found, 1.0)[1] == ["stream 0: inbound has audio that nobody said there, from sample 0 on"]
