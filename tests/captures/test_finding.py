from __future__ import annotations

import os
from pathlib import Path

import pytest

from receiver.captures.capture import CaptureError
from receiver.captures.finding import find_captures


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three streams' folders, one of them packed, among other files."""
    for name in ("day1/a", "day1/b", "day2/c", "day2/none"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "journal.jsonl").touch()
    for name in ("day1/a/capture.jsonl", "day1/b/capture.jsonl.gz", "day2/c/capture.jsonl", "day2/own.jsonl"):
        (tmp_path / name).touch()
    return tmp_path


def names(root: Path, paths: list[Path]) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


ALL = ["day1/a/capture.jsonl", "day1/b/capture.jsonl.gz", "day2/c/capture.jsonl"]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (["day2/own.jsonl"], ["day2/own.jsonl"]),
        (["day1/a"], ["day1/a/capture.jsonl"]),
        (["."], ALL),
        (["day1"], ALL[:2]),
        (["day*/a", "day1/b"], ALL[:2]),
        (["day?/*"], [*ALL, "day2/own.jsonl"]),
        (["**/capture.jsonl*"], ALL),
        (["day2", "day1/a/capture.jsonl", "day1/a", "day1"], ALL),
    ],
)
def test_files_folders_and_patterns(
    root: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], found: list[str]
) -> None:
    assert names(root, find_captures([str(root / one) for one in given])) == found
    monkeypatch.chdir(root)
    assert find_captures([Path(one) for one in given]) == sorted(Path(one) for one in found)


def test_a_capture_is_found_once_by_whatever_name(root: Path) -> None:
    os.symlink(root / "day1", root / "link")
    os.link(root / "day1/a/capture.jsonl", root / "day2/none/capture.jsonl")
    found = find_captures([root / "link" / "a", root / "day1" / "a", root / "day2"])
    assert names(root, found) == ["day2/c/capture.jsonl", "day2/none/capture.jsonl", "link/a/capture.jsonl"]


def test_one_that_is_there_packed_as_well_is_one(root: Path) -> None:
    (root / "day1/a/capture.jsonl.gz").touch()
    (root / "day1/a/inner").mkdir()
    (root / "day1/a/inner/capture.jsonl").touch()
    assert names(root, find_captures([root / "day1"])) == ALL[:2]


def test_a_pipe_of_that_name_is_not_waited_for(root: Path) -> None:
    os.mkfifo(root / "day2/none/capture.jsonl")
    assert names(root, find_captures([root])) == ALL


def test_a_file_may_look_like_a_pattern(root: Path) -> None:
    path = root / "a[1].jsonl"
    path.touch()
    assert find_captures([path]) == [path]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("nowhere", "nowhere: no such file or folder"),
        ("dangling", "dangling: no such file or folder"),
        ("day2/none", "none: no capture.jsonl in this folder, nor below it"),
        ("day9/*", "day9/[*]: matches no capture"),
        ("day2/no*", "day2/no[*]: matches no capture"),
    ],
)
def test_what_holds_no_capture_is_named(root: Path, given: str, problem: str) -> None:
    os.symlink("gone", root / "dangling")
    with pytest.raises(CaptureError, match=problem):
        find_captures([root / "day1", root / given])


def test_captures_under_names_of_their_own_are_found_in_their_folder(tmp_path: Path) -> None:
    for name in ("lost.jsonl", "late.jsonl.gz", "journal.jsonl", "lost.expected.json", "inner/deeper.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert names(tmp_path, find_captures([tmp_path])) == ["late.jsonl.gz", "lost.jsonl"]
