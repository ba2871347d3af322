"""A live stream's past, read from the capture that is being written."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from receiver.captures.capture import End, Header
from receiver.captures.history import CaptureHistory
from receiver.captures.writer import CaptureWriter
from receiver.events import Ended, EndReason, Event, Frame, Gap
from receiver.sessions.settings import SessionSettings

HEADER = Header(version=1)
WAIT_S = 20


@pytest.fixture
def writer(words: Any) -> CaptureWriter:
    writer = CaptureWriter()
    writer.take(0.0, [words.connected, words.start()])
    return writer


def read(history: CaptureHistory, until: Callable[[list[Event]], bool]) -> list[Event]:
    """Read until it is enough, or nothing more will come."""
    found: list[Event] = []
    pause = threading.Event()
    for _ in range(WAIT_S * 100):
        if (events := history.read()) is None:
            return found
        found += events
        if until(found):
            return found
        if not events:
            pause.wait(0.01)
    raise AssertionError(f"not enough came: {found}")


def ends(events: list[Event]) -> list[int]:
    return [event.end for event in events if isinstance(event, Frame | Gap)]


def test_it_follows_what_is_written_to_the_end(tmp_path: Path, writer: CaptureWriter, words: Any) -> None:
    history = CaptureHistory(writer, SessionSettings())
    assert history.read() == []
    writer.open(tmp_path / "a.jsonl", HEADER)
    writer.take(0.06, [words.media(1), words.media(2)])
    assert ends(read(history, lambda found: len(found) >= 2)) == [320]
    assert history.read() == []
    writer.take(0.12, [words.media(3)])
    assert ends(read(history, lambda found: bool(found))) == [480]
    writer.end(End(1.0, EndReason.CLOSE))
    assert isinstance(read(history, lambda found: False)[-1], Ended)
    assert history.read() is None


def test_long_silences_and_withheld_spans_are_passed_over(tmp_path: Path, writer: CaptureWriter, words: Any) -> None:
    """A span in which nothing happened is not the end."""
    writer.open(tmp_path / "a.jsonl", HEADER)
    for second in range(1, 60):
        writer.take(float(second), [330])
    writer.take(60.0, [words.media(1)])
    done = writer.end(End(61.0, EndReason.CLOSE))
    assert done is not None
    done.result(WAIT_S)
    history = CaptureHistory(writer, SessionSettings())
    found = read(history, lambda found: False)
    assert ends(found) == [160]
    assert isinstance(found[-1], Ended)


def test_a_read_gives_about_a_second(tmp_path: Path, writer: CaptureWriter, words: Any) -> None:
    writer.open(tmp_path / "a.jsonl", HEADER)
    for number in range(1, 501):
        writer.take(number / 50, [words.media(number)])
    done = writer.end(End(11.0, EndReason.CLOSE))
    assert done is not None
    done.result(WAIT_S)
    history = CaptureHistory(writer, SessionSettings())
    reads = []
    while (events := history.read()) is not None:
        reads.append(sum(len(event.samples) for event in events if isinstance(event, Frame)))
    assert sum(reads) == 80_000
    assert max(reads) <= 1.1 * 8000


def test_a_stream_whose_capture_is_not_kept_has_no_past(writer: CaptureWriter) -> None:
    history = CaptureHistory(writer, SessionSettings())
    assert history.read() == []
    writer.discard()
    writer.close()
    assert history.read() is None


def test_a_capture_that_could_not_be_written_ends_where_it_does(
    tmp_path: Path, writer: CaptureWriter, words: Any
) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"")
    writer.open(tmp_path / "a.jsonl", HEADER)
    history = CaptureHistory(writer, SessionSettings())
    writer.close()
    assert read(history, lambda found: False) == []
    assert history.read() is None


def test_a_header_that_is_half_written_is_waited_for(tmp_path: Path, writer: CaptureWriter) -> None:
    path = tmp_path / "a.jsonl"
    writer.open(path, HEADER)
    pause = threading.Event()
    while not path.exists() or not path.stat().st_size:
        pause.wait(0.01)
    whole = path.read_bytes()
    path.write_bytes(whole[:5])
    history = CaptureHistory(writer, SessionSettings())
    assert history.read() == []
    path.write_bytes(whole)
    assert len(read(history, lambda found: bool(found))) == 1
    history.close()
    writer.close()


def test_a_damaged_one_is_logged_and_over(
    tmp_path: Path, writer: CaptureWriter, capture_logs: Callable[..., Any]
) -> None:
    path = tmp_path / "a.jsonl"
    writer.open(path, HEADER)
    done = writer.close()
    assert done is not None
    done.result(WAIT_S)
    path.write_bytes(path.read_bytes() + b"broken\n")
    history = CaptureHistory(writer, SessionSettings())
    with capture_logs() as logs:
        read(history, lambda found: False)
    assert history.read() is None
    (said,) = (entry for entry in logs if entry["event"] == "capture_not_read")
    assert "a.jsonl, line 4" in said["problem"]


def test_it_can_be_closed_at_any_time(tmp_path: Path, writer: CaptureWriter) -> None:
    history = CaptureHistory(writer, SessionSettings())
    history.close()
    assert history.read() is None
    writer.open(tmp_path / "a.jsonl", HEADER)
    other = CaptureHistory(writer, SessionSettings())
    read(other, lambda found: bool(found))
    other.close()
    assert other.read() is None
    writer.close()
