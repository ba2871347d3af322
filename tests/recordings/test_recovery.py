"""What the next start makes of what a crash left."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from receiver.audio import AudioFormat, Encoding
from receiver.events import Annotation, Cause, Digit, Discontinuity, Ended, EndReason, Gap, Marked, TrackCounters
from receiver.recordings import Recording, SinkEntry, recover
from receiver.recordings.recovery import THREADS
from receiver.stream import Stream, StreamFacts

STARTED = datetime(2026, 11, 21, 8, tzinfo=UTC)


COUNTERS = {"inbound": TrackCounters(8000, length=8000, samples=7840, received=49, placed=49)}


ENDED = Ended(EndReason.STOP, True, COUNTERS)


def make(root: Path, id: str = "0199-ours") -> Recording:
    return Recording.create(
        root,
        "{date}/{stream_id}",
        StreamFacts(
            id=id,
            source="default",
            dialect="twilio",
            stream_id="MZ1",
            call_id=None,
            account_id="AC1",
            tracks=("inbound",),
            format=AudioFormat(Encoding.PCMU, 8000),
            parameters={"who": "Ann"},
            path_parameters={},
            peer_address="192.0.2.1",
            token="main",
            started=STARTED,
        ),
    )


def test_a_crashed_stream_gets_what_its_journal_says(lab: Any, tmp_path: Path) -> None:
    recording = make(tmp_path)
    recording.note(
        [
            Gap("inbound", 0, 160, 8000, Cause.UNSENT),
            Gap("inbound", 160, 320, 8000, Cause.UNSENT),
            Digit("5", 320, 8000),
            Marked("m", 320, 8000),
            Discontinuity("inbound", 320, 8000, 1, 2),
            Annotation("x", "inbound", 0, 10, 8000, {"a": 1}, "s"),
        ]
    )
    (recording.directory / "a.txt").write_bytes(b"abc")
    recording.add_file(recording.directory / "a.txt", "text", "text/plain", "s")
    recording.progress(COUNTERS)
    directory = lab.crash(recording)
    journal = directory / "journal.jsonl"
    os.utime(journal, (STARTED.timestamp() + 5, STARTED.timestamp() + 5))
    assert recover(tmp_path, {}) == [directory]
    content = lab.read(directory)
    assert content["end"] == {"reason": "crash", "stop_received": False, "error": None, "close_code": None}
    assert content["ended"] == "2026-11-21T08:00:05.000Z"
    assert content["duration_s"] == 1.0
    assert content["parameters"] == {"who": "Ann"}
    assert content["tracks"]["inbound"]["counters"]["received"] == 49
    assert content["tracks"]["inbound"]["gaps"] == [{"start": 0, "end": 320, "cause": "unsent"}]
    assert [len(content[name]) for name in ("digits", "marks", "discontinuities", "annotations", "files")] == [1] * 5
    assert content["files"][0]["bytes"] == 3
    assert sorted(os.listdir(directory)) == ["a.txt", "stream.json"]
    before = lab.everything(tmp_path)
    assert recover(tmp_path, {}) == []
    assert lab.everything(tmp_path) == before


def test_a_clock_that_was_put_back_lets_no_stream_end_before_it_began(lab: Any, tmp_path: Path) -> None:
    recording = make(tmp_path)
    recording.progress(COUNTERS)
    directory = lab.crash(recording)
    wrong = STARTED.timestamp() - 15 * 86400
    os.utime(directory / "journal.jsonl", (wrong, wrong))
    assert recover(tmp_path, {}) == [directory]
    content = lab.read(directory)
    assert (content["started"], content["ended"]) == ("2026-11-21T08:00:00.000Z", "2026-11-21T08:00:01.000Z")


@pytest.mark.parametrize(
    "content", [b"", b"garbage\n", b'{"facts":', b'{"digit":{"digit":"1","position":0,"rate":1}}\n']
)
def test_a_journal_of_no_known_stream_is_reported_and_kept_and_stops_nobody(
    capture_logs: Any, lab: Any, tmp_path: Path, content: bytes
) -> None:
    broken = tmp_path / "2026-11-20" / "broken"
    broken.mkdir(parents=True)
    (broken / "journal.jsonl").write_bytes(content)
    directory = lab.crash(make(tmp_path))
    with capture_logs() as logs:
        assert recover(tmp_path, {}) == [directory]
    assert logs[0]["event"] == "recording_not_recovered"
    assert logs[0]["directory"] == str(broken)
    assert lab.everything(broken) == {"journal.jsonl": content}
    assert lab.read(directory)["end"]["reason"] == "crash"


def test_a_live_stream_is_left_alone(lab: Any, tmp_path: Path) -> None:
    recording = make(tmp_path)
    recording.note([Digit("1", 0, 8000)])
    assert recover(tmp_path, {"never": lambda stream: pytest.fail("asked")}) == []
    assert os.listdir(recording.directory) == ["journal.jsonl"]
    recording.finish(ENDED, STARTED)
    recording.close()


def test_a_link_to_somebody_elses_journal_is_not_read(capture_logs: Any, lab: Any, tmp_path: Path) -> None:
    outside = tmp_path / "outside.jsonl"
    outside.write_bytes(b"precious\n")
    folder = tmp_path / "root" / "x"
    folder.mkdir(parents=True)
    (folder / "journal.jsonl").symlink_to(outside)
    with capture_logs() as logs:
        assert recover(tmp_path / "root", {}) == []
    assert [log["event"] for log in logs] == ["recording_not_recovered"]
    assert outside.read_bytes() == b"precious\n"


def test_plugins_finish_their_files_and_say_so(lab: Any, tmp_path: Path) -> None:
    directory = lab.crash(make(tmp_path))
    (directory / "left.part").write_bytes(b"abcd")
    seen: list[Stream] = []

    def finish(stream: Stream) -> None:
        seen.append(stream)
        final = (stream.directory / "left.part").rename(stream.directory / "left")
        stream.add_file(final, kind="text", media_type="text/plain")
        stream.annotate("found", start=0, end=4, rate=8000)
        stream.annotate("perhaps", start=0, end=4, rate=8000, kept=False)

    assert recover(tmp_path, {"mine": finish}) == [directory]
    assert seen[0].facts.stream_id == "MZ1"
    assert seen[0].parameters == {"who": "Ann"}
    content = lab.read(directory)
    assert [(file["path"], file["sink"], file["bytes"]) for file in content["files"]] == [("left", "mine", 4)]
    assert [(note["kind"], note["sink"]) for note in content["annotations"]] == [("found", "mine")]


def test_a_folder_that_cannot_be_read_is_named_and_the_others_are_finished(
    capture_logs: Any, lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.crash(make(tmp_path))
    for name in ("broken", "lost+found"):
        (tmp_path / name).mkdir()
    listed = os.scandir

    def fails(path: Any) -> Any:
        if os.path.basename(path) in ("broken", "lost+found"):
            number = errno.EIO if os.path.basename(path) == "broken" else errno.EACCES
            raise OSError(number, os.strerror(number), path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", fails)
    with capture_logs() as logs:
        assert len(recover(tmp_path, {})) == 1
    unread = [line["directory"] for line in logs if line["event"] == "folder_not_read"]
    assert unread == [str(tmp_path / "broken")]


def test_a_plugin_that_fails_has_another_chance_and_stops_nobody(capture_logs: Any, lab: Any, tmp_path: Path) -> None:
    directory = lab.crash(make(tmp_path))
    (directory / "a").write_bytes(b"a")

    def fail(stream: Stream) -> None:
        raise RuntimeError("not today")

    def work(stream: Stream) -> None:
        stream.add_file(stream.directory / "a", kind="k", media_type="m/t")

    with capture_logs() as logs:
        assert recover(tmp_path, {"bad": fail, "good": work}) == []
    assert [(log["event"], log["sink"], log["problem"]) for log in logs] == [("sink_not_recovered", "bad", "not today")]
    assert [file["path"] for file in lab.read(directory)["files"]] == ["a"]
    (directory / "b").write_bytes(b"b")

    def better(stream: Stream) -> None:
        stream.add_file(stream.directory / "b", kind="k", media_type="m/t")

    assert recover(tmp_path, {"bad": better, "good": work}) == [directory]
    assert sorted(file["path"] for file in lab.read(directory)["files"]) == ["a", "b"]
    assert not (directory / "journal.jsonl").exists()


def test_a_stream_that_had_ended_keeps_its_reason_and_its_document(lab: Any, tmp_path: Path) -> None:
    recording = make(tmp_path)
    (recording.directory / "a").write_bytes(b"a")
    recording.add_file(recording.directory / "a", "k", "m/t", "s")
    recording.finish(ENDED, STARTED)
    directory = lab.crash(recording)
    before = (directory / "stream.json").read_bytes()
    assert recover(tmp_path, {"s": lambda stream: stream.add_file(directory / "a", kind="k", media_type="m/t")}) == [
        directory
    ]
    assert (directory / "stream.json").read_bytes() == before
    assert sorted(os.listdir(directory)) == ["a", "stream.json"]


FAILED = SinkEntry("failed", "FileError: No space left on device", {"inbound": 0.5}, 2)


def test_what_the_document_knows_of_the_sinks_stays_when_files_are_found(lab: Any, tmp_path: Path) -> None:
    recording = make(tmp_path)
    (recording.directory / "a").write_bytes(b"a")
    recording.add_file(recording.directory / "a", "k", "m/t", "s")
    recording.finish(ENDED, STARTED, {"wav": FAILED})
    directory = lab.crash(recording)
    before = lab.read(directory)
    (directory / "short").write_bytes(b"short")

    def finish(stream: Stream) -> None:
        stream.add_file(directory / "short", kind="k", media_type="m/t")

    assert recover(tmp_path, {"wav": finish}) == [directory]
    after = lab.read(directory)
    assert before["sinks"]["wav"]["status"] == "failed" and before["sinks"]["wav"]["dropped_s"] == {"inbound": 0.5}
    before.pop("files")
    assert [(file["path"], file["bytes"]) for file in after.pop("files")] == [("a", 1), ("short", 5)]
    assert after == before


@pytest.mark.parametrize("ended", [False, True])
def test_a_file_that_its_sink_has_replaced_is_no_longer_listed(lab: Any, tmp_path: Path, ended: bool) -> None:
    recording = make(tmp_path)
    for name in ("a.wav", "b.wav", "c.wav"):
        (recording.directory / name).write_bytes(b"long")
        recording.add_file(recording.directory / name, "audio", "audio/wav", "mine")
    if ended:
        recording.finish(ENDED, STARTED, {"mine": FAILED})
    directory = lab.crash(recording)
    (directory / "c.wav").unlink()  # somebody's doing, and nothing is in its place

    def finish(stream: Stream) -> None:
        (directory / "a.flac").write_bytes(b"short")
        stream.add_file(directory / "a.flac", kind="audio", media_type="audio/flac")
        (directory / "a.wav").unlink()

    assert recover(tmp_path, {"mine": finish}) == [directory]
    content = lab.read(directory)
    files = {file["path"]: file["bytes"] for file in content["files"]}
    assert files == {"b.wav": 4, "c.wav": None, "a.flac": 5}


def test_how_the_sinks_fared_is_known_also_where_there_was_no_room_for_the_document(lab: Any, tmp_path: Path) -> None:
    recording = make(tmp_path)
    recording.finish(ENDED, STARTED, {"wav": FAILED})
    directory = lab.crash(recording)
    before = lab.read(directory)
    (directory / "stream.json").unlink()
    assert recover(tmp_path, {}) == [directory]
    assert lab.read(directory) == before
    assert before["sinks"]["wav"]["error"] == FAILED.error


def test_after_a_crash_nothing_is_known_of_the_sinks(lab: Any, tmp_path: Path) -> None:
    directory = lab.crash(make(tmp_path))
    assert recover(tmp_path, {}) == [directory]
    assert lab.read(directory)["sinks"] == {}


def test_what_a_late_sink_said_before_the_crash_is_added_once(lab: Any, tmp_path: Path) -> None:
    recording = make(tmp_path)
    recording.annotate(Annotation("early", None, 0, 1, 8000, {"a": [1.5, "é"]}, "asr"))
    recording.finish(ENDED, STARTED, {"asr": SinkEntry("running", None, {}, 0)})
    for _ in range(2):  # the same, twice
        recording.annotate(Annotation("late", None, 0, 1, 8000, None, "asr"))
    directory = lab.crash(recording)
    assert [note["kind"] for note in lab.read(directory)["annotations"]] == ["early"]

    def fail(stream: Stream) -> None:
        raise RuntimeError("not today")

    for recoverers in ({"bad": fail}, {"bad": fail}, {}):
        recover(tmp_path, recoverers)
        content = lab.read(directory)
        assert [note["kind"] for note in content["annotations"]] == ["early", "late", "late"]
        assert content["sinks"]["asr"]["status"] == "running"
        assert content["end"]["reason"] == "stop"
    assert os.listdir(directory) == ["stream.json"]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"files": 1}', b"\xff", b"[" * 200_000])
def test_a_document_that_is_not_ours_is_reported_and_kept_and_stops_nobody(
    capture_logs: Any, lab: Any, tmp_path: Path, content: bytes
) -> None:
    broken = lab.crash(make(tmp_path, "0198-broken"))
    (broken / "stream.json").write_bytes(content)
    directory = lab.crash(make(tmp_path))
    before = lab.everything(broken)
    with capture_logs() as logs:
        assert recover(tmp_path, {}) == [directory]
    assert [(log["event"], log["directory"]) for log in logs] == [("recording_not_recovered", str(broken))]
    assert "stream.json cannot be read" in logs[0]["problem"]
    assert lab.everything(broken) == before


def test_a_plugin_that_says_what_no_json_holds_has_failed(capture_logs: Any, lab: Any, tmp_path: Path) -> None:
    directory = lab.crash(make(tmp_path))
    with capture_logs() as logs:
        assert recover(tmp_path, {"odd": lambda s: s.annotate("x", start=0, end=1, rate=1, data=object())}) == []
    assert "'x' is not JSON" in logs[0]["problem"]
    assert (directory / "journal.jsonl").exists() and lab.read(directory)["annotations"] == []


def test_a_stream_that_had_ended_without_its_document_gets_it_with_the_reason(lab: Any, tmp_path: Path) -> None:
    recording = make(tmp_path)
    recording.finish(ENDED, STARTED)
    directory = lab.crash(recording)
    (directory / "stream.json").unlink()
    assert recover(tmp_path, {}) == [directory]
    content = lab.read(directory)
    assert content["end"]["reason"] == "stop"
    assert content["tracks"]["inbound"]["counters"]["length"] == 8000


def test_a_root_that_is_not_there_has_nothing_to_recover(lab: Any, tmp_path: Path) -> None:
    assert recover(tmp_path / "none", {}) == []


def test_a_killed_process_leaves_a_folder_that_the_next_start_finishes(lab: Any, tmp_path: Path) -> None:
    program = """
import os, sys, signal
sys.path.insert(0, os.path.dirname(sys.argv[2]))
import importlib.util
from pathlib import Path
from receiver import files
spec = importlib.util.spec_from_file_location("there", sys.argv[2])
there = importlib.util.module_from_spec(spec)
spec.loader.exec_module(there)
recording = there.make(Path(sys.argv[1]))
position = 0
while True:
    recording.note([there.Digit("1", position, 8000)])
    position += 1
    if position == 100:
        recording.progress(there.COUNTERS)
        files.shutdown()
        print("ready", flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path), __file__], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert recover(tmp_path, {}) == []  # it lives
        process.send_signal(signal.SIGKILL)
    (directory,) = recover(tmp_path, {})
    content = lab.read(directory)
    assert content["end"]["reason"] == "crash"
    assert len(content["digits"]) >= 100
    assert content["tracks"]["inbound"]["counters"]["placed"] == 49
    before = lab.everything(tmp_path)
    assert recover(tmp_path, {}) == []
    assert lab.everything(tmp_path) == before


@pytest.mark.parametrize(
    "tail", [b"garbage\n", b'{"digit":7}\n', b"\xff\n", bytes(4096) + b"\n", b"[" * 200_000 + b"\n"]
)
def test_a_damaged_line_is_passed_over_and_kept_for_a_person(
    capture_logs: Any, lab: Any, tmp_path: Path, tail: bytes
) -> None:
    recording = make(tmp_path)
    recording.note([Digit("1", 0, 8000)])
    directory = lab.crash(recording)
    (directory / "journal.jsonl.damaged-1").write_bytes(b"older")
    with (directory / "journal.jsonl").open("ab") as journal:
        journal.write(tail + b'{"digit":{"digit":"2","position":0,"rate":8000}}\n')
    whole = (directory / "journal.jsonl").read_bytes()
    with capture_logs() as logs:
        assert recover(tmp_path, {}) == [directory]
    assert [log["event"] for log in logs] == ["journal_damaged"]
    assert [digit["digit"] for digit in lab.read(directory)["digits"]] == ["1", "2"]
    assert (directory / "journal.jsonl.damaged-2").read_bytes() == whole
    before = lab.everything(tmp_path)
    assert recover(tmp_path, {}) == []
    assert lab.everything(tmp_path) == before


def test_what_is_left_when_it_is_stopped_is_the_next_starts(lab: Any, tmp_path: Path) -> None:
    names = [f"0199-{number:02}" for number in range(20)]
    for name in names:
        lab.crash(make(tmp_path, name))
    stop = threading.Event()
    done = recover(tmp_path, {"sink": lambda stream: stop.set()}, stop.is_set)
    assert 1 <= len(done) <= THREADS  # those that had been begun
    left = recover(tmp_path, {})
    assert [folder.name for folder in sorted([*done, *left])] == names
    assert [folder.name for folder in left] == sorted(folder.name for folder in left)


def test_folders_are_finalised_at_once(lab: Any, tmp_path: Path) -> None:
    for number in range(THREADS):
        lab.crash(make(tmp_path, f"0199-{number}"))
    together = threading.Barrier(THREADS, timeout=lab.WAIT_S)

    def meet(stream: Stream) -> None:
        together.wait()

    assert len(recover(tmp_path, {"sink": meet})) == THREADS


def test_a_mistake_of_ours_is_raised_and_stops_the_others(lab: Any, tmp_path: Path) -> None:
    for number in range(20):
        lab.crash(make(tmp_path, f"0199-{number:02}"))

    class Leaving(BaseException):
        pass

    def leave(stream: Stream) -> None:
        raise Leaving

    with pytest.raises(Leaving):
        recover(tmp_path, {"sink": leave})
    assert len(recover(tmp_path, {})) == 20
