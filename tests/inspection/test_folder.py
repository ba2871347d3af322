from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from receiver.events import Annotation, Cause, EndReason
from receiver.inspection.folder import UNKNOWN, InspectionError, encode, inspect
from receiver.inspection.report import DigitFigures, GapFigures, MarkFigures
from receiver.recordings import SinkEntry


def wav(path: Path, level: int = 1000) -> None:
    soundfile.write(path, np.full(8000, level, np.int16), 8000, format="WAV")


def test_a_recording_without_a_capture_is_told_from_its_files(lab: ModuleType, tmp_path: Path) -> None:
    recording = lab.recorded(tmp_path)
    wav(recording.directory / "inbound.wav")
    recording.add_file(recording.directory / "inbound.wav", "audio", "audio/wav", "wav")
    recording.annotate(Annotation("said", "inbound", 0, 10, 8000, {"text": "hello"}, "ear"))
    sinks = {"wav": SinkEntry("ok", None, {}, 0), "web": SinkEntry("failed", "disk full", {"inbound": 1.5}, 2)}
    folder = lab.finish(recording, sinks=sinks)
    found = inspect(folder)
    assert (found.kind, found.state, found.path) == ("folder", "ended", str(folder))
    assert found.capture is None and found.messages is None and found.unknown == UNKNOWN
    assert found.stream is not None and (found.stream.id, found.stream.call_id) == ("0199-ours", "call-1")
    assert found.stream.ended == "2026-11-21T10:20:08.000Z" and found.stream.path_parameters == {"tenant": "a"}
    assert found.end is not None and (found.end.reason, found.end.stop_received) == (EndReason.STOP, True)
    track = found.tracks["inbound"]
    assert track.packets is None and track.counters == lab.counters() and track.duration_s == 1.0
    assert track.gaps == [GapFigures(0.2, 0.3, Cause.LOST)] and track.gaps_s == {"lost": 0.1}
    assert track.audio is not None and track.audio_source == "inbound.wav" and track.waveform is not None
    assert (track.audio.audio_s, track.audio.peak_dbfs) == (0.9, -30.31)
    assert found.digits == [DigitFigures(0.5, "7", None, None)] and found.marks == [MarkFigures(0.75, "[bold]")]
    assert [json.loads(bytes(one))["data"] for one in found.annotations] == [{"text": "hello"}]
    assert found.sinks == sinks and [file.path for file in found.files] == ["inbound.wav"]


def test_a_recording_with_its_capture_has_both(lab: ModuleType, tmp_path: Path) -> None:
    folder = lab.finish(lab.recorded(tmp_path))
    lab.whole(folder, name="capture.jsonl")
    found = inspect(folder)
    assert (found.kind, found.state, found.unknown) == ("folder", "ended", [])
    assert found.messages is not None and found.tracks["inbound"].packets is not None
    assert found.stream is not None and found.stream.ended == "2026-11-21T10:20:08.000Z"
    assert found.end is not None and found.end.text == "done"
    assert [digit.digit for digit in found.digits] == ["7"]  # stream.json has them unmasked


def test_a_capture_alone_in_a_folder_is_enough(lab: ModuleType, tmp_path: Path) -> None:
    lab.whole(tmp_path, name="capture.jsonl")
    assert inspect(tmp_path).tracks == inspect(tmp_path / "capture.jsonl").tracks


def test_a_capture_that_cannot_be_read_leaves_the_rest(lab: ModuleType, tmp_path: Path) -> None:
    folder = lab.finish(lab.recorded(tmp_path))
    (folder / "capture.jsonl").write_text("nonsense\n")
    found = inspect(folder)
    assert found.unknown[0].startswith("all that is in the capture, which cannot be read (") and found.tracks
    assert found.unknown[1:] == UNKNOWN


def test_a_live_stream_is_told_from_its_journal(lab: ModuleType, tmp_path: Path) -> None:
    recording = lab.recorded(tmp_path)
    wav(recording.directory / "inbound.wav.part")
    lab.files.shutdown()  # everything is written; the journal stays locked
    found = inspect(recording.directory)
    assert (found.state, found.end, found.duration_s) == ("live", None, 1.0)
    assert found.stream is not None and found.stream.ended is None and found.sinks == {}
    assert found.tracks["inbound"].audio_source == "inbound.wav.part"
    assert [digit.digit for digit in found.digits] == ["7"]


def test_a_crashed_one_says_so(lab: ModuleType, tmp_path: Path) -> None:
    folder = lab.crash(lab.recorded(tmp_path))
    found = inspect(folder)
    assert (found.state, found.end) == ("crashed", None)
    assert found.tracks["inbound"].audio is None and found.tracks["inbound"].audio_source is None


def test_a_file_outside_of_the_folder_is_not_read(lab: ModuleType, tmp_path: Path) -> None:
    wav(tmp_path / "inbound.wav")
    folder = lab.finish(lab.recorded(tmp_path / "root"))
    text = json.loads((folder / "stream.json").read_text())
    file = {"path": f"{tmp_path}/inbound.wav", "kind": "audio", "media_type": "audio/wav", "sink": "x"}
    text["files"] = [{**file, "bytes": 1, "sha256": None}]
    (folder / "stream.json").write_text(json.dumps(text))
    assert inspect(folder).tracks["inbound"].audio is None


@pytest.mark.parametrize("name", ["stereo.wav", "stereo.flac"])
def test_where_only_stereo_is_left_a_track_is_its_channel(lab: ModuleType, tmp_path: Path, name: str) -> None:
    folder = lab.finish(lab.recorded(tmp_path))
    sides = np.column_stack((np.full(8000, 1000), np.full(8000, 20_000))).astype(np.int16)
    soundfile.write(folder / name, sides, 8000)
    if name != "stereo.wav":  # what is no WAV file has to be listed
        text = json.loads((folder / "stream.json").read_text())
        listed = {"kind": "audio", "media_type": "audio/flac", "sink": "wav", "bytes": 1, "sha256": ""}
        text["files"].append({"path": name, **listed})
        (folder / "stream.json").write_text(json.dumps(text))
    track = inspect(folder).tracks["inbound"]
    assert track.audio is not None and track.audio_source == name
    assert track.audio.peak_dbfs == -30.31


def test_a_path_that_is_no_unicode_is_json_all_the_same(lab: ModuleType, tmp_path: Path) -> None:
    path = lab.whole(tmp_path).rename(tmp_path / "a\udcff.jsonl")
    assert json.loads(encode(inspect(path)))["path"].endswith("a?.jsonl")


def test_counters_that_nobody_knows_are_null(lab: ModuleType, tmp_path: Path) -> None:
    folder = lab.finish(lab.recorded(tmp_path))
    text = json.loads((folder / "stream.json").read_text())
    text["tracks"]["inbound"]["counters"] = None
    (folder / "stream.json").write_text(json.dumps(text))
    track = inspect(folder).tracks["inbound"]
    assert (track.counters, track.gaps_s, track.duration_s) == (None, {"lost": 0.1}, 0.3)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        (None, "", "is no stream's folder: there is no stream.json, journal.jsonl or capture.jsonl"),
        ("stream.json", "{}", "stream.json cannot be read: "),
        ("journal.jsonl", "x\n", "the first line is not a stream's facts"),
    ],
)
def test_what_is_no_streams_folder_is_an_error(name: str | None, text: str, problem: str, tmp_path: Path) -> None:
    if name:
        (tmp_path / name).write_text(text)
    with pytest.raises(InspectionError, match=problem) as caught:
        inspect(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: ")


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InspectionError, match=r"none\.jsonl: No such file"):
        inspect(tmp_path / "none.jsonl")
    (tmp_path / "journal.jsonl").symlink_to("elsewhere")
    with pytest.raises(InspectionError, match=r"journal\.jsonl: Too many levels of symbolic links"):
        inspect(tmp_path)


def test_the_report_as_json_has_these_fields(lab: ModuleType, tmp_path: Path) -> None:
    found = json.loads(encode(inspect(lab.whole(tmp_path))))
    assert list(found) == [
        "version", "path", "kind", "state", "duration_s", "capture", "stream", "end", "messages", "tracks", "digits",
        "marks", "annotations", "ignored", "omitted", "files", "sinks", "unknown",
    ]  # fmt: skip
    assert list(found["tracks"]["inbound"]) == [
        "rate", "duration_s", "counters", "packets", "gaps", "gaps_s", "odd", "discontinuities", "audio", "waveform",
        "audio_source",
    ]  # fmt: skip
    assert list(found["tracks"]["inbound"]["packets"]["jitter"]) == [
        "rfc3550_ms", "rfc3550_max_ms", "delay_ms", "over_time",
    ]  # fmt: skip
    assert found["version"] == 1 and found["tracks"]["inbound"]["gaps"][0]["cause"] == "lost"
