"""Folders erased: all of it, nothing else, and by a process that may die at any step."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from receiver import files
from receiver.audio import AudioFormat, Encoding
from receiver.events import Ended, EndReason
from receiver.recordings import Recording, SinkEntry, recover
from receiver.recordings.erasing import Erased, Eraser, InUse
from receiver.stream import StreamFacts

STEPS = ("mkdir", "symlink", "rename", "rmdir", "unlink", "fsync")


def eraser(root: Path) -> tuple[Eraser, list[Erased]]:
    told: list[Erased] = []
    return Eraser(root, told.append), told


def fill(directory: Path) -> None:
    """What sinks, captures and later work may leave in a folder, and what nobody has foreseen."""
    for name in ("capture.jsonl", "spill.jsonl", "inbound.flac", "inbound.wav.part", "journal.jsonl.damaged-1", "\n"):
        (directory / name).write_bytes(bytes(100))
    (directory / "processed" / "deeper").mkdir(parents=True)
    (directory / "processed" / "deeper" / "stream.json").write_bytes(bytes(100))
    with open(directory / "sparse.wav", "wb") as file:
        file.truncate(2**30)


def test_all_that_a_stream_left_goes_and_is_told_of(tmp_path: Path, lab: Any, capture_logs: Any) -> None:
    root = tmp_path / "root"
    over = lab.ended_stream(root)
    fill(over)
    size = sum(path.stat().st_size for path in over.rglob("*") if path.is_file())
    one, told = eraser(root)
    with capture_logs() as logs:
        erased = one.erase(over, "asked", by="operator")
    assert told == [erased]
    assert erased is not None and erased.freed < 2**20
    assert (erased.id, erased.source, erased.call_id, erased.directory) == ("0199-ours", "default", "CA1", over)
    assert (erased.files, erased.bytes, erased.reason) == (10, size, "asked")
    assert list(root.rglob("*")) == []
    [line] = logs
    assert {key: line[key] for key in ("event", "stream", "call", "source", "reason", "files", "bytes", "by")} == {
        "event": "stream_erased",
        "stream": "0199-ours",
        "call": "CA1",
        "source": "default",
        "reason": "asked",
        "files": 10,
        "bytes": size,
        "by": "operator",
    }
    assert one.erase(over, "asked") is None
    assert told == [erased]


def test_the_folders_above_go_as_far_as_they_are_empty(tmp_path: Path, lab: Any) -> None:
    made = [
        lab.Recording.create(tmp_path, "{source}/{date}/{stream_id}", lab.facts(id=name, source=source))
        for name, source in (("a", "one"), ("b", "one"), ("c", "two"))
    ]
    for recording in made:
        lab.end(recording)
        recording.close()
    one, _ = eraser(tmp_path)
    one.erase(made[0].directory, "age")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]
    assert [path.name for path in made[0].directory.parent.iterdir()] == ["b"]
    one.erase(made[1].directory, "age")
    assert [path.name for path in tmp_path.iterdir()] == ["two"]
    one.erase(made[2].directory, "age")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("reason", ["age", "asked"])
def test_a_live_stream_stays(tmp_path: Path, lab: Any, reason: Any) -> None:
    recording = lab.make(tmp_path)
    one, told = eraser(tmp_path)
    left = lab.everything(tmp_path)
    with pytest.raises(InUse) as caught:
        one.erase(recording.directory, reason)
    assert (caught.value.why, caught.value.sinks, told) == ("live", (), [])
    assert lab.everything(tmp_path) == left


@pytest.mark.parametrize("reason", ["disk", "asked"])
def test_a_stream_whose_sinks_are_at_work_stays_and_they_are_named(tmp_path: Path, lab: Any, reason: Any) -> None:
    recording = lab.make(tmp_path)
    running, done = (SinkEntry(status, None, {}, 0) for status in ("running", "ok"))
    recording.finish(lab.ENDED, lab.STARTED, {"slow": running, "wav": done})
    one, told = eraser(tmp_path)
    with pytest.raises(InUse) as caught:
        one.erase(recording.directory, reason)
    assert (caught.value.why, caught.value.sinks, told) == ("sinks", ("slow",), [])
    recording.close()
    assert one.erase(recording.directory, reason) is not None


@pytest.mark.parametrize("reason", ["age", "disk", "asked"])
def test_what_a_sink_has_still_to_deliver_stays_until_the_sink_lets_go(tmp_path: Path, lab: Any, reason: Any) -> None:
    over = lab.ended_stream(tmp_path)
    (over / "mail.pending").touch()
    one, told = eraser(tmp_path)
    with pytest.raises(InUse) as caught:
        one.erase(over, reason)
    assert (caught.value.why, caught.value.sinks, told) == ("sinks", ("mail",), [])
    (over / "mail.pending").unlink()
    assert one.erase(over, reason) is not None


def test_a_sink_that_comes_to_hold_it_in_the_last_moment_is_heard(
    tmp_path: Path, lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = lab.make(tmp_path)
    lab.end(recording)
    opening = os.open

    def late(path: Any, *arguments: Any, **named: Any) -> int:
        if path == "journal.jsonl" and (recording.directory / path).exists():
            (recording.directory / "mail.pending").touch()
            recording.close()
        return opening(path, *arguments, **named)

    monkeypatch.setattr(os, "open", late)
    one, _ = eraser(tmp_path)
    with pytest.raises(InUse) as caught:
        one.erase(recording.directory, "asked")
    assert caught.value.sinks == ("mail",)


def test_what_a_crash_left_unfinished_goes_only_if_somebody_asks(tmp_path: Path, lab: Any) -> None:
    crashed = lab.crash(lab.make(tmp_path))
    one, told = eraser(tmp_path)
    with pytest.raises(InUse, match="unfinished"):
        one.erase(crashed, "age")
    assert one.erase(crashed, "asked") == told[0]
    assert (told[0].id, told[0].call_id) == ("0199-ours", "CA1")
    assert list(tmp_path.iterdir()) == []


def test_what_a_failed_sink_left_unfinished_goes_only_if_somebody_asks(tmp_path: Path, lab: Any) -> None:
    recording = lab.make(tmp_path)
    lab.end(recording)
    recording.close(keep_journal=True)
    files.shutdown()
    one, _ = eraser(tmp_path)
    with pytest.raises(InUse, match="unfinished"):
        one.erase(recording.directory, "disk")
    assert one.erase(recording.directory, "asked") is not None


def test_a_folder_without_a_streams_files_is_not_erased(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    one, _ = eraser(tmp_path)
    with pytest.raises(InUse, match="unfinished"):
        one.erase(tmp_path / "mine", "age")
    assert (tmp_path / "mine").exists()


def test_a_link_on_the_way_or_inside_is_not_followed(tmp_path: Path, lab: Any) -> None:
    root, outside = tmp_path / "root", lab.ended_stream(tmp_path / "outside", id="outside")
    inside = lab.ended_stream(root, id="inside")
    (inside / "link").symlink_to(outside)
    (inside / "file").symlink_to(outside / "stream.json")
    (root / "way").symlink_to(outside.parent)
    (root / "leaf").symlink_to(outside)
    left = lab.everything(tmp_path / "outside")
    one, told = eraser(root)
    for path in (root / "way" / "outside", root / "leaf"):
        with pytest.raises(OSError):
            one.erase(path, "asked")
    one.erase(inside, "asked")
    assert [erased.id for erased in told] == ["inside"]
    assert lab.everything(tmp_path / "outside") == left
    for path in (outside, root / ".." / "outside" / "2026-11-21" / "outside"):
        with pytest.raises(ValueError):
            one.erase(path, "asked")


def test_the_root_may_be_a_link(tmp_path: Path, lab: Any) -> None:
    over = lab.ended_stream(tmp_path / "real")
    (tmp_path / "root").symlink_to(tmp_path / "real")
    one, told = eraser(tmp_path / "root")
    one.erase(tmp_path / "root" / over.parent.name / over.name, "age")
    assert len(told) == 1 and list((tmp_path / "real").iterdir()) == []


def test_a_folder_that_another_process_erases_is_left_to_it(tmp_path: Path, lab: Any) -> None:
    over = lab.ended_stream(tmp_path)
    descriptor = os.open(over, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    one, told = eraser(tmp_path)
    with pytest.raises(InUse, match="erasing"):
        one.erase(over, "asked")
    (tmp_path / ".erased").mkdir()
    os.rename(over, tmp_path / ".erased" / "asked-1")
    one.finish()
    assert (tmp_path / ".erased" / "asked-1" / "stream.json").exists() and told == []
    os.close(descriptor)
    one.finish()
    assert [(erased.id, erased.reason, erased.directory) for erased in told] == [("0199-ours", "asked", None)]
    assert not (tmp_path / ".erased").exists()


@pytest.mark.parametrize(
    ("step", "number"), [("rename", errno.EXDEV), ("rename", errno.EDQUOT), ("mkdir", errno.ENOSPC)]
)
def test_on_a_disk_of_its_own_or_a_full_one_a_folder_is_emptied_where_it_lies(
    tmp_path: Path, lab: Any, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    def failing(*arguments: Any, **named: Any) -> None:
        raise OSError(number, os.strerror(number))

    over = lab.ended_stream(tmp_path)
    fill(over)
    monkeypatch.setattr(os, step, failing)
    one, told = eraser(tmp_path)
    one.erase(over, "age")
    assert len(told) == 1 and list(tmp_path.iterdir()) == []


def test_what_a_failing_disk_keeps_is_erased_later(
    tmp_path: Path, lab: Any, monkeypatch: pytest.MonkeyPatch, capture_logs: Any
) -> None:
    over = lab.ended_stream(tmp_path)
    unlink = os.unlink

    def failing(path: str, **named: Any) -> None:
        if path == "inbound.wav":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        unlink(path, **named)

    one, told = eraser(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(os, "unlink", failing)
        with pytest.raises(OSError, match="Input/output"):
            one.erase(over, "age")
        with pytest.raises(OSError, match="Input/output"):
            one.finish()
    assert told == [] and not over.exists()
    assert recover(tmp_path, {}) == []
    one.finish()
    assert [(erased.id, erased.reason, erased.files) for erased in told] == [("0199-ours", "age", 2)]
    assert [path.name for path in tmp_path.iterdir()] == []


def test_what_is_hidden_there_and_no_folder_is_said_to_be_in_the_way(tmp_path: Path) -> None:
    one, _ = eraser(tmp_path)
    one.finish()
    (tmp_path / ".erased").mkdir()
    (tmp_path / ".erased" / "file").touch()
    with pytest.raises(NotADirectoryError):
        one.finish()


def test_a_process_that_finds_the_hidden_folder_gone_makes_it_again(
    tmp_path: Path, lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = lab.ended_stream(tmp_path)
    rename, times = os.rename, []

    def late(*arguments: Any, **named: Any) -> None:
        if len(times) < 3:
            times.append(os.rmdir(tmp_path / ".erased"))
        rename(*arguments, **named)

    monkeypatch.setattr(os, "rename", late)
    one, told = eraser(tmp_path)
    one.erase(over, "disk")
    assert len(times) == 3 and len(told) == 1
    assert list(tmp_path.iterdir()) == []


def test_it_gives_up_where_it_never_gets_there(tmp_path: Path, lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: Any, **named: Any) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    over = lab.ended_stream(tmp_path)
    monkeypatch.setattr(os, "rename", never)
    one, told = eraser(tmp_path)
    with pytest.raises(OSError, match="cannot be moved"):
        one.erase(over, "disk")
    assert over.exists() and told == []


def test_a_file_system_without_locks_on_folders_will_do(
    tmp_path: Path, lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: Any) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    over = lab.ended_stream(tmp_path)
    monkeypatch.setattr(fcntl, "flock", refused)
    one, told = eraser(tmp_path)
    one.erase(over, "age")
    assert len(told) == 1


def test_the_name_of_an_erased_folder_may_be_anothers_by_now(
    tmp_path: Path, lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process has the old folder open; meanwhile another one erases it, and a new stream gets its name."""
    over = lab.ended_stream(tmp_path, started=lab.STARTED)
    lab.ended_stream(tmp_path, id="other", started=lab.STARTED)
    flock, seen = fcntl.flock, []

    def late(descriptor: int, how: int) -> None:
        if not seen:
            seen.append(over)
            other, _ = eraser(tmp_path)
            other.erase(over, "age")
            lab.make(tmp_path)
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    one, told = eraser(tmp_path)
    assert one.erase(over, "age") is None
    assert told == [] and (over / "journal.jsonl").exists()


FACTS = StreamFacts(
    id="0199-ours",
    source="default",
    dialect="signalwire",
    stream_id="theirs",
    call_id="CA1",
    account_id=None,
    tracks=("inbound",),
    format=AudioFormat(Encoding.PCMU, 8000),
    parameters={},
    path_parameters={},
    peer_address="192.0.2.1",
    token=None,
    started=datetime(2026, 11, 21, tzinfo=UTC),
)


def made(root: Path, *, crashed: bool) -> Path:
    recording = Recording.create(root, "{date}/{stream_id}", FACTS)
    fill(recording.directory)
    recording.finish(Ended(EndReason.STOP, True, {}), FACTS.started)
    recording.close(keep_journal=crashed)
    files.shutdown()
    return recording.directory


def dying_at(number: int) -> None:
    """Have this process killed as it takes the step of that number."""
    taken = 0

    def counted(step: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*arguments: Any, **named: Any) -> Any:
            nonlocal taken
            taken += 1
            if taken == number:
                os._exit(9)
            return step(*arguments, **named)

        return instead

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))


def killed(root: Path, directory: Path, number: int) -> bool:
    """Whether a child that erases the folder died at that step; False: it had no such step and came to its end."""
    child = os.fork()
    if child == 0:
        dying_at(number)
        try:
            Eraser(root, lambda erased: None).erase(directory, "asked")
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9)
    return status == 9


@pytest.mark.parametrize("crashed", [False, True])
def test_a_process_that_dies_at_any_step_leaves_all_or_what_the_next_start_erases(
    tmp_path: Path, lab: Any, crashed: bool
) -> None:
    # A program of its own forks the processes that die: this one may have threads, which a fork would not survive.
    command = [sys.executable, __file__, str(tmp_path), "crashed" if crashed else ""]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True)
    steps = int(done.stdout)
    assert steps > 15
    outcomes = set()
    for number in range(1, steps + 1):
        root = tmp_path / str(number)
        directory = root / "2026-11-21" / "0199-ours"
        one, told = eraser(root)
        if directory.exists():  # untouched: there are all files, and it can be asked for again
            assert len([path for path in directory.rglob("*") if path.is_file()]) == (10 if crashed else 9)
            outcomes.add("whole")
            one.erase(directory, "asked")
        else:
            assert recover(root, {}) == []  # nobody takes it for what a crash has left of a stream
            one.finish()
            outcomes.add("told" if told else "over")
        assert list(root.rglob("*")) == [], number
        assert {(erased.id, erased.directory) for erased in told} <= {("0199-ours", directory)}, number
    assert outcomes == {"whole", "told", "over"}


if __name__ == "__main__":
    step = 1
    while True:
        root = Path(sys.argv[1]) / str(step)
        if not killed(root, made(root, crashed=bool(sys.argv[2])), step):
            break
        step += 1
    sys.stdout.write(str(step))
