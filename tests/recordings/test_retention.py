"""What goes by itself, what stays, and who decides where several processes look after one root."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from receiver.recordings import retention
from receiver.recordings.erasing import Erased, Eraser
from receiver.recordings.retention import DAY_S, Retention

DEFAULT = "{date}/{stream_id}"
ALL = 2**60
"""More than any disk has: everything that may go, goes."""


class Keeper:
    """A running retention, and what it has told."""

    def __init__(self, root: Path, template: str = DEFAULT, **settings: Any) -> None:
        self.erased: list[Erased] = []
        settings = {"keep_days": 0, "keep_free_bytes": 0, **settings}
        self.retention = Retention(Eraser(root, self.erased.append), template, **settings)

    @property
    def ids(self) -> list[str | None]:
        return [erased.id for erased in self.erased]


@contextmanager
def keeping(root: Path, template: str = DEFAULT, **settings: Any) -> Iterator[Keeper]:
    keeper = Keeper(root, template, **settings)
    keeper.retention.start()
    try:
        yield keeper
    finally:
        keeper.retention.stop()


def until(condition: Callable[[], object]) -> None:
    pause = threading.Event()
    while not condition():  # the test's own timeout is how long that may take
        pause.wait(0.01)


def looking() -> bool:
    return any(thread.name == "receiver-retention" for thread in threading.enumerate())


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "ROUND_S", 0.02)
    monkeypatch.setattr(retention, "LOOK_S", 0.02)


def test_streams_go_when_they_are_old_enough(tmp_path: Path, lab: Any, often: None) -> None:
    for name, days in (("old", 8.01), ("young", 6.99), ("new", 0)):
        folder = lab.ended_stream(tmp_path, days, id=name)
        os.utime(folder / "stream.json", (0, 0))  # it is the end that counts, not when something was written
    with keeping(tmp_path, keep_days=7) as keeper:
        until(lambda: keeper.erased)
        lab.ended_stream(tmp_path, 7.01, id="later")
        until(lambda: len(keeper.erased) == 2)
    assert keeper.ids == ["old", "later"]
    assert {erased.reason for erased in keeper.erased} == {"age"}
    assert sorted(path.name for path in tmp_path.glob("*/*")) == ["new", "young"]


def test_without_settings_nothing_goes_but_what_a_crash_left_half_erased(tmp_path: Path, lab: Any) -> None:
    lab.ended_stream(tmp_path, 10_000, id="old")
    half = lab.ended_stream(tmp_path, id="half")
    (tmp_path / ".erased").mkdir()
    os.rename(half, tmp_path / ".erased" / "disk-1")
    with keeping(tmp_path) as keeper:
        until(lambda: not looking())
    assert [(erased.id, erased.reason) for erased in keeper.erased] == [("half", "disk")]
    assert [path.name for path in tmp_path.glob("*/*")] == ["old"]


def test_what_is_live_unfinished_or_not_delivered_stays_however_old(
    tmp_path: Path, lab: Any, often: None, capture_logs: Any
) -> None:
    lab.make(tmp_path, id="live")
    lab.end(lab.make(tmp_path, id="late"))
    lab.crash(lab.make(tmp_path, id="crashed"))
    held = lab.ended_stream(tmp_path, 1000, id="held")
    (held / "mail.pending").touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "inbound.wav").touch()
    for path in tmp_path.rglob("*"):
        os.utime(path, (0, 0))
    left = lab.everything(tmp_path)
    with capture_logs() as logs, keeping(tmp_path, keep_days=1, keep_free_bytes=ALL) as keeper:
        for name in ("old-0", "old-1", "old-2"):  # it goes on looking meanwhile
            lab.ended_stream(tmp_path, 1000, id=name)
            until(lambda name=name: name in keeper.ids)
    assert keeper.ids == ["old-0", "old-1", "old-2"]
    assert lab.everything(tmp_path) == left
    [line] = [line for line in logs if line["event"] == "old_streams_kept"]
    assert (line["streams"], line["why"], line["sinks"]) == (1, "sinks", ("mail",))
    assert line["directory"] == str(held)
    assert len([line for line in logs if line["event"] == "nothing_to_erase"]) >= 1
    (held / "mail.pending").unlink()
    with keeping(tmp_path, keep_days=1) as keeper:
        until(lambda: keeper.ids == ["held"])


def test_a_stream_whose_file_cannot_be_read_counts_from_when_it_was_written(
    tmp_path: Path, lab: Any, often: None
) -> None:
    old, young = (lab.ended_stream(tmp_path, 8, id=name) for name in ("old", "young"))
    for folder in (old, young):
        (folder / "stream.json").write_text("{}")
    os.utime(old / "stream.json", (time.time(), time.time() - 8 * DAY_S))
    with keeping(tmp_path, keep_days=7) as keeper:
        until(lambda: keeper.erased)
    assert [(erased.id, erased.directory) for erased in keeper.erased] == [(None, old)]
    assert young.exists()


def test_when_the_disk_is_short_the_oldest_go_first(
    tmp_path: Path, lab: Any, often: None, monkeypatch: pytest.MonkeyPatch, capture_logs: Any
) -> None:
    monkeypatch.setattr(retention, "OLDEST", 2)
    days = {"c": 3, "a": 5, "e": 1, "b": 4, "d": 2}
    for name, ago in days.items():
        lab.ended_stream(tmp_path, ago, id=name)
    lab.make(tmp_path, id="live")
    with capture_logs() as logs, keeping(tmp_path, keep_free_bytes=ALL) as keeper:
        until(lambda: any(line["event"] == "nothing_to_erase" for line in logs))
    assert keeper.ids == ["a", "b", "c", "d", "e"]
    assert {erased.reason for erased in keeper.erased} == {"disk"}
    assert (tmp_path / "2026-11-21" / "live").exists()


def test_streams_that_others_have_erased_are_not_waited_for(tmp_path: Path, lab: Any) -> None:
    """The list of the oldest may be of long ago."""
    one, _ = (lab.ended_stream(tmp_path, id=name) for name in ("a", "b"))
    keeper = Keeper(tmp_path, keep_free_bytes=ALL)
    keeper.retention._oldest.extend([str(one.parent / "gone"), str(one)])
    keeper.retention._make_room()
    assert keeper.ids == ["a", "b"]


def test_a_disk_that_fills_up_need_not_wait_until_all_folders_were_read(
    tmp_path: Path, lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "LOOK_S", 0)
    for name in ("a", "b", "c"):
        lab.ended_stream(tmp_path, 2, id=name)
    keeper = Keeper(tmp_path, keep_days=1.5, keep_free_bytes=ALL)
    keeper.retention._erase_old()
    assert sorted(map(str, keeper.ids)) == ["a", "b", "c"]
    assert {erased.reason for erased in keeper.erased} == {"disk"}


def test_nothing_goes_while_there_is_room(tmp_path: Path, lab: Any, often: None) -> None:
    lab.ended_stream(tmp_path, 1000, id="old")
    keeper = Keeper(tmp_path, keep_free_bytes=1)
    keeper.retention._make_room()
    assert keeper.erased == []


def test_a_folder_that_cannot_be_erased_is_named_once_and_the_others_go(
    tmp_path: Path, lab: Any, often: None, monkeypatch: pytest.MonkeyPatch, capture_logs: Any
) -> None:
    for number in range(5):
        lab.ended_stream(tmp_path, 10 + number, id=f"old-{number}")
    rename, begun = os.rename, []

    def failing(name: str, *arguments: Any, **named: Any) -> None:
        begun.append(name)
        if name == "old-3":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rename(name, *arguments, **named)

    monkeypatch.setattr(os, "rename", failing)
    with capture_logs() as logs, keeping(tmp_path, keep_days=1, keep_free_bytes=ALL) as keeper:
        until(lambda: begun.count("old-3") > 5)
    assert sorted(map(str, keeper.ids)) == ["old-0", "old-1", "old-2", "old-4"]
    [line] = [line for line in logs if line["event"] == "folder_not_erased"]
    assert line["directory"].endswith("/old-3") and "Input/output error" in line["problem"]


def test_a_folder_that_cannot_be_read_is_named_once(
    tmp_path: Path, lab: Any, often: None, monkeypatch: pytest.MonkeyPatch, capture_logs: Any
) -> None:
    bad = lab.ended_stream(tmp_path, 10, id="bad")
    lab.ended_stream(tmp_path, 10, id="good")
    opening = os.open

    def failing(path: Any, *arguments: Any, **named: Any) -> int:
        if path == str(bad):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return opening(path, *arguments, **named)

    monkeypatch.setattr(os, "open", failing)
    with capture_logs() as logs, keeping(tmp_path, keep_days=1) as keeper:
        until(lambda: keeper.erased)
        lab.ended_stream(tmp_path, 10, id="next")
        until(lambda: len(keeper.erased) == 2)
    assert keeper.ids == ["good", "next"]
    assert [line["directory"] for line in logs if line["event"] == "folder_not_erased"] == [str(bad)]


def test_a_disk_that_fails_altogether_is_said_once_and_tried_again(
    tmp_path: Path, lab: Any, often: None, monkeypatch: pytest.MonkeyPatch, capture_logs: Any
) -> None:
    lab.ended_stream(tmp_path, 10, id="old")
    times = []

    def failing(path: Any) -> Any:
        times.append(path)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with capture_logs() as logs, keeping(tmp_path, keep_free_bytes=ALL) as keeper:
        until(lambda: keeper.erased)
        with monkeypatch.context() as broken:
            broken.setattr(shutil, "disk_usage", failing)
            until(lambda: len(times) > 3)
        lab.ended_stream(tmp_path, 10, id="next")
        until(lambda: len(keeper.erased) == 2)
    assert [line["directory"] for line in logs if line["event"] == "folder_not_erased"] == [str(tmp_path)]


def test_a_root_that_somebody_removes_is_no_trouble(tmp_path: Path, lab: Any, often: None, capture_logs: Any) -> None:
    root = tmp_path / "root"
    with capture_logs() as logs, keeping(root, keep_days=1, keep_free_bytes=ALL) as keeper:
        lab.ended_stream(root, 10, id="old")
        until(lambda: keeper.erased)
    assert [line for line in logs if line["event"] == "folder_not_erased"] == []


def test_one_process_at_a_time_looks_after_a_root(tmp_path: Path, lab: Any, often: None) -> None:
    lab.ended_stream(tmp_path, 10, id="old")
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    half = lab.ended_stream(tmp_path, id="half")
    (tmp_path / ".erased").mkdir()
    os.rename(half, tmp_path / ".erased" / "age-1")
    with keeping(tmp_path, keep_days=1, keep_free_bytes=ALL) as keeper:
        until(lambda: keeper.erased)  # that needs nobody alone
        assert keeper.ids == ["half"]
        os.close(descriptor)
        until(lambda: len(keeper.erased) == 2)
    assert keeper.ids == ["half", "old"]


def test_a_file_system_without_locks_on_folders_will_do(
    tmp_path: Path, lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: Any) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    lab.ended_stream(tmp_path, 10, id="old")
    monkeypatch.setattr(fcntl, "flock", refused)
    with keeping(tmp_path, keep_days=1) as keeper:
        until(lambda: keeper.erased)
    assert keeper.ids == ["old"]


@pytest.mark.parametrize(
    ("name", "entered"),
    [
        ("2026-11-20", True),
        ("2026-11-21", True),
        ("2026-11-22", False),
        ("2026-12-01", False),
        ("2026-12-02", False),  # by somebody's clock it may be tomorrow
        ("2026-12-03", True),
        ("2099-01-01", True),
        ("2026-99-01", True),
        ("CA1", True),
    ],
)
def test_folders_of_young_dates_are_not_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, entered: bool
) -> None:
    now = 1796126400.0  # 2026-12-01, noon
    monkeypatch.setattr(time, "time", lambda: now)
    keeper = Keeper(tmp_path, "{source}/{date}/{stream_id}", keep_days=10)
    enter = keeper.retention._enter_before(now - 10 * DAY_S)
    assert enter(1, name) == entered
    assert enter(0, name) and enter(2, name) and enter(3, name)


def test_a_clock_that_is_set_forward_makes_nothing_older(
    tmp_path: Path, lab: Any, often: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    young = lab.ended_stream(tmp_path, 5, id="young")
    keeper = Keeper(tmp_path, keep_days=10)
    now = time.time
    for days in (15, 100 * 365, -15, -100 * 365):
        monkeypatch.setattr(time, "time", lambda days=days: now() + days * DAY_S)
        keeper.retention._erase_old()
        assert young.exists(), days
    monkeypatch.setattr(time, "time", now)
    lab.ended_stream(tmp_path, 10.1, id="old")
    keeper.retention._erase_old()
    assert keeper.ids == ["old"]


def test_it_rests_between_portions_and_stops_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(200):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "stream.json").write_text("{}")
    monkeypatch.setattr(retention, "PORTION", 50)
    monkeypatch.setattr(retention, "SHARE", 1e-9)  # rests for years
    with keeping(tmp_path, keep_days=1):
        until(looking)
        begun = time.monotonic()
    assert time.monotonic() - begun < 5  # it was not left behind
    assert not looking()


def test_two_processes_erase_every_stream_once(tmp_path: Path, lab: Any) -> None:
    """They do not take turns here: both look everywhere, as two requests would."""
    for number in range(150):
        folder = tmp_path / "2026-11-21" / f"0199-{number}"
        folder.mkdir(parents=True)
        (folder / "stream.json").write_text("{}")
        os.utime(folder / "stream.json", (0, 0))
    program = """
        import sys
        from pathlib import Path
        from receiver.recordings.erasing import Eraser, InUse
        from receiver.recordings.stored import everywhere, stored_streams

        def problem(directory, error):
            raise error

        root, erased = Path(sys.argv[1]), []
        eraser = Eraser(root, lambda one: erased.append(one.directory.name))
        sys.stdin.readline()
        for _ in range(3):
            for stored in stored_streams(root, enter=everywhere, problem=problem):
                try:
                    eraser.erase(Path(stored.directory), "age")
                except InUse as use:
                    assert use.why == "erasing"
        print(*erased)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outs = []
    try:
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            out, err = process.communicate(timeout=50)
            assert process.returncode == 0, err
            outs.append(out.split())
    finally:
        for process in processes:
            process.kill()
    names = [name for out in outs for name in out]
    assert sorted(names) == sorted(f"0199-{number}" for number in range(150))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.system
def test_on_a_full_disk_as_many_go_as_there_is_room_for_again(tmp_path: Path) -> None:
    program = """
        import json, os, sys, time
        from pathlib import Path
        from receiver.recordings import retention
        from receiver.recordings.erasing import Eraser

        root = Path(sys.argv[1])
        told = {"sinks": {}, "id": "", "source": "default", "call_id": None}
        for number in range(10):
            folder = root / "2026-11-21" / str(number)
            folder.mkdir(parents=True)
            (folder / "inbound.wav").write_bytes(bytes(2**20))
            told |= {"id": str(number), "ended": f"2026-11-21T08:{59 - number}:00Z"}
            (folder / "stream.json").write_text(json.dumps(told))
        erased = []
        retention.LOOK_S = 0.02
        eraser = Eraser(root, lambda one: erased.append(one.id))
        keeper = retention.Retention(eraser, "{date}/{stream_id}", keep_days=0, keep_free_bytes=9 * 2**20)
        keeper.start()
        deadline = time.monotonic() + 20
        while len(erased) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        (root / "other").write_bytes(bytes(2 * 2**20))
        while len(erased) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)  # if it went on, it would be seen
        keeper.stop()
        print(*erased)
    """
    mounted = f'mount -t tmpfs -o size=16m tmpfs {tmp_path} && exec "$0" -c "$1" {tmp_path}'
    command = ["unshare", "--mount", "sh", "-c", mounted, sys.executable, textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout.split() in (["9", "8", "7", "6", "5"], ["9", "8", "7", "6", "5", "4"])
