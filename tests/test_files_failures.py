"""The writer thread where a disk, a path or a buffer will not do."""

from __future__ import annotations

import errno
import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from receiver import disk, files
from receiver.files import FileError

WAIT_S = 20


@pytest.fixture(autouse=True)
def _default_limit() -> Iterator[None]:
    yield
    files.configure()
    files.shutdown()


@pytest.mark.parametrize("kind", ["file", "link", "dangling link", "no folder"])
def test_nothing_is_overwritten_and_no_link_followed(tmp_path: Path, kind: str) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    path = {"no folder": tmp_path / "none" / "a", "file": precious}.get(kind, tmp_path / "a")
    if kind == "link":
        path.symlink_to(precious)
    if kind == "dangling link":
        path.symlink_to(tmp_path / "not there")
    file = files.create(path)
    with pytest.raises(FileError) as caught:
        file.close().result(WAIT_S)
    assert caught.value.filename == str(path)
    assert precious.read_bytes() == b"precious"
    assert not (tmp_path / "not there").exists()


def test_a_full_disk_shows_at_the_next_append_and_names_the_file() -> None:
    full = Path("/dev/full")
    file = files.adopt(os.open(full, os.O_WRONLY), full)
    file.append(b"lost")
    pause = threading.Event()
    for _ in range(WAIT_S * 100):
        if file.error is not None:
            break
        pause.wait(0.01)
    with pytest.raises(FileError, match="/dev/full") as caught:
        file.append(b"more")
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(FileError):
        file.skip(1)
    with pytest.raises(FileError, match="No space left"):
        file.close().result(WAIT_S)
    assert files.queued_bytes() == 0


def test_what_was_queued_behind_a_failure_is_forgotten() -> None:
    full = Path("/dev/full")
    file = files.adopt(os.open(full, os.O_WRONLY), full)
    for _ in range(50):
        try:
            file.append(bytes(1000))
        except FileError:
            break
        files.flush()
    with pytest.raises(FileError):
        file.close().result(WAIT_S)
    assert files.queued_bytes() == 0


def test_a_write_that_does_not_fit_keeps_what_fits(tmp_path: Path) -> None:
    content = bytes(range(256)) * 6 * 1024
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))  # Python ignores the signal that comes with it
    try:
        file = files.create(tmp_path / "a")
        file.append(content)
        with pytest.raises(FileError, match="File too large") as caught:
            file.close().result(WAIT_S)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == str(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == content[: 2**20]
    assert file.landed == 2**20


def test_what_one_write_does_not_take_the_next_one_does(tmp_path: Path) -> None:
    size = 2**31  # a kernel takes a page less than that at once
    with (tmp_path / "zeros").open("wb") as zeros:
        zeros.truncate(size)
    files.configure(limit_bytes=2 * size)
    nowhere = Path(os.devnull)
    file = files.adopt(os.open(nowhere, os.O_WRONLY), nowhere)
    file.append(np.memmap(tmp_path / "zeros", np.uint8, "r"))  # neither read nor kept by anybody
    with pytest.raises(FileError, match="Invalid argument"):  # a device has no length that could be set
        file.close().result(WAIT_S)
    assert file.landed == size


def test_more_than_the_limit_is_refused_and_later_taken_again(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    stuck = files.adopt(writing, Path("stuck"))
    other = files.create(tmp_path / "a")
    files.configure(limit_bytes=400_000)
    stuck.append(bytes(300_000))  # more than a pipe holds: the writer waits for us
    with pytest.raises(FileError, match="behind") as caught:
        other.append(bytes(200_000))
    assert caught.value.errno == errno.ENOBUFS
    assert caught.value.filename == str(tmp_path / "a")
    assert other.size == 0
    other.skip(1)  # a hole costs nothing, and holes beside each other are one
    other.skip(1)
    got = 0
    while got < 300_000:
        got += len(os.read(reading, 100_000))
    os.close(reading)
    with pytest.raises(FileError):
        stuck.close().result(WAIT_S)
    other.append(bytes(200_000))
    assert other.close().result(WAIT_S) == 200_002


def test_a_buffer_that_cannot_be_written_fails_the_file_and_not_the_thread(tmp_path: Path) -> None:
    file = files.create(tmp_path / "a")
    file.append(np.zeros((4, 4), np.int16)[:, 1])
    with pytest.raises(FileError, match="contiguous") as caught:
        file.close().result(WAIT_S)
    assert caught.value.errno == errno.EIO
    after = files.create(tmp_path / "b")
    after.append(b"b")
    assert after.close().result(WAIT_S) == 1


def test_in_a_long_round_what_is_written_is_released_before_its_end(tmp_path: Path) -> None:
    pipes = [os.pipe(), os.pipe()]
    size = 300_000  # more than a pipe holds: the writer waits for us

    def drain(reading: int) -> None:
        got = 0
        while got < size:
            got += len(os.read(reading, 100_000))
        os.close(reading)

    files.configure(limit_bytes=5_000_000)
    first, second = [files.adopt(writing, Path("stuck")) for _, writing in pipes]
    first.append(bytes(size))
    pause = threading.Event()
    while not first._writing:  # from here on all goes into the next round
        pause.wait(0.01)
    large, after = files.create(tmp_path / "large"), files.create(tmp_path / "after")
    large.append(bytes(4_000_000))
    while large not in files._writer.waiting:  # made by another thread, and in line before the second
        pause.wait(0.01)
    second.append(bytes(size))
    with pytest.raises(FileError, match="behind"):
        after.append(bytes(1_000_000))
    drain(pipes[0][0])
    for _ in range(WAIT_S * 100):
        if files.queued_bytes() < 1_000_000:
            break
        pause.wait(0.01)
    assert size <= files.queued_bytes() < 1_000_000
    after.append(bytes(1_000_000))
    drain(pipes[1][0])
    for stuck in (first, second):
        with pytest.raises(FileError):
            stuck.close().result(WAIT_S)
    assert large.close().result(WAIT_S) == 4_000_000
    assert after.close().result(WAIT_S) == 1_000_000
    assert files.queued_bytes() == 0


def test_a_file_that_fails_does_not_hurt_those_of_its_round(tmp_path: Path) -> None:
    full = Path("/dev/full")
    beside = [files.create(tmp_path / "a"), files.adopt(os.open(full, os.O_WRONLY), full), files.create(tmp_path / "b")]
    for _ in range(3):
        for file in beside:
            if file.error is None:
                file.append(b"1234")
    one, broken, other = [file.close() for file in beside]
    assert (one.result(WAIT_S), other.result(WAIT_S)) == (12, 12)
    with pytest.raises(FileError, match="/dev/full"):
        broken.result(WAIT_S)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == b"1234" * 3
    assert files.queued_bytes() == 0


def test_files_that_a_disk_is_slow_to_make_hold_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go, real = threading.Event(), os.open

    def slow(path: Any, *arguments: Any, **named: Any) -> int:
        if "slow" in Path(path).name:
            go.wait(WAIT_S)
        return real(path, *arguments, **named)

    there = files.create(tmp_path / "there")
    monkeypatch.setattr(os, "open", slow)
    late = [files.create(tmp_path / f"slow {number}") for number in range(files.MAKERS - 1)]
    for number, file in enumerate(late):
        file.append(b"%d" % number)
        file.skip(1)
    there.append(b"written meanwhile")
    assert there.close().result(WAIT_S) == 17
    new = files.create(tmp_path / "new")
    new.append(b"made meanwhile")
    assert new.close().result(WAIT_S) == 14
    closing = [file.close() for file in late]
    assert not any(done.done() for done in closing)
    go.set()
    assert [done.result(WAIT_S) for done in closing] == [2] * len(late)
    assert [(tmp_path / f"slow {number}").read_bytes() for number in range(len(late))] == [b"0\0", b"1\0", b"2\0"]


def fail_once() -> None:
    full = Path("/dev/full")
    file = files.adopt(os.open(full, os.O_WRONLY), full)
    file.append(b"lost")
    with pytest.raises(FileError):
        file.close().result(WAIT_S)


def test_a_failure_is_trouble_for_a_while_and_until_something_was_written_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert disk.trouble() is None and not disk.stuck()
    fail_once()
    trouble = disk.trouble()
    assert trouble is not None and trouble.errno == errno.ENOSPC
    assert not disk.stuck()  # it has only just happened
    monkeypatch.setattr(disk, "TROUBLE_S", 0.0)
    assert disk.stuck() and disk.trouble() is not None
    good = files.create(tmp_path / "a")
    good.append(b"good")
    good.close().result(WAIT_S)
    assert not disk.stuck() and disk.trouble() is None
    monkeypatch.undo()
    assert disk.trouble() is not None  # what works beside it is no reason to look away at once


def test_a_name_that_is_taken_or_wrong_is_no_trouble_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    for path in (tmp_path / "a", tmp_path / "none" / "a", tmp_path / ("x" * 300)):
        with pytest.raises(FileError):
            files.create(path).close().result(WAIT_S)
    assert disk.trouble() is None
    disk.failed(OSError(errno.EIO, "Input/output error"))
    assert disk.trouble() is not None


def test_what_the_disk_is_too_far_behind_for_is_trouble(tmp_path: Path) -> None:
    file = files.create(tmp_path / "a")
    files.configure(limit_bytes=10)
    with pytest.raises(FileError):
        file.append(b"not taken")
    assert disk.trouble() is not None
    files.configure()
    assert disk.trouble() is None
    file.append(b"taken")
    assert file.close().result(WAIT_S) == 5
    assert file.landed == 5


def test_all_files_of_a_folder_can_be_given_up_and_keep_what_they_have(tmp_path: Path) -> None:
    inside, beside = tmp_path / "in", tmp_path / "inside"
    for folder in (inside, beside):
        folder.mkdir()
    good, bad = files.create(beside / "a"), files.create(inside / "a")
    for file in (good, bad):
        file.append(b"until here")
        file.skip(6)
    pause = threading.Event()
    while bad.landed < 16:
        pause.wait(0.01)
    assert files.fail_below(inside, OSError(errno.EIO, "Input/output error")) == 1
    with pytest.raises(FileError, match="Input/output"):
        bad.append(b"no more")
    with pytest.raises(FileError, match="Input/output"):
        bad.close().result(WAIT_S)
    assert (inside / "a").read_bytes() == b"until here" + bytes(6)
    good.append(b"!")
    assert good.close().result(WAIT_S) == 17
