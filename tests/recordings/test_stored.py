"""Streams' folders found and read, whatever else lies below the root."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver.recordings import SinkEntry, stored
from receiver.recordings.stored import everywhere, find_call, find_stream, identity_at, stored_streams

DEFAULT = "{date}/{stream_id}"


def fail(directory: str, error: OSError) -> None:
    raise AssertionError(f"{directory}: {error}")


def all_of(root: Path) -> dict[str, bool]:
    found = stored_streams(root, enter=everywhere, problem=fail)
    return {os.path.relpath(one.directory, root): one.finished for one in found}


def test_a_folder_is_finished_when_its_journal_is_gone(tmp_path: Path, lab: Any) -> None:
    over = lab.ended_stream(tmp_path, id="over")
    late = lab.make(tmp_path, id="late")
    lab.end(late)  # its sinks are at work
    live = lab.make(tmp_path, id="live")
    begun = live.directory.with_name("begun")
    begun.mkdir()
    (begun / "journal.jsonl.new").touch()
    finished = {over: True, late.directory: False, live.directory: False, begun: False}
    assert all_of(tmp_path) == {str(folder.relative_to(tmp_path)): over for folder, over in finished.items()}
    assert identity_at(str(over)).id == "over"
    assert identity_at(str(live.directory)).call_id == "CA1"
    assert identity_at(str(begun)).id is None


def test_only_folders_of_streams_are_found(tmp_path: Path, lab: Any) -> None:
    outside = lab.ended_stream(tmp_path / "outside", id="outside")
    root = tmp_path / "root"
    one = lab.ended_stream(root, id="one")
    lab.ended_stream(one / "processed", id="inside")
    lab.ended_stream(root / ".erased", id="hidden")
    (root / "link").symlink_to(outside)
    (root / "deep" / "er").mkdir(parents=True)
    (root / "deep" / "note.txt").touch()
    (root / "stream.json").write_text("{}")
    assert all_of(root) == {f"{one.parent.name}/one": True}


def test_a_root_that_is_not_there_has_no_streams(tmp_path: Path) -> None:
    assert all_of(tmp_path / "nowhere") == {}


def test_folders_deeper_than_anybody_wants_are_not_looked_into(tmp_path: Path, lab: Any) -> None:
    deep = tmp_path.joinpath(*["d"] * (stored.MAX_DEPTH + 2))
    lab.ended_stream(deep)
    assert all_of(tmp_path) == {}


def test_what_cannot_be_looked_into_is_told_and_passed_over(tmp_path: Path, lab: Any) -> None:
    one = lab.ended_stream(tmp_path, id="one")
    (tmp_path / ("x" * 200)).mkdir()
    problems = []
    deep = tmp_path
    for _ in range(25):  # longer than a path may be
        os.mkdir("y" * 200, dir_fd=(folder := os.open(deep, os.O_RDONLY)))
        os.close(folder)
        deep = deep / ("y" * 200)
        if len(str(deep)) > 3800:
            break
    folder = os.open(deep, os.O_RDONLY)
    for _ in range(2):
        os.mkdir("z" * 250, dir_fd=folder)
        below = os.open("z" * 250, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(folder)

    def problem(directory: str, error: OSError) -> None:
        problems.append(error.strerror)

    found = [os.path.basename(one.directory) for one in stored_streams(tmp_path, enter=everywhere, problem=problem)]
    assert found == [one.name]
    assert problems == ["File name too long"]


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"id": 1}', b"\xff" * 100, b"[" * 100_000])
def test_what_is_damaged_counts_from_when_it_was_written(tmp_path: Path, lab: Any, text: bytes) -> None:
    over = lab.ended_stream(tmp_path)
    (over / "stream.json").write_bytes(text)
    os.utime(over / "stream.json", (1_000_000, 2_000_000))
    identity = identity_at(str(over))
    assert (identity.id, identity.call_id, identity.ended) == (None, None, 2_000_000)
    (over / "stream.json").unlink()
    (over / "journal.jsonl").write_bytes(text)
    assert identity_at(str(over)).id is None


def test_nothing_but_a_file_is_read(tmp_path: Path, lab: Any) -> None:
    over = lab.ended_stream(tmp_path)
    (over / "secret").write_bytes((over / "stream.json").read_bytes())
    (over / "stream.json").unlink()
    os.mkfifo(over / "stream.json")
    assert identity_at(str(over)).id is None
    (over / "stream.json").unlink()
    (over / "stream.json").symlink_to("secret")
    assert identity_at(str(over)).id is None


def test_sinks_that_run_and_sinks_that_deliver_are_known(tmp_path: Path, lab: Any) -> None:
    recording = lab.make(tmp_path)
    running = SinkEntry("running", None, {}, 0)
    done = SinkEntry("ok", None, {}, 0)
    recording.finish(lab.ENDED, lab.STARTED, {"slow": running, "wav": done})
    (recording.directory / "mail.pending").touch()
    (recording.directory / "cloud.pending").touch()
    identity = identity_at(str(recording.directory))
    assert (identity.running, identity.pending) == (("slow",), ("cloud", "mail"))


@pytest.mark.parametrize(
    "template", [DEFAULT, "{stream_id}", "{source}/{parameters.who}-{stream_id}/{call_id}", "{call_id}", "{date}"]
)
def test_a_stream_is_found_whatever_the_template(tmp_path: Path, lab: Any, template: str) -> None:
    ids = [f"0199-{number}" for number in range(5)]
    made = {}
    for stream_id in ids:
        recording = lab.Recording.create(tmp_path, template, lab.facts(id=stream_id))
        lab.end(recording)
        recording.close()
        made[stream_id] = str(recording.directory)
    for stream_id in ids:
        [(directory, identity)] = find_stream(tmp_path, template, stream_id, fail)
        assert (directory, identity.id) == (made[stream_id], stream_id)
    assert find_stream(tmp_path, template, "0199", fail) == []
    assert {directory for directory, _ in find_call(tmp_path, "CA1", fail)} == set(made.values())
    assert find_call(tmp_path, "CA", fail) == []


def test_a_stream_of_another_template_is_found_as_well(tmp_path: Path, lab: Any) -> None:
    recording = lab.Recording.create(tmp_path, "{call_id}", lab.facts())
    lab.end(recording)
    [(directory, _)] = find_stream(tmp_path, DEFAULT, "0199-ours", fail)
    assert directory == str(recording.directory)


def test_a_stream_whose_files_are_damaged_is_found_by_its_folders_name(tmp_path: Path, lab: Any) -> None:
    over = lab.ended_stream(tmp_path)
    (over / "stream.json").write_bytes(b"{")
    [(directory, identity)] = find_stream(tmp_path, DEFAULT, "0199-ours", fail)
    assert (directory, identity.id) == (str(over), None)
    assert find_call(tmp_path, "CA1", fail) == []


def test_a_folder_that_goes_while_it_is_looked_for_is_passed_over(tmp_path: Path, lab: Any) -> None:
    for number in range(200):
        (tmp_path / "2026-11-21" / str(number)).mkdir(parents=True)
        (tmp_path / "2026-11-21" / str(number) / "stream.json").touch()
    left = []
    for one in stored_streams(tmp_path, enter=everywhere, problem=fail):
        left.append(one.directory)
        for name in os.listdir(one.directory):
            os.unlink(f"{one.directory}/{name}")
        os.rmdir(one.directory)
        if len(left) == 150:
            for folder in (tmp_path / "2026-11-21").iterdir():
                for file in folder.iterdir():
                    file.unlink()
                folder.rmdir()
            (tmp_path / "2026-11-21").rmdir()
    assert 150 <= len(left) <= 200


HOSTILE = ["..", ".", "/", "../..", "a/../..", "\0", "*", "%2e%2e", "inbound.wav", "stream.json", "2026-11-21", "", " "]


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text() | st.sampled_from(HOSTILE) | st.from_regex(r"(\.\./)*[a-z0-9-]{0,40}", fullmatch=True))
def test_no_id_leads_anywhere_but_to_its_own_stream(tmp_path: Path, lab: Any, hostile: str) -> None:
    if not (tmp_path / "root").exists():
        lab.ended_stream(tmp_path / "root", id="0199-ours")
        lab.ended_stream(tmp_path, id="0199-outside")
    for template in (DEFAULT, "{source}/x{stream_id}", "{call_id}"):
        assert find_stream(tmp_path / "root", template, hostile, fail) == []
    assert find_call(tmp_path / "root", hostile, fail) == []


def test_every_folder_is_found_once(tmp_path: Path) -> None:
    names = [f"2026-{month:02}-{day:02}/{number}" for month in (1, 2) for day in (1, 2) for number in range(50)]
    random.Random(1).shuffle(names)
    for name in names:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "stream.json").touch()
    assert all_of(tmp_path) == dict.fromkeys(names, True)
