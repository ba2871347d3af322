"""The writer thread, on real files."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

from receiver import files
from receiver.files import FileError

WAIT_S = 20


@pytest.fixture(autouse=True)
def _default_limit() -> Iterator[None]:
    yield
    files.configure()
    files.shutdown()


def eventually(path: Path, content: bytes) -> None:
    """Wait, without closing, until a file holds something."""
    pause = threading.Event()
    for _ in range(WAIT_S * 100):
        if path.exists() and path.read_bytes() == content:
            return
        pause.wait(0.01)
    assert path.read_bytes() == content


def test_what_is_appended_is_in_the_file_in_order(tmp_path: Path) -> None:
    file = files.create(tmp_path / "a")
    samples = np.arange(4, dtype=np.int16)
    file.append(b"one ")
    file.append(memoryview(samples).cast("B"))
    file.append(samples)
    assert file.size == 4 + 8 + 8
    assert file.close().result(WAIT_S) == 20
    assert (tmp_path / "a").read_bytes() == b"one " + samples.tobytes() * 2


def test_it_reaches_the_file_without_anybody_asking(tmp_path: Path) -> None:
    file = files.create(tmp_path / "a")
    file.append(b"here")
    eventually(tmp_path / "a", b"here")
    file.append(b" and here")
    files.flush()
    eventually(tmp_path / "a", b"here and here")
    file.skip(1)
    file.append(b"!")
    eventually(tmp_path / "a", b"here and here\0!")
    file.close().result(WAIT_S)
    assert files.queued_bytes() == 0


def test_a_hole_reads_as_zeros_and_takes_no_room(tmp_path: Path) -> None:
    path = tmp_path / "a"
    file = files.create(path)
    file.append(b"x")
    file.skip(2**30)
    file.skip(5)
    file.append(b"y")
    file.skip(3)
    size = 1 + 2**30 + 5 + 1 + 3
    assert file.size == size
    assert file.close().result(WAIT_S) == size
    assert path.stat().st_size == size
    assert path.stat().st_blocks * 512 < 2**20
    with path.open("rb") as content:
        content.seek(-5, os.SEEK_END)
        assert content.read() == b"\0y\0\0\0"


def test_a_file_that_is_only_a_hole_has_its_size(tmp_path: Path) -> None:
    file = files.create(tmp_path / "a")
    file.skip(100)
    assert file.close().result(WAIT_S) == 100
    assert (tmp_path / "a").read_bytes() == bytes(100)


def test_a_new_file_belongs_to_us_alone(tmp_path: Path) -> None:
    files.create(tmp_path / "a").close().result(WAIT_S)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_a_slow_reader_of_a_pipe_gets_everything_in_short_writes() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, True)
    content = np.random.default_rng(1).bytes(3_000_000)
    file = files.adopt(writing, Path("pipe"))
    file.append(content)
    got = bytearray()
    while len(got) < len(content):
        got += os.read(reading, 100_000)
    os.close(reading)
    with pytest.raises(FileError):  # a pipe has no size to be cut to
        file.close().result(WAIT_S)
    assert bytes(got) == content


def test_close_is_final_and_the_same_each_time(tmp_path: Path) -> None:
    file = files.create(tmp_path / "a")
    done = file.close()
    assert file.close() is done
    assert done.result(WAIT_S) == 0
    with pytest.raises(ValueError, match="closed"):
        file.append(b"late")
    with pytest.raises(ValueError, match="closed"):
        file.skip(1)


def test_who_stops_waiting_for_a_close_does_not_undo_it(tmp_path: Path) -> None:
    async def give_up(file: files.File) -> None:
        waiting = asyncio.wrap_future(file.close())
        waiting.cancel()
        await asyncio.wait([waiting])

    file = files.create(tmp_path / "a")
    file.append(b"all of it")
    asyncio.run(give_up(file))
    assert file.close().result(WAIT_S) == 9
    after = files.create(tmp_path / "b")
    assert after.close().result(WAIT_S) == 0


def test_many_threads_write_many_files_at_once(tmp_path: Path) -> None:
    made: list[tuple[Path, Future[int]]] = []

    def produce(number: int) -> None:
        mine = [files.create(tmp_path / f"{number}-{index}") for index in range(10)]
        for line in range(200):
            for file in mine:
                file.append(b"%06d\n" % line)
        made.extend((file.path, file.close()) for file in mine)

    threads = [threading.Thread(target=produce, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    expected = b"".join(b"%06d\n" % line for line in range(200))
    assert len(made) == 40
    for path, done in made:
        assert done.result(WAIT_S) == len(expected)
        assert path.read_bytes() == expected
    assert files.queued_bytes() == 0


def test_a_shutdown_writes_all_and_a_file_goes_on_after_it(tmp_path: Path) -> None:
    file = files.create(tmp_path / "a")
    file.append(b"before")
    files.shutdown()
    assert (tmp_path / "a").read_bytes() == b"before"
    files.shutdown()
    file.append(b" after")
    file.close().result(WAIT_S)
    assert (tmp_path / "a").read_bytes() == b"before after"


def test_an_ordinary_exit_loses_nothing(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from receiver import files
files.create(Path(sys.argv[1])).append(b"x" * 100_000)
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "a")], timeout=WAIT_S, check=True)
    assert (tmp_path / "a").read_bytes() == b"x" * 100_000


def test_an_adopted_file_goes_on_from_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "a"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, b"head ")
    file = files.adopt(descriptor, path)
    file.append(b"tail")
    assert file.close().result(WAIT_S) == 4
    assert path.read_bytes() == b"head tail"
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(descriptor)
