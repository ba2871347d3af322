"""A stream's folder while the stream lives."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from receiver import files
from receiver.events import (
    Annotation,
    Cause,
    Digit,
    Discontinuity,
    Event,
    Frame,
    Gap,
    Marked,
    Passing,
)
from receiver.recordings import SinkEntry, ledger, recover


def test_what_happens_is_journalled_as_it_comes_and_told_at_the_end(lab: Any, tmp_path: Path) -> None:
    recording = lab.make(tmp_path)
    samples = np.zeros(160, np.int16)
    events: list[Event] = [
        Frame("inbound", 0, 8000, samples),
        Gap("inbound", 160, 320, 8000, Cause.LOST),
        Digit("5", 320, 8000, 100, "inbound"),
        Marked("greeting", 320, 8000),
        Discontinuity("inbound", 320, 8000, 40, 9000),
        Annotation("transcript", "inbound", 0, 160, 8000, {"text": "hello"}, "asr"),
        lab.ENDED,
    ]
    recording.note(events)
    recording.progress(lab.ENDED.tracks)
    lines = lab.journal(recording)
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
    content = lab.end(recording)
    recording.close()
    assert content["tracks"]["inbound"]["gaps"] == [{"start": 160, "end": 320, "cause": "lost"}]
    assert content["digits"] == [{"digit": "5", "position": 320, "rate": 8000, "duration_ms": 100, "track": "inbound"}]
    assert content["marks"] == [{"name": "greeting", "position": 320, "rate": 8000}]
    assert content["discontinuities"][0]["peer_ms_after"] == 9000
    assert content["annotations"][0]["data"] == {"text": "hello"}
    assert content["omitted"] == {}


def test_an_annotation_that_is_not_json_is_refused_by_name(lab: Any, tmp_path: Path) -> None:
    recording = lab.make(tmp_path)
    with pytest.raises(ValueError, match=r"sink asr: the data of annotation 'x' is not JSON"):
        recording.annotate(Annotation("x", None, 0, 1, 8000, object(), "asr"))
    assert lab.end(recording)["annotations"] == []
    recording.close()


def test_a_passing_annotation_is_copied_and_kept_nowhere(lab: Any, tmp_path: Path) -> None:
    recording = lab.make(tmp_path)
    data = ["before"]
    said = recording.annotate(Passing("x", None, 0, 1, 8000, data, "asr"))
    data.append("after")
    assert isinstance(said, Passing) and (said.data, said.sink) == (["before"], "asr")
    with pytest.raises(ValueError, match="not JSON"):
        recording.annotate(Passing("x", None, 0, 1, 8000, object(), "asr"))
    content = lab.end(recording)
    assert content["annotations"] == [] and content["omitted"] == {}


def test_an_annotation_is_kept_as_it_was_said(lab: Any, tmp_path: Path) -> None:
    recording = lab.make(tmp_path)
    data = ["before"]
    said = recording.annotate(Annotation("x", None, 0, 1, 8000, data))
    data[0] = "after"
    assert said == Annotation("x", None, 0, 1, 8000, ["before"])
    assert lab.end(recording)["annotations"][0]["data"] == ["before"]
    recording.close()


def test_a_file_may_be_named_through_a_link_and_none_from_outside(lab: Any, tmp_path: Path) -> None:
    recording = lab.make(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    there = tmp_path / "link" / "2026-11-21" / "0199-ours" / "a.txt"
    there.write_bytes(b"abc")
    recording.add_file(there, "text", "text/plain", "mine")
    with pytest.raises(ValueError):
        recording.add_file(tmp_path / "x", "text", "text/plain", "mine")
    assert [file["path"] for file in lab.end(recording)["files"]] == ["a.txt"]
    recording.close()


def test_late_facts_amend_the_document(lab: Any, tmp_path: Path) -> None:
    recording = lab.make(tmp_path)
    with pytest.raises(ValueError, match="has not ended"):
        recording.amend()
    (recording.directory / "a").write_bytes(b"1")
    recording.add_file(recording.directory / "a", "k", "m/t", "s")
    assert lab.end(recording)["files"][0]["bytes"] == 1
    (recording.directory / "a").write_bytes(b"22")
    (recording.directory / "b").write_bytes(b"333")
    recording.add_file(recording.directory / "b", "k", "m/t", "s")
    recording.annotate(Annotation("late", None, 0, 1, 8000))
    recording.amend()
    content = lab.read(recording.directory)
    assert [file["bytes"] for file in content["files"]] == [1, 3]  # measured once
    assert content["annotations"][0]["kind"] == "late"
    recording.add_file(recording.directory / "a", "k", "m/t", "s")
    recording.amend()
    assert [file["bytes"] for file in lab.read(recording.directory)["files"]] == [2, 3]  # said again, measured again
    recording.close()
    assert sorted(os.listdir(recording.directory)) == ["a", "b", "stream.json"]


def test_threads_may_write_it_while_more_comes(lab: Any, tmp_path: Path) -> None:
    recording = lab.make(tmp_path)
    recording.finish(lab.ENDED, lab.STARTED)
    amenders = [threading.Thread(target=recording.amend) for _ in range(4)]
    for thread in amenders:
        thread.start()
    for number in range(2000):
        recording.note([Digit("1", number, 8000), Gap(f"t{number % 50}", number, number + 1, 8000, Cause.LOST)])
    for thread in amenders:
        thread.join(lab.WAIT_S)
    recording.amend()
    assert len(lab.read(recording.directory)["digits"]) == 2000
    recording.close()


def test_adjacent_gaps_of_one_cause_are_one_gap(lab: Any, tmp_path: Path) -> None:
    recording = lab.make(tmp_path)
    pieces = [(0, 160, Cause.UNSENT), (160, 320, Cause.UNSENT), (320, 480, Cause.LOST), (640, 800, Cause.LOST)]
    recording.note([Gap("inbound", start, stop, 8000, cause) for start, stop, cause in pieces])
    recording.note([Gap("outbound", 0, 100, 8000, Cause.LOST)])
    recording.note([Gap("inbound", 800, 900, 8000, Cause.LOST)])
    recording.progress({})
    recording.progress({})
    told = [line["gap"] for line in lab.journal(recording) if "gap" in line]
    assert [(gap["track"], gap["start"], gap["end"]) for gap in told] == [
        ("inbound", 0, 160),
        ("inbound", 0, 320),  # longer than the journal knew when the next one came
        ("inbound", 320, 480),
        ("inbound", 640, 800),
        ("outbound", 0, 100),
        ("inbound", 640, 900),  # longer when progress was told
    ]
    content = lab.end(recording)
    recording.close()
    assert [(gap["start"], gap["end"], gap["cause"]) for gap in content["tracks"]["inbound"]["gaps"]] == [
        (0, 320, "unsent"),
        (320, 480, "lost"),
        (640, 900, "lost"),
    ]


def test_every_list_is_bounded_and_says_so(lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for bound in ("MAX_GAPS", "MAX_SEEN", "MAX_ANNOTATIONS", "MAX_FILES"):
        monkeypatch.setattr(ledger, bound, 3)
    monkeypatch.setattr(ledger, "MAX_TRACKS", 2)
    recording = lab.make(tmp_path)
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
    lines = lab.journal(recording)
    content = lab.end(recording)
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


def test_annotations_are_bounded_in_bytes(lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MAX_ANNOTATION_BYTES", 10_000)
    recording = lab.make(tmp_path)
    kept = [recording.annotate(Annotation("x", None, 0, 1, 8000, "y" * 4000)) for _ in range(3)]
    assert [said is not None for said in kept] == [True, True, False]
    content = lab.end(recording)
    recording.close()
    assert len(content["annotations"]) == 2
    assert content["omitted"] == {"annotations": 1}


def test_how_the_sinks_fared_is_told_at_the_end_and_told_again_when_late_ones_are_done(
    lab: Any, tmp_path: Path
) -> None:
    recording = lab.make(tmp_path)
    running, failed = SinkEntry("running", None, {}, 0), SinkEntry("failed", "OSError: full", {"inbound": 1.25}, 3, 2)
    recording.finish(lab.ENDED, lab.STARTED, {"wav": failed, "late": running})
    told = lab.read(recording.directory)["sinks"]
    assert told == {
        "wav": {
            "status": "failed",
            "error": "OSError: full",
            "dropped_s": {"inbound": 1.25},
            "events_dropped": 3,
            "restarts": 2,
        },
        "late": {"status": "running", "error": None, "dropped_s": {}, "events_dropped": 0, "restarts": 0},
    }
    recording.amend()
    assert lab.read(recording.directory)["sinks"] == told
    recording.amend({"wav": failed, "late": SinkEntry("ok", None, {}, 0)})
    assert lab.read(recording.directory)["sinks"]["late"]["status"] == "ok"
    recording.close()


def test_threads_may_annotate_and_add_files_beside_the_thread_that_notes(lab: Any, tmp_path: Path) -> None:
    recording = lab.make(tmp_path)

    def say(name: str) -> None:
        for number in range(200):
            recording.annotate(Annotation(name, None, number, number, 8000, {"n": number}, name))
            recording.add_file(recording.directory / f"{name}-{number}", "k", "m/t", name)

    sayers = [threading.Thread(target=say, args=(f"s{number}",)) for number in range(4)]
    for thread in sayers:
        thread.start()
    for number in range(1000):
        recording.note([Digit("1", number, 8000)])
    for thread in sayers:
        thread.join(lab.WAIT_S)
    lines = lab.journal(recording)
    content = lab.end(recording)
    recording.close()
    assert len(lines) == 1 + 1000 + 4 * 400
    for number in range(4):
        mine = [note["start"] for note in content["annotations"] if note["sink"] == f"s{number}"]
        assert mine == list(range(200))
    assert len(content["files"]) == 800 and len(content["digits"]) == 1000


def test_what_is_said_when_all_is_over_is_too_late_and_no_mistake(lab: Any, tmp_path: Path) -> None:
    recording = lab.make(tmp_path)
    lab.end(recording)
    recording.close()
    recording.annotate(Annotation("late", None, 0, 1, 8000))
    recording.add_file(recording.directory / "late", "k", "m/t", "s")
    assert recording.error is None
    assert os.listdir(recording.directory) == ["stream.json"]


def test_a_disk_that_is_full_from_the_start_leaves_no_folder(
    lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, data: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            lab.make(tmp_path)
    assert os.listdir(tmp_path / "2026-11-21") == []
    lab.make(tmp_path).close()


@pytest.mark.parametrize("ended", [True, False])
def test_a_journal_that_is_still_wanted_is_kept(lab: Any, tmp_path: Path, ended: bool) -> None:
    recording = lab.make(tmp_path)
    if ended:
        lab.end(recording)
    recording.close(keep_journal=ended)
    assert (recording.directory / "journal.jsonl").exists()


def test_a_folder_that_is_erased_as_soon_as_its_journal_is_gone_was_closed_all_the_same(
    lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = lab.make(tmp_path)
    lab.end(recording)
    unlink = os.unlink

    def and_erase(path: Any, **relative: Any) -> None:
        unlink(path, **relative)
        monkeypatch.undo()
        shutil.rmtree(recording.directory)

    monkeypatch.setattr(os, "unlink", and_erase)
    recording.close()
    assert not recording.directory.exists()


def test_a_journal_that_cannot_be_written_does_not_stop_the_stream(lab: Any, tmp_path: Path) -> None:
    recording = lab.make(tmp_path)
    files.configure(limit_bytes=0)
    recording.note([Digit("1", 0, 8000), Digit("2", 0, 8000)])
    assert isinstance(recording.error, files.FileError)
    assert recording.error.filename == str(recording.directory / "journal.jsonl")
    assert [digit["digit"] for digit in lab.end(recording)["digits"]] == ["1", "2"]
    recording.close()


def test_a_journal_goes_on_when_the_disk_takes_it_again_and_nothing_is_missing_in_it(lab: Any, tmp_path: Path) -> None:
    recording = lab.make(tmp_path)
    recording.note([Digit("1", 0, 8000), Gap("inbound", 0, 160, 8000, Cause.LOST)])
    lab.journal(recording)
    files.configure(limit_bytes=0)  # the disk is too far behind
    recording.note(
        [
            Digit("2", 1, 8000),
            Gap("inbound", 160, 320, 8000, Cause.LOST),
            Marked("m", 2, 8000),
            Discontinuity("inbound", 320, 8000, 40, 9000),
            Annotation("x", None, 0, 1, 8000, {"n": "\ud800"}),
        ]
    )
    recording.add_file(recording.directory / "a.txt", "text", "text/plain", "s")
    recording.progress(lab.ENDED.tracks)
    assert recording.error is not None
    files.configure()
    recording.mend()
    assert recording.error is None
    recording.mend()  # there is nothing to mend
    recording.note([Digit("3", 3, 8000)])
    directory = lab.crash(recording)
    assert recover(tmp_path, {}) == [directory]
    content = lab.read(directory)
    assert [digit["digit"] for digit in content["digits"]] == ["1", "2", "3"]
    assert content["tracks"]["inbound"]["gaps"] == [{"start": 0, "end": 320, "cause": "lost"}]
    assert content["tracks"]["inbound"]["counters"]["samples"] == 15000
    assert [mark["name"] for mark in content["marks"]] == ["m"]
    assert len(content["discontinuities"]) == len(content["annotations"]) == 1
    assert [file["path"] for file in content["files"]] == ["a.txt"]


def test_while_a_journal_is_written_anew_nobody_else_takes_the_folder(lab: Any, tmp_path: Path) -> None:
    recording = lab.make(tmp_path)
    files.configure(limit_bytes=0)
    recording.note([Digit("1", 0, 8000)])
    files.configure()
    stop = threading.Event()
    taken: list[Path] = []

    def look() -> None:
        while not stop.is_set():
            taken.extend(recover(tmp_path, {}))

    looker = threading.Thread(target=look)
    looker.start()
    for number in range(100):
        recording.error = files.FileError(errno.EIO, "as if", "journal.jsonl")
        recording.note([Digit("2", number, 8000)])
        recording.mend()
    stop.set()
    looker.join(lab.WAIT_S)
    assert taken == []
    assert len(lab.journal(recording)) == 1 + 101
    lab.end(recording)
    recording.close()


def test_a_journal_that_cannot_be_written_anew_is_tried_again(lab: Any, tmp_path: Path) -> None:
    recording = lab.make(tmp_path)
    files.configure(limit_bytes=0)
    recording.note([Digit("1", 0, 8000)])
    files.configure()
    away = recording.directory.with_name("away")
    recording.directory.rename(away)
    with pytest.raises(FileNotFoundError):
        recording.mend()
    recording.note([Digit("2", 0, 8000)])
    away.rename(recording.directory)
    (recording.directory / "journal.jsonl.new").write_bytes(b"half a li")  # what such an attempt may leave
    recording.mend()
    assert [line["digit"]["digit"] for line in lab.journal(recording) if "digit" in line] == ["1", "2"]
    lab.end(recording)
    recording.close()
    recording.mend()  # it is over
    assert os.listdir(recording.directory) == ["stream.json"]


def test_what_is_said_while_the_journal_is_written_anew_follows_it(lab: Any, tmp_path: Path) -> None:
    recording = lab.make(tmp_path)
    stop = threading.Event()

    def say() -> None:
        number = 0
        while not stop.is_set() or number < 50:
            recording.annotate(Annotation("x", None, number, number, 8000))
            number += 1

    sayer = threading.Thread(target=say)
    sayer.start()
    for _ in range(30):
        recording.error = files.FileError(errno.EIO, "as if", "journal.jsonl")
        recording.mend()
    stop.set()
    sayer.join(lab.WAIT_S)
    lines = [line["annotation"]["start"] for line in lab.journal(recording) if "annotation" in line]
    assert lines == list(range(len(lines)))
    assert len(lines) == len(lab.end(recording)["annotations"])
    recording.close()
