"""What strace writes, understood."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from calls import command, read
from outcome import CannotRun

ROOT = Path("/r")


def hexed(text: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in text.encode())


def calls_of(tmp_path: Path, *threads: str) -> list[tuple[str, str]]:
    for number, lines in enumerate(threads):
        (tmp_path / f"t.{number}").write_text(lines)
    return [(call.kind, call.path) for call in read(tmp_path / "t", ROOT)]


def line(at: float, text: str, result: int = 0, took: float = 0.1) -> str:
    return f"{at:.6f} {text} = {result} <{took:.6f}>\n"


def test_calls_of_all_threads_come_in_the_order_in_which_they_came_back(tmp_path: Path) -> None:
    path = f'"{hexed("/r/a")}"'
    one = line(1, f"openat(AT_FDCWD</>, {path}, O_WRONLY|O_CREAT|O_EXCL, 0600)", 3)
    one += line(2, f'write(3<{hexed("/r/a")}>, "{hexed("abc")}", 3)', 3, took=2)
    two = line(2.5, f'rename({path}, "{hexed("/r/b")}")')
    assert calls_of(tmp_path, one, two) == [("create", "/r/a"), ("rename", "/r/a"), ("write", "/r/a")]


def test_positions_are_followed_over_writes_holes_and_descriptors_that_are_used_again(tmp_path: Path) -> None:
    opened = f'openat(5</r>, "{hexed("a")}", O_RDWR|O_CREAT, 0600)'
    lines = line(1, opened, 3)
    lines += line(2, f'write(3</r/a>, "{hexed("abc")}", 3)', 3)
    lines += line(3, "lseek(3</r/a>, 7, SEEK_CUR)", 10)
    lines += line(4, f'write(3</r/a>, "{hexed("defg")}", 4)', 2)  # a short write
    lines += line(5, f'pwrite64(3</r/a>, "{hexed("h")}", 1, 44)', 1)
    lines += line(6, "ftruncate(3</r/a>, 12)")
    lines += line(7, opened.replace(hexed("a"), hexed("b")).replace("O_CREAT", "O_CREAT|O_TRUNC"), 3)
    lines += line(8, f'write(3</r/b>, "{hexed("i")}", 1)', 1)
    (tmp_path / "t.1").write_text(lines)
    found = [(call.kind, call.offset, call.data, call.size) for call in read(tmp_path / "t", ROOT)]
    assert found == [
        ("create", 0, b"", 0),
        ("write", 0, b"abc", 0),
        ("write", 10, b"de", 0),
        ("write", 44, b"h", 0),
        ("truncate", 0, b"", 12),
        ("create", 0, b"", 0),
        ("truncate", 0, b"", 0),
        ("write", 0, b"i", 0),
    ]


def test_what_is_elsewhere_is_none_of_ours_and_a_sync_of_all_is(tmp_path: Path) -> None:
    lines = line(1, f'openat(AT_FDCWD</>, "{hexed("/etc/passwd")}", O_RDONLY)', 3)
    lines += line(2, f'write(1</dev/null>, "{hexed("x")}", 1)', 1)
    lines += line(3, "syncfs(4</r>)") + line(4, "fsync(9</s>)") + "4.5 exit_group(0) = ?\n+++ exited with 0 +++\n"
    assert calls_of(tmp_path, lines) == [("sync_all", "/r")]


def test_a_call_that_it_has_not_been_taught_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"fallocate of /r/a: nobody has taught"):
        calls_of(tmp_path, line(1, "fallocate(3</r/a>, 0, 0, 10)"))


def test_a_path_that_may_be_anywhere_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"of which folder is not said"):
        calls_of(tmp_path, line(1, f'unlink("{hexed("a")}")'))


def test_without_strace_it_says_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotRun, match="apt-get install strace"):
        command(tmp_path / "t")


PROGRAM = """
import os, sys
os.chdir(sys.argv[1])
os.mkdir(os.path.abspath("sub"), 0o700)
where = os.open("sub", os.O_RDONLY)
file = os.open(os.path.abspath("sub/x"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
os.write(file, b"\\0\\xff audio")
os.lseek(file, 5, os.SEEK_CUR)
os.ftruncate(file, 20)
os.pwrite(file, b"head", 0)
os.fsync(file)
os.fsync(where)
os.rename(os.path.abspath("sub/x"), os.path.abspath("sub/y"))
os.unlink("y", dir_fd=where)
"""


@pytest.mark.system
def test_a_real_program_is_understood(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    subprocess.run([*command(tmp_path / "t"), sys.executable, "-c", PROGRAM, str(root)], check=True, timeout=50)
    deadline = time.monotonic() + 20
    while "+++" not in "".join(path.read_text() for path in tmp_path.glob("t.*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    found = [(call.kind, Path(call.path).name) for call in read(tmp_path / "t", root) if call.kind != "open"]
    assert found == [
        ("mkdir", "sub"),
        ("create", "x"),
        ("write", "x"),
        ("truncate", "x"),
        ("write", "x"),
        ("sync", "x"),
        ("sync", "sub"),
        ("rename", "x"),
        ("unlink", "y"),
    ]
