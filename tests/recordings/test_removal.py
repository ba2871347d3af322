"""The steps of removing a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from receiver.recordings.removal import (
    ORIGIN,
    claimed,
    empty,
    measure,
    open_folder,
    read_origin,
    remove_empty,
    write_origin,
)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_only_one_can_claim_a_folder(tmp_path: Path, stack: ExitStack) -> None:
    with ExitStack() as other:
        assert claimed(open_folder(other, tmp_path, None))
        assert not claimed(open_folder(stack, tmp_path, None))
    assert claimed(open_folder(stack, tmp_path, None))


def test_a_folder_says_where_it_was(tmp_path: Path, stack: ExitStack) -> None:
    folder = open_folder(stack, tmp_path, None)
    assert read_origin(folder) == ()
    write_origin(folder, ("2026-11-21", "a b\n"))
    write_origin(folder, ("another",))
    assert read_origin(folder) == ("2026-11-21", "a b\n")
    assert measure(folder) == (0, 0, 0)


@pytest.mark.parametrize("place", ["/etc", "..", "a/../b", "a//b", "./a", "/"])
def test_a_place_outside_of_the_root_is_not_believed(tmp_path: Path, stack: ExitStack, place: str) -> None:
    os.symlink(place, tmp_path / ORIGIN)
    assert read_origin(open_folder(stack, tmp_path, None)) == ()


def test_the_last_names_go_last(tmp_path: Path, stack: ExitStack) -> None:
    for name in ("b", "a", "z"):
        (tmp_path / name).touch()
    (tmp_path / "c" / "d").mkdir(parents=True)
    folder = open_folder(stack, tmp_path, None)
    (tmp_path / "last").mkdir()
    empty(folder, last=("last", "a", "there is none"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_as_long_as_it_says_and_frees_what_it_takes(tmp_path: Path, stack: ExitStack) -> None:
    (tmp_path / "full").write_bytes(bytes(range(256)) * 400)
    with open(tmp_path / "hole", "wb") as file:
        file.truncate(10**6)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "one").write_bytes(b"1")
    os.link(tmp_path / "full", tmp_path / "deep" / "same")
    files, size, freed = measure(open_folder(stack, tmp_path, None))
    assert (files, size) == (4, 2 * 102_400 + 10**6 + 1)
    assert freed < 102_400  # both names of it may stay somewhere


def test_folders_go_from_below_until_one_has_something_in_it(tmp_path: Path, stack: ExitStack) -> None:
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "a" / "file").touch()
    way = [open_folder(stack, tmp_path, None)]
    for name in ("a", "b"):
        way.append(open_folder(stack, name, way[-1]))
    remove_empty(way, ("a", "b", "c"))
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["file"]
