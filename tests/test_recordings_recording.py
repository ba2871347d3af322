"""A stream's folder while the stream lives, and its stream.json."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

import receiver
from receiver import files
from receiver.audio import AudioFormat, Encoding
from receiver.events import (
    Annotation,
    Cause,
    Digit,
    Discontinuity,
    Ended,
    EndReason,
    Event,
    Frame,
    Gap,
    Marked,
    TrackCounters,
)
from receiver.recordings import Recording, ledger
from receiver.recordings.journal import begin
from receiver.stream import StreamFacts

WAIT_S = 20
STARTED = datetime(2026, 11, 21, 8, 0, 0, 123456, tzinfo=UTC)
SCHEMA = json.loads((Path(receiver.__file__).parent / "stream.schema.json").read_text())
ENDED = Ended(
    EndReason.STOP,
    True,
    {"inbound": TrackCounters(8000, length=16000, samples=15000, received=94, placed=94, gaps={"lost": 1000})},
    ignored={"unknown": 2},
)


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    yield
    files.configure()
    files.shutdown()


def facts(**changes: Any) -> StreamFacts:
    given: dict[str, Any] = {
        "id": "0199-ours",
        "source": "default",
        "dialect": "signalwire",
        "stream_id": "theirs",
        "call_id": "CA1",
        "account_id": None,
        "tracks": ("inbound", "outbound"),
        "format": AudioFormat(Encoding.PCMU, 8000),
        "parameters": {"who": "Ann", "list": [1, None]},
        "path_parameters": {"tenant": "a"},
        "peer_address": "192.0.2.1",
        "token": "main",
        "started": STARTED,
    }
    return StreamFacts(**{**given, **changes})


def make(root: Path, **changes: Any) -> Recording:
    return Recording.create(root, "{date}/{stream_id}", facts(**changes))


def end(recording: Recording, ended: Ended = ENDED) -> Any:
    recording.finish(ended, STARTED + timedelta(seconds=2))
    return read(recording)


def read(recording: Recording) -> Any:
    content = json.loads((recording.directory / "stream.json").read_bytes())
    jsonschema.Draft202012Validator(SCHEMA).validate(content)
    return content


def journal(recording: Recording) -> list[Any]:
    """The lines of a live journal, once the writer thread is through with what it has."""
    files.flush()
    pause = threading.Event()
    for _ in range(WAIT_S * 100):
        if files.queued_bytes() == 0:
            break
        pause.wait(0.01)
    text = (recording.directory / "journal.jsonl").read_bytes()
    assert text.endswith(b"\n")
    return [json.loads(line) for line in text.splitlines()]


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_a_stream_that_only_started_and_stopped(tmp_path: Path) -> None:
    recording = make(tmp_path)
    assert recording.directory == tmp_path / "2026-11-21" / "0199-ours"
    content = end(recording)
    recording.close()
    assert os.listdir(recording.directory) == ["stream.json"]
    assert content["started"] == "2026-11-21T08:00:00.123Z"
    assert content["ended"] == "2026-11-21T08:00:02.123Z"
    assert content["duration_s"] == 2.0
    assert content["end"] == {"reason": "stop", "stop_received": True, "error": None, "close_code": None}
    assert content["parameters"] == {"who": "Ann", "list": [1, None]}
    assert content["format"] == {"encoding": "PCMU", "rate": 8000, "channels": 1}
    assert content["tracks"]["inbound"]["counters"]["gaps"] == {"lost": 1000}
    assert content["tracks"]["outbound"] == {"counters": None, "gaps": []}
    assert content["ignored"] == {"unknown": 2}
    assert content["version"] == 1
    assert content["callbacks"] == []


def test_what_happens_is_journalled_as_it_comes_and_told_at_the_end(tmp_path: Path) -> None:
    recording = make(tmp_path)
    samples = np.zeros(160, np.int16)
    events: list[Event] = [
        Frame("inbound", 0, 8000, samples),
        Gap("inbound", 160, 320, 8000, Cause.LOST),
        Digit("5", 320, 8000, 100, "inbound"),
        Marked("greeting", 320, 8000),
        Discontinuity("inbound", 320, 8000, 40, 9000),
        Annotation("transcript", "inbound", 0, 160, 8000, {"text": "hello"}, "asr"),
        ENDED,
    ]
    recording.note(events)
    recording.progress(ENDED.tracks)
    lines = journal(recording)
    assert [next(iter(line)) for line in lines] == [
        "facts",
        "gap",
        "digit",
        "mark",
        "discontinuity",
        "annotation",
        "progress",
    ]
    assert lines[0]["facts"]["stream_id"] == "theirs"
    content = end(recording)
    recording.close()
    assert content["tracks"]["inbound"]["gaps"] == [{"start": 160, "end": 320, "cause": "lost"}]
    assert content["digits"] == [{"digit": "5", "position": 320, "rate": 8000, "duration_ms": 100, "track": "inbound"}]
    assert content["marks"] == [{"name": "greeting", "position": 320, "rate": 8000}]
    assert content["discontinuities"][0]["peer_ms_after"] == 9000
    assert content["annotations"][0]["data"] == {"text": "hello"}
    assert content["omitted"] == {}


def test_adjacent_gaps_of_one_cause_are_one_gap(tmp_path: Path) -> None:
    recording = make(tmp_path)
    pieces = [(0, 160, Cause.UNSENT), (160, 320, Cause.UNSENT), (320, 480, Cause.LOST), (640, 800, Cause.LOST)]
    recording.note([Gap("inbound", start, stop, 8000, cause) for start, stop, cause in pieces])
    recording.note([Gap("outbound", 0, 100, 8000, Cause.LOST)])
    recording.note([Gap("inbound", 800, 900, 8000, Cause.LOST)])
    recording.progress({})
    recording.progress({})
    told = [line["gap"] for line in journal(recording) if "gap" in line]
    assert [(gap["track"], gap["start"], gap["end"]) for gap in told] == [
        ("inbound", 0, 160),
        ("inbound", 0, 320),  # longer than the journal knew when the next one came
        ("inbound", 320, 480),
        ("inbound", 640, 800),
        ("outbound", 0, 100),
        ("inbound", 640, 900),  # longer when progress was told
    ]
    content = end(recording)
    recording.close()
    assert [(gap["start"], gap["end"], gap["cause"]) for gap in content["tracks"]["inbound"]["gaps"]] == [
        (0, 320, "unsent"),
        (320, 480, "lost"),
        (640, 900, "lost"),
    ]


def test_every_list_is_bounded_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for bound in ("MAX_GAPS", "MAX_SEEN", "MAX_ANNOTATIONS", "MAX_FILES"):
        monkeypatch.setattr(ledger, bound, 3)
    monkeypatch.setattr(ledger, "MAX_TRACKS", 2)
    recording = make(tmp_path)
    for number in range(5):
        recording.note(
            [
                Gap("inbound", number * 20, number * 20 + 10, 8000, Cause.LOST),
                Gap(f"track{number}", 0, 10, 8000, Cause.LOST),
                Digit("1", number, 8000),
                Marked("m", number, 8000),
                Discontinuity("inbound", number, 8000, None, None),
            ]
        )
        recording.annotate(Annotation("x", None, 0, 1, 8000))
        recording.add_file(recording.directory / f"{number}.txt", "text", "text/plain", "s")
    lines = journal(recording)
    content = end(recording)
    recording.close()
    assert content["omitted"] == {
        "gaps": 2 + 4,
        "digits": 2,
        "marks": 2,
        "discontinuities": 2,
        "annotations": 2,
        "files": 2,
    }
    assert len(content["tracks"]["inbound"]["gaps"]) == 3
    assert len(content["files"]) == 3
    assert len(lines) == 1 + 3 + 1 + 5 * 3


def test_annotations_are_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MAX_ANNOTATION_BYTES", 10_000)
    recording = make(tmp_path)
    for _ in range(3):
        recording.annotate(Annotation("x", None, 0, 1, 8000, "y" * 4000))
    content = end(recording)
    recording.close()
    assert len(content["annotations"]) == 2
    assert content["omitted"] == {"annotations": 1}


def test_an_annotation_that_is_not_json_is_refused_by_name(tmp_path: Path) -> None:
    recording = make(tmp_path)
    with pytest.raises(ValueError, match=r"sink asr: the data of annotation 'x' is not JSON"):
        recording.annotate(Annotation("x", None, 0, 1, 8000, object(), "asr"))
    assert end(recording)["annotations"] == []
    recording.close()


def test_an_annotation_is_kept_as_it_was_said(tmp_path: Path) -> None:
    recording = make(tmp_path)
    data = ["before"]
    recording.annotate(Annotation("x", None, 0, 1, 8000, data))
    data[0] = "after"
    assert end(recording)["annotations"][0]["data"] == ["before"]
    recording.close()


def test_a_file_is_listed_with_its_size_and_checksum(tmp_path: Path) -> None:
    recording = make(tmp_path)
    inner = recording.directory / "inner"
    inner.mkdir()
    (inner / "a.txt").write_bytes(b"abc")
    recording.add_file(inner / "a.txt", "text", "text/plain", "mine")
    recording.add_file(recording.directory / "gone.txt", "text", "text/plain", "mine")
    found, gone = end(recording)["files"]
    recording.close()
    assert found == {
        "path": "inner/a.txt",
        "kind": "text",
        "media_type": "text/plain",
        "sink": "mine",
        "bytes": 3,
        "sha256": hashlib.sha256(b"abc").hexdigest(),
    }
    assert (gone["bytes"], gone["sha256"]) == (None, None)


def test_a_file_may_be_named_through_a_link_and_none_from_outside(tmp_path: Path) -> None:
    recording = make(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    there = tmp_path / "link" / "2026-11-21" / "0199-ours" / "a.txt"
    there.write_bytes(b"abc")
    recording.add_file(there, "text", "text/plain", "mine")
    with pytest.raises(ValueError):
        recording.add_file(tmp_path / "x", "text", "text/plain", "mine")
    assert [file["path"] for file in end(recording)["files"]] == ["a.txt"]
    recording.close()


def test_late_facts_amend_the_document(tmp_path: Path) -> None:
    recording = make(tmp_path)
    with pytest.raises(ValueError, match="has not ended"):
        recording.amend()
    (recording.directory / "a").write_bytes(b"1")
    recording.add_file(recording.directory / "a", "k", "m/t", "s")
    assert end(recording)["files"][0]["bytes"] == 1
    (recording.directory / "a").write_bytes(b"22")
    (recording.directory / "b").write_bytes(b"333")
    recording.add_file(recording.directory / "b", "k", "m/t", "s")
    recording.annotate(Annotation("late", None, 0, 1, 8000))
    recording.amend()
    content = read(recording)
    assert [file["bytes"] for file in content["files"]] == [1, 3]  # measured once
    assert content["annotations"][0]["kind"] == "late"
    recording.add_file(recording.directory / "a", "k", "m/t", "s")
    recording.amend()
    assert [file["bytes"] for file in read(recording)["files"]] == [2, 3]  # said again, measured again
    recording.close()
    assert sorted(os.listdir(recording.directory)) == ["a", "b", "stream.json"]


def test_what_a_peer_says_is_escaped_and_nothing_it_says_breaks_the_file(tmp_path: Path) -> None:
    nested: Any = []
    for _ in range(100_000):
        nested = [nested]
    hostile = '"}\n\r\x00\x1b[2J{date}%s\u202e\ud800'
    recording = make(tmp_path, call_id=hostile, parameters={hostile: [hostile, 1e400], "x": {"y": hostile}})
    recording.note([Digit(hostile, 0, 8000), Marked(hostile, 0, 8000)])
    recording.annotate(Annotation("x", None, 0, 1, 8000, {"a": [hostile]}))
    lines = journal(recording)
    content = end(recording, Ended(EndReason.ERROR, False, {}, error=hostile, close_code=1007))
    recording.close()
    assert len(lines) == 4
    cleaned = hostile.replace("\ud800", "?")
    assert content["call_id"] == content["digits"][0]["digit"] == content["marks"][0]["name"] == cleaned
    assert content["parameters"] == {cleaned: [cleaned, None], "x": {"y": cleaned}}
    assert content["annotations"][0]["data"] == {"a": [cleaned]}
    assert content["end"]["error"] == cleaned
    deep = Recording.create(tmp_path, "deep", facts(parameters={"x": nested}))
    assert end(deep)["parameters"] == {"_left_out": "the parameters cannot be written as JSON"}
    deep.close()


def test_the_journal_is_locked_while_the_stream_lives(tmp_path: Path) -> None:
    recording = make(tmp_path)
    descriptor = os.open(recording.directory / "journal.jsonl", os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    end(recording)
    with pytest.raises(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    recording.close()
    recording.close()
    files.shutdown()
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)


@pytest.mark.parametrize("ended", [True, False])
def test_a_journal_that_is_still_wanted_is_kept(tmp_path: Path, ended: bool) -> None:
    recording = make(tmp_path)
    if ended:
        end(recording)
    recording.close(keep_journal=ended)
    assert (recording.directory / "journal.jsonl").exists()


def test_a_journal_that_cannot_be_written_does_not_stop_the_stream(tmp_path: Path) -> None:
    recording = make(tmp_path)
    files.configure(limit_bytes=0)
    recording.note([Digit("1", 0, 8000), Digit("2", 0, 8000)])
    assert isinstance(recording.error, files.FileError)
    assert recording.error.filename == str(recording.directory / "journal.jsonl")
    assert [digit["digit"] for digit in end(recording)["digits"]] == ["1", "2"]
    recording.close()


def test_a_journal_that_cannot_be_started_leaves_no_descriptor(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "journal.jsonl").mkdir()
    with pytest.raises(OSError):
        begin(folder, facts())
    assert len(os.listdir("/proc/self/fd")) == before


def test_threads_may_write_it_while_more_comes(tmp_path: Path) -> None:
    recording = make(tmp_path)
    recording.finish(ENDED, STARTED)
    amenders = [threading.Thread(target=recording.amend) for _ in range(4)]
    for thread in amenders:
        thread.start()
    for number in range(2000):
        recording.note([Digit("1", number, 8000), Gap(f"t{number % 50}", number, number + 1, 8000, Cause.LOST)])
    for thread in amenders:
        thread.join(WAIT_S)
    recording.amend()
    assert len(read(recording)["digits"]) == 2000
    recording.close()
