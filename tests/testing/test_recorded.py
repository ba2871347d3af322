from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from receiver.simulate import Outcome
from receiver.testing import GapSpan, Recorded

OUTCOME = Outcome(status=101, close_code=1000, complete=True)
TONE = np.arange(160, dtype=np.int16)


def recorded(folder: Path, *files: str, **more: Any) -> Recorded:
    told = {
        "end": {"reason": "stop"},
        "files": [{"path": path, "kind": "audio"} for path in files],
        "tracks": {"inbound": {"gaps": [{"start": 320, "end": 480, "cause": "lost"}]}},
        "annotations": [{"kind": "words", "data": "hello"}],
        "sinks": {"wav": {"status": "ok", "error": None}},
        **more,
    }
    (folder / "stream.json").write_text(json.dumps(told))
    return Recorded.read(folder, OUTCOME)


def test_it_has_what_stream_json_tells(tmp_path: Path) -> None:
    found = recorded(tmp_path)
    assert (found.folder, found.outcome) == (tmp_path, OUTCOME)
    assert found.annotations == [{"kind": "words", "data": "hello"}] == found.told["annotations"]
    assert found.gaps() == [(320, 480, "lost")] == found.gaps("inbound")
    assert found.gaps()[0] == GapSpan(start=320, end=480, cause="lost")


def test_a_track_that_was_not_there_is_no_track_without_gaps(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no track 'outbound', but inbound"):
        recorded(tmp_path).gaps("outbound")


@pytest.mark.parametrize(
    ("name", "kind"), [("inbound.wav", "PCM_16"), ("inbound.flac", "PCM_16"), ("inbound.wav", "FLOAT")]
)
def test_audio_is_read_from_the_tracks_own_file_whatever_it_is(tmp_path: Path, name: str, kind: str) -> None:
    soundfile.write(tmp_path / name, TONE / 32768, 16000, kind)
    samples, rate = recorded(tmp_path, name).audio()
    assert rate == 16000 and samples.dtype == np.int16 and np.array_equal(samples, TONE)


@pytest.mark.parametrize("name", ["stereo.wav", "stereo.flac"])
def test_audio_is_read_from_its_channel_where_there_is_only_a_stereo_file(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / name, np.stack((TONE, TONE * 2), axis=1), 8000, "PCM_16")
    found = recorded(tmp_path, name)
    assert np.array_equal(found.audio("inbound")[0], TONE) and np.array_equal(found.audio("outbound")[0], TONE * 2)
    with pytest.raises(FileNotFoundError, match=r"no audio of the track 'mixed'.* the sinks wav wrote stereo"):
        found.audio("mixed")


def test_where_no_sink_writes_audio_that_is_said(tmp_path: Path) -> None:
    found = recorded(tmp_path, sinks={"mine": {"status": "ok", "error": None}})
    with pytest.raises(FileNotFoundError, match="the sinks mine wrote no audio"):
        found.audio()


def test_a_file_is_found_or_what_there_is_is_said(tmp_path: Path) -> None:
    found = recorded(tmp_path)
    assert found.file("stream.json") == tmp_path / "stream.json"
    with pytest.raises(FileNotFoundError, match=r"no words\.txt in .*, but stream\.json"):
        found.file("words.txt")


def test_shown_in_a_failed_assertion_it_says_which_sinks_failed(tmp_path: Path) -> None:
    sinks = {
        "wav": {"status": "ok", "error": None},
        "mine": {"status": "failed", "error": "KeyError: 'x'"},
        "late": {"status": "cancelled", "error": None},
    }
    text = repr(recorded(tmp_path, sinks=sinks))
    assert str(tmp_path) in text and "ended by stop" in text
    assert "'mine': \"KeyError: 'x'\"" in text and "'late': 'cancelled'" in text and "wav" not in text
    assert "failed sinks" not in repr(recorded(tmp_path))
