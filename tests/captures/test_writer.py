"""Writing captures on the writer thread: nothing waits, and what is written is good to its last whole line."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from receiver import files
from receiver.captures.capture import Batch, End, Header, Pause
from receiver.captures.reader import CaptureReader, NoHeader
from receiver.captures.writer import WAITING_BYTES, CaptureWriter
from receiver.events import EndReason
from receiver.files import FileError

WAIT_S = 20
HEADER = Header(version=1, source="here")
END = End(2.0, EndReason.CLOSE, 1000, "bye")


@pytest.fixture(autouse=True)
def _default_limit() -> Iterator[None]:
    yield
    files.configure()
    files.shutdown()


def entries(path: Path) -> list[object]:
    try:
        with CaptureReader(path) as reader:
            assert reader.header == HEADER
            return list(reader)
    except NoHeader:
        return []


def eventually(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(WAIT_S * 100):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it did not happen")


def test_what_comes_before_the_folder_is_there_waits_for_it(tmp_path: Path) -> None:
    writer = CaptureWriter()
    writer.take(0.0, ['{"event":"connected"}'])
    writer.pause(Pause(0.5, None))
    assert not writer.over
    writer.open(tmp_path / "a.jsonl", HEADER)
    writer.take(1.0, [330, b"\x00"])
    writer.take(1.5, [])
    done = writer.end(END)
    assert done is not None
    assert done.result(WAIT_S) == (tmp_path / "a.jsonl").stat().st_size
    assert writer.close() is done
    assert writer.over
    assert entries(tmp_path / "a.jsonl") == [
        Batch(0.0, ['{"event":"connected"}']),
        Pause(0.5, None),
        Batch(1.0, [330, b"\x00"]),
        END,
    ]
    assert (tmp_path / "a.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_stream_that_ended_before_its_folder_was_there_is_written_too(tmp_path: Path) -> None:
    writer = CaptureWriter()
    writer.take(0.0, ["a"])
    assert writer.end(END) is None
    assert writer.over
    writer.open(tmp_path / "a.jsonl", HEADER)
    assert not writer.over
    done = writer.close()
    assert done is not None
    done.result(WAIT_S)
    assert entries(tmp_path / "a.jsonl") == [Batch(0.0, ["a"]), END]


def test_what_is_not_to_be_kept_leaves_nothing(tmp_path: Path) -> None:
    writer = CaptureWriter()
    writer.take(0.0, ["a"])
    writer.discard()
    writer.take(1.0, ["a"])
    assert writer.end(END) is None
    assert writer.over
    assert list(tmp_path.iterdir()) == []


def test_what_comes_after_the_end_is_not_written(tmp_path: Path) -> None:
    writer = CaptureWriter()
    writer.open(tmp_path / "a.jsonl", HEADER)
    done = writer.end(END)
    writer.take(3.0, ["a"])
    writer.end(END)
    assert done is not None
    done.result(WAIT_S)
    assert entries(tmp_path / "a.jsonl") == [END]


def test_closed_without_a_last_line_it_is_as_after_a_crash(tmp_path: Path) -> None:
    writer = CaptureWriter()
    writer.open(tmp_path / "a.jsonl", HEADER)
    writer.take(1.0, ["a"])
    done = writer.close()
    assert done is not None
    done.result(WAIT_S)
    assert entries(tmp_path / "a.jsonl") == [Batch(1.0, ["a"])]


def test_what_is_taken_is_on_the_disk_within_a_moment(tmp_path: Path) -> None:
    writer = CaptureWriter()
    writer.open(tmp_path / "a.jsonl", HEADER)
    writer.take(1.0, ["a"])
    eventually(lambda: (tmp_path / "a.jsonl").exists() and entries(tmp_path / "a.jsonl") == [Batch(1.0, ["a"])])
    assert not writer.over
    writer.close()


def test_an_existing_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("precious")
    writer = CaptureWriter()
    writer.open(path, HEADER)
    done = writer.end(END)
    assert done is not None
    with pytest.raises(FileError, match=r"a\.jsonl"):
        done.result(WAIT_S)
    assert writer.over
    assert path.read_text() == "precious"


def test_a_full_disk_ends_the_capture_at_its_last_whole_line_and_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = CaptureWriter()
    writer.open(path, HEADER)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        for number in range(1000):
            writer.take(float(number), ["x" * 100])
            if number % 10 == 0:
                files.flush()
        done = writer.end(END)
        assert done is not None
        with pytest.raises(FileError, match=r"a\.jsonl"):
            done.result(WAIT_S)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert writer.over
    found = entries(path)
    assert found == [Batch(float(number), ["x" * 100]) for number in range(len(found))]


def test_a_disk_that_is_too_far_behind_ends_the_capture_without_a_hole(tmp_path: Path) -> None:
    writer = CaptureWriter()
    writer.open(tmp_path / "a.jsonl", HEADER)
    writer.take(1.0, ["a"])
    eventually(lambda: (tmp_path / "a.jsonl").exists() and len(entries(tmp_path / "a.jsonl")) == 1)
    files.configure(limit_bytes=10)
    writer.take(2.0, ["b" * 1000])
    assert isinstance(writer.error, FileError)
    files.configure()
    writer.take(3.0, ["c"])
    eventually(lambda: writer.over)
    done = writer.end(END)
    assert done is not None
    with pytest.raises(FileError, match="behind"):
        done.result(WAIT_S)
    assert entries(tmp_path / "a.jsonl") == [Batch(1.0, ["a"])]


def test_a_peer_that_says_too_much_before_its_stream_starts_gets_no_capture(tmp_path: Path) -> None:
    writer = CaptureWriter()
    for number in range(WAITING_BYTES // 100_000 + 1):
        writer.take(float(number), ["x" * 100_000])
    writer.take(99.0, ["x"])
    writer.open(tmp_path / "a.jsonl", HEADER)
    writer.take(100.0, ["x"])
    done = writer.end(END)
    assert done is not None
    with pytest.raises(OSError, match=r"before the stream had its folder.*a\.jsonl"):
        done.result(WAIT_S)
    assert entries(tmp_path / "a.jsonl") == []


def test_so_does_one_that_sends_very_many_small_messages() -> None:
    writer = CaptureWriter()
    for number in range(WAITING_BYTES // 200 + 1):
        writer.take(float(number), [""])
    assert writer.error is not None


def test_it_follows_no_link(tmp_path: Path) -> None:
    os.symlink(tmp_path / "elsewhere", tmp_path / "a.jsonl")
    writer = CaptureWriter()
    writer.open(tmp_path / "a.jsonl", HEADER)
    done = writer.close()
    assert done is not None
    with pytest.raises(FileError):
        done.result(WAIT_S)
    assert not (tmp_path / "elsewhere").exists()
