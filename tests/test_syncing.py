"""``syncfs`` as often as asked, while there is something new."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from receiver import disk, files
from receiver.syncing import Syncing

PROGRAM = """
import sys, time
from pathlib import Path
from receiver import disk, files
from receiver.syncing import Syncing

root = Path(sys.argv[1])
syncing = Syncing(root, float(sys.argv[2]))
syncing.start()
file = files.create(root / "a")
for number in range(10):
    if file.error is not None:
        print("given up", file.error.errno, file.landed, flush=True)
        break
    file.append(b"0123456789")
    time.sleep(0.1)
time.sleep(0.5)
files.shutdown()
syncing.stop()
print("trouble", disk.trouble() is not None)
"""


def run(root: Path, every_s: float, inject: str = "") -> tuple[str, str]:
    """What such a program says, and what strace does."""
    trace = root.parent / "trace"
    strace = ["strace", "-f", "-o", str(trace), "-e", "trace=syncfs", *(["-e", f"inject={inject}"] if inject else [])]
    done = subprocess.run(
        [*strace, sys.executable, "-c", PROGRAM, str(root), str(every_s)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout, trace.read_text()


@pytest.mark.system
def test_what_was_written_is_synced_and_an_idle_disk_is_left_alone(tmp_path: Path) -> None:
    (root := tmp_path / "root").mkdir()
    said, trace = run(root, 0.05)
    assert said == "trouble False\n"
    calls = [line for line in trace.splitlines() if "syncfs(" in line]
    assert calls and all(line.endswith("= 0") for line in calls)
    assert len(calls) <= 12  # one for each write at most: most of the time there is nothing new


@pytest.mark.system
def test_never_is_never(tmp_path: Path) -> None:
    (root := tmp_path / "root").mkdir()
    _, trace = run(root, 0)
    assert "syncfs(" not in trace


@pytest.mark.system
def test_a_sync_that_fails_gives_up_what_was_being_written(tmp_path: Path) -> None:
    (root := tmp_path / "root").mkdir()
    said, _ = run(root, 0.05, "syncfs:error=EIO:when=2")
    first, second = said.splitlines()
    given_up, number, landed = first.rsplit(" ", 2)
    assert (given_up, int(number)) == ("given up", errno.EIO)
    assert 0 < int(landed) < 100
    assert (root / "a").read_bytes() == b"0123456789" * (int(landed) // 10)
    assert second == "trouble True"


def test_a_folder_that_is_not_there_is_trouble_and_no_end(tmp_path: Path) -> None:
    files.configure()
    syncing = Syncing(tmp_path / "later", 0.01)
    syncing.start()
    try:
        (tmp_path / "b").mkdir()
        file = files.create(tmp_path / "b" / "a")
        file.append(b"x")
        file.close().result(20)
        threading.Event().wait(0.1)
        (tmp_path / "later").mkdir()
        threading.Event().wait(0.1)
        assert disk.trouble() is None  # a path that is wrong says nothing about the disk
    finally:
        syncing.stop()
        files.shutdown()
    assert os.listdir(tmp_path / "later") == []
