"""The three files: written live, finished after, and after a crash the same."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from receiver_plugins.transcribe import transcript
from receiver_plugins.transcribe.line import Line, line
from receiver_plugins.transcribe.transcript import Transcript, finish, readable, recover, stamp

FILES = [
    ("transcript.jsonl", "transcript", "application/jsonl"),
    ("transcript.vtt", "transcript", "text/vtt"),
    ("transcript.txt", "transcript", "text/plain"),
]


def said(text: str, second: int, track: str = "inbound", utterance: int = 1, **more: Any) -> Line:
    return line(track, 8000, (second * 16_000, second * 16_000 + 8000), utterance=utterance, text=text, **more)


def write(directory: Path, *lines: Line) -> None:
    written = Transcript.open(directory)
    for one in lines:
        written.append(one)
    written.close().result(20)


LINES = (said("hello", 1), said("good morning", 0, "outbound"), said("", 3, error="the engine died"))


def test_all_three_are_declared_and_say_who_said_what(booth: Any, tmp_path: Path) -> None:
    write(tmp_path, *LINES)
    stream, owner = booth.stream_in(tmp_path)
    finish(stream)
    assert owner.files == FILES
    assert (tmp_path / "transcript.txt").read_text() == (
        " 0:00  outbound  good morning\n 0:01  inbound   hello\n 0:03  inbound   [the engine died]\n"
    )
    assert [text for _, text in booth.by_ffmpeg(tmp_path / "transcript.vtt")] == ["good morning", "hello"]
    assert transcript.read(tmp_path / "transcript.jsonl") == list(LINES)
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in tmp_path.iterdir())


def test_a_call_without_a_word_has_its_files_too(booth: Any, tmp_path: Path) -> None:
    write(tmp_path)
    stream, owner = booth.stream_in(tmp_path)
    finish(stream)
    assert owner.files == FILES
    assert [(tmp_path / name).read_text() for name, _, _ in FILES] == ["", "WEBVTT\n", ""]


def test_a_line_is_on_its_way_to_the_disk_at_once(booth: Any, tmp_path: Path) -> None:
    written = Transcript.open(tmp_path)
    written.append(LINES[0])
    path = tmp_path / "transcript.jsonl"
    booth.grown(lambda: path.exists() and path.stat().st_size)
    assert transcript.read(path) == [LINES[0]]
    written.close().result(20)


def test_a_run_that_follows_another_goes_on_behind_it(booth: Any, tmp_path: Path) -> None:
    write(tmp_path, said("hello", 1, utterance=4), said("well", 2, "outbound", utterance=2))
    with (tmp_path / "transcript.jsonl").open("ab") as file:
        file.write(b'{"track":"inb')
    again = Transcript.open(tmp_path)
    assert again.numbers == {"inbound": 4, "outbound": 2}
    again.append(said("again", 5, utterance=5))
    again.close().result(20)
    assert [one.text for one in transcript.read(tmp_path / "transcript.jsonl")] == ["hello", "well", "again"]


@pytest.mark.parametrize("left", [b'{"track":"inbound","st', b"\x00" * 40, b'{"track":"\xff'])
def test_recovery_drops_what_a_crash_has_torn_and_a_second_one_changes_nothing(
    booth: Any, tmp_path: Path, left: bytes
) -> None:
    write(tmp_path, *LINES)
    whole = (tmp_path / "transcript.jsonl").read_bytes()
    with (tmp_path / "transcript.jsonl").open("ab") as file:
        file.write(left)
    (tmp_path / "transcript.vtt.part").write_text("WEBV")  # died while it was written
    stream, owner = booth.stream_in(tmp_path)
    recover(stream)
    assert owner.files == FILES
    assert (tmp_path / "transcript.jsonl").read_bytes() == whole
    before = {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in tmp_path.iterdir()}
    assert set(before) == {name for name, _, _ in FILES}
    recover(stream)
    assert {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in tmp_path.iterdir()} == before


def test_a_line_that_is_damaged_is_passed_over_and_left_where_it_is(booth: Any, tmp_path: Path) -> None:
    write(tmp_path, LINES[0])
    path = tmp_path / "transcript.jsonl"
    path.write_bytes(b'{"text": 1}\n\xff\xfe\n[]\n' + path.read_bytes())
    before = path.read_bytes()
    stream, _ = booth.stream_in(tmp_path)
    recover(stream)
    assert path.read_bytes() == before
    assert (tmp_path / "transcript.txt").read_text() == " 0:01  inbound  hello\n"


def test_where_there_is_no_transcript_recovery_makes_none(booth: Any, tmp_path: Path) -> None:
    stream, owner = booth.stream_in(tmp_path)
    recover(stream)
    assert owner.files == [] and os.listdir(tmp_path) == []


def test_minutes_go_beyond_the_hour_and_tracks_stand_below_each_other() -> None:
    assert [stamp(at) for at in (0, 9.999, 60, 3599, 7325.5)] == ["0:00", "0:09", "1:00", "59:59", "122:05"]
    text = readable([said("one", 7325), said("two", 7326, "out\nbound"), said("", 7327)])
    assert text == "122:05  inbound    one\n122:06  out bound  two\n"
