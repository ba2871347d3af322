"""The journal: its lines, its lock, and what is made of a damaged one."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from receiver import files
from receiver.events import Annotation, Cause, Digit, Discontinuity, Gap, Marked, TrackCounters
from receiver.recordings import recover
from receiver.recordings.journal import (
    End,
    JournalError,
    Line,
    begin,
    encode,
    encode_annotation,
    lines_of,
    lock,
    read,
    sayable,
)
from receiver.recordings.ledger import FileEntry, Ledger, SinkEntry
from receiver.stream import StreamFacts

FIRST_STREAMS = """
import sys, threading
from datetime import UTC, datetime
sys.setswitchinterval(1e-6)
from receiver.audio import AudioFormat, Encoding
from receiver.captures.capture import decode_header
from receiver.events import Passing
from receiver.recordings.journal import encode_annotation, sayable
from receiver.stream import StreamFacts

facts = StreamFacts(
    id="x", source="default", dialect="twilio", stream_id="t", call_id="c", account_id=None, tracks=(), parameters={},
    format=AudioFormat(Encoding.PCMU, 8000), path_parameters={}, peer_address="", token=None, started=datetime.now(UTC),
)
said = Passing("level", "inbound", 0, 160, 8000, {"db": -3}, "levels")
begin = threading.Barrier(8)

def first():
    begin.wait()
    sayable(facts)
    encode_annotation(said)
    decode_header(b'{"version":1}')

threads = [threading.Thread(target=first) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("alive")
"""


@pytest.mark.parametrize("attempt", range(3))
def test_streams_that_are_the_first_ones_at_once_do_not_crash_the_process(attempt: int) -> None:
    """msgspec learns a type when it is used first, and must not be interrupted by another thread meanwhile."""
    done = subprocess.run([sys.executable, "-c", FIRST_STREAMS], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


def test_the_journal_is_locked_while_the_stream_lives(lab: Any, tmp_path: Path) -> None:
    recording = lab.make(tmp_path)
    descriptor = os.open(recording.directory / "journal.jsonl", os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    lab.end(recording)
    with pytest.raises(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    recording.close()
    recording.close()
    files.shutdown()
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)


def test_a_journal_that_cannot_be_started_leaves_no_descriptor(lab: Any, tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "journal.jsonl").mkdir()
    with pytest.raises(OSError):
        begin(folder, lab.facts())
    assert len(os.listdir("/proc/self/fd")) == before
    assert os.listdir(folder) == ["journal.jsonl"]  # nor its beginning


def test_a_journal_that_is_begun_anew_says_all_that_is_known(lab: Any, tmp_path: Path) -> None:
    known = Ledger()
    known.add_gap(Gap("inbound", 160, 320, 8000, Cause.LOST))
    for seen in (Digit("5", 320, 8000), Marked("greeting", 320, 8000), Discontinuity("inbound", 320, 8000, 40, 9000)):
        known.add_seen(seen)
    known.add_annotation(encode_annotation(Annotation("level", "inbound", 0, 160, 8000, {"db": -3}, "levels"))[0])
    known.add_file(FileEntry("inbound.wav", "audio", "audio/wav", "wav"))
    known.add_counters(lab.ENDED.tracks)
    known.sinks = {"wav": SinkEntry("ok", None, {}, 0)}
    end = End(lab.ENDED, datetime(2026, 11, 21, tzinfo=UTC))
    begin(tmp_path, lab.facts(), lines_of(known, end)).close().result(20)
    descriptor = os.open(tmp_path / "journal.jsonl", os.O_RDONLY)
    try:
        facts, ledger, its_end, unread = read(descriptor)
    finally:
        os.close(descriptor)
    assert (facts, its_end, unread) == (lab.facts(), end, 0)
    assert lines_of(ledger, its_end) == lines_of(known, end)


def test_a_line_that_was_being_written_is_left_out(lab: Any, tmp_path: Path) -> None:
    recording = lab.make(tmp_path)
    recording.note([Digit("1", 0, 8000)])
    directory = lab.crash(recording)
    with (directory / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"digit":{"digit":"2","pos')
    assert recover(tmp_path, {}) == [directory]
    assert [digit["digit"] for digit in lab.read(directory)["digits"]] == ["1"]
    assert os.listdir(directory) == ["stream.json"]


def test_a_line_of_a_later_version_is_passed_over(lab: Any, tmp_path: Path) -> None:
    directory = lab.crash(lab.make(tmp_path))
    with (directory / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"news":1}\n{"digit":{"digit":"2","position":0,"rate":8000}}\n')
    assert recover(tmp_path, {}) == [directory]
    assert [digit["digit"] for digit in lab.read(directory)["digits"]] == ["2"]


@pytest.mark.parametrize("again", ["no", "another one"])
def test_two_processes_that_start_at_once_do_not_finish_a_stream_twice(
    lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    directory = lab.crash(lab.make(tmp_path))
    real = fcntl.flock

    def slow(descriptor: int, operation: int) -> None:
        (directory / "journal.jsonl").unlink()  # the other process is through before we have the lock
        if again == "another one":
            (directory / "journal.jsonl").write_bytes(b"not ours")
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", slow)
    assert recover(tmp_path, {}) == []
    assert not (directory / "stream.json").exists()


def test_a_journal_that_went_meanwhile_is_nobodys(lab: Any, tmp_path: Path) -> None:
    assert lock(tmp_path / "journal.jsonl") is None


def test_a_file_system_without_locks_is_reported(
    capture_logs: Any, lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = lab.crash(lab.make(tmp_path))

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with capture_logs() as logs:
        assert recover(tmp_path, {}) == []
    assert "No locks available" in logs[0]["problem"]
    assert os.listdir(directory) == ["journal.jsonl"]


def written(lab: Any, folder: Path, *lines: Line, facts: StreamFacts | None = None) -> int:
    """The descriptor of a journal with these lines behind its first one, as a dead process leaves it."""
    file = begin(folder, facts or lab.facts())
    for line in lines:
        file.append(encode(line) + b"\n")
    file.close().result(lab.WAIT_S)
    descriptor = lock(folder / "journal.jsonl")
    assert descriptor is not None
    return descriptor


def test_every_kind_of_line_is_read_back_as_it_was_written(lab: Any, tmp_path: Path) -> None:
    counters = {"inbound": TrackCounters(8000, length=320, received=2)}
    gaps = [Gap("inbound", 0, 160, 8000, Cause.LOST), Gap("inbound", 0, 320, 8000, Cause.LOST)]
    digit, mark = Digit("5", 1, 8000, 100, "inbound"), Marked("m", 2, 8000)
    jump, said = Discontinuity("inbound", 3, 8000, 40, None), Annotation("x", None, 0, 1, 8000, {"a": [1]}, "s")
    file = FileEntry("a/b", "text", "text/plain", "s")
    lines = [*(Line(gap=gap) for gap in gaps), Line(digit=digit), Line(mark=mark), Line(discontinuity=jump)]
    fared = Line(sinks={"s": SinkEntry("ok", None, {"inbound": 0.5}, 1)})
    descriptor = written(lab, tmp_path, *lines, Line(annotation=said), Line(file=file), Line(progress=counters), fared)
    facts, ledger, end, unread = read(descriptor)
    os.close(descriptor)
    assert (facts, end, unread) == (lab.facts(), None, 0)
    assert ledger.gaps == {"inbound": [gaps[1]]}
    assert (ledger.digits, ledger.marks, ledger.discontinuities) == ([digit], [mark], [jump])
    assert [msgspec.json.decode(one, type=Annotation) for one in ledger.annotations] == [said]
    assert (ledger.files, ledger.counters, ledger.sinks) == ({"a/b": file}, counters, fared.sinks)


def test_the_end_brings_the_last_counters(lab: Any, tmp_path: Path) -> None:
    end = End(lab.ENDED, lab.STARTED)
    descriptor = written(lab, tmp_path, Line(progress={}), Line(end=end), Line())
    _, ledger, found, _ = read(descriptor)
    os.close(descriptor)
    assert found == end
    assert ledger.counters == lab.ENDED.tracks


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "there is no whole line"),
        (b'{"facts":', "there is no whole line"),
        (b"garbage\n", "not a stream's facts: "),
        (b"{}\n", "not a stream's facts$"),
    ],
)
def test_a_journal_that_does_not_say_whose_it_is_cannot_be_read(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "journal.jsonl").write_bytes(content)
    descriptor = lock(tmp_path / "journal.jsonl")
    assert descriptor is not None
    with pytest.raises(JournalError, match=said):
        read(descriptor)
    os.close(descriptor)


def test_facts_are_kept_as_far_as_json_can_say_them(lab: Any) -> None:
    assert sayable(lab.facts()) == lab.facts()
    told = sayable(lab.facts(call_id="\ud800", parameters={"\ud800": ["\ud800", 1, {"x": (2,)}]}))
    assert (told.call_id, told.parameters) == ("?", {"?": ["?", 1, {"x": [2]}]})
    left_out = {"_left_out": "the parameters cannot be written as JSON"}
    assert sayable(lab.facts(parameters={"x": object()})).parameters == left_out


def test_who_writes_into_a_streams_parameters_changes_nothing_that_is_kept_and_the_rest_is_shared(lab: Any) -> None:
    facts = lab.facts(call_id="a call of theirs", parameters={"queue": ["sales"]})
    kept = sayable(facts)
    facts.parameters["queue"].append("support")
    assert kept.parameters == {"queue": ["sales"]}
    assert kept.call_id is facts.call_id


def test_a_journal_in_the_hands_of_a_live_process_is_not_given_out(lab: Any, tmp_path: Path) -> None:
    file = begin(tmp_path, lab.facts())
    assert lock(tmp_path / "journal.jsonl") is None
    file.close().result(lab.WAIT_S)


def test_a_damaged_line_costs_itself_and_is_counted(lab: Any, tmp_path: Path) -> None:
    file = begin(tmp_path, lab.facts())
    digits = [b'{"digit":{"digit":"%d","position":0,"rate":8000}}\n' % number for number in range(3)]
    file.append(digits[0] + b"garbage\n" + digits[1] + b'{"digit":{"digit":"2"}}\n' + digits[2] + b'{"torn')
    file.close().result(lab.WAIT_S)
    descriptor = lock(tmp_path / "journal.jsonl")
    assert descriptor is not None
    _, ledger, _, unread = read(descriptor)
    os.close(descriptor)
    assert ([digit.digit for digit in ledger.digits], unread) == (["0", "1", "2"], 8 + 24)


def test_an_annotation_is_encoded_as_it_will_be_read_and_the_answer_is_a_copy() -> None:
    data = {"words": ["a"], "at": (1, 2), "odd": float("nan")}
    encoded, said = encode_annotation(Annotation("x", None, 0, 1, 8000, data, "asr"))
    data["words"] = []
    assert said == Annotation("x", None, 0, 1, 8000, {"words": ["a"], "at": [1, 2], "odd": None}, "asr")
    assert msgspec.json.decode(encoded, type=Annotation) == said


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "data", [object(), np.float32(1), np.int64(1), np.zeros(2), {(1, 2): 3}, msgspec.Raw(b"[1"), nested(100_000)]
)
def test_an_annotation_that_json_cannot_say_is_refused_by_name(data: Any) -> None:
    with pytest.raises(ValueError, match="sink asr: the data of annotation 'x' is not JSON: "):
        encode_annotation(Annotation("x", None, 0, 1, 8000, data, "asr"))
