from __future__ import annotations

import os
from pathlib import Path

import pytest

from receiver.inspection.folder import InspectionError
from receiver.inspection.target import check_target, write


@pytest.mark.parametrize(
    "name", ["capture.jsonl", "capture.jsonl.gz", "stream.json", "inbound.wav", "png", "a.png.bak"]
)
def test_only_the_name_of_a_picture_is_taken(name: str, tmp_path: Path) -> None:
    with pytest.raises(InspectionError, match=r"must end in \.png or \.html"):
        check_target(tmp_path / name, (".png", ".html"), tmp_path)
    check_target(tmp_path / "a.PNG", (".png",), tmp_path)


def test_what_is_inspected_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "capture.png").write_text("a capture with an odd name")
    (tmp_path / "link.png").symlink_to("capture.png")
    for name in ("capture.png", "link.png"):
        with pytest.raises(InspectionError, match="is what is to be inspected"):
            check_target(tmp_path / name, (".png",), tmp_path / "capture.png")
    (tmp_path / "d.png").mkdir()
    with pytest.raises(InspectionError, match="is a folder"):
        check_target(tmp_path / "d.png", (".png",), tmp_path)


def test_a_file_is_written_whole_and_replaces_an_older_one(tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    target.write_text("old")
    write(target, b"new")
    assert target.read_bytes() == b"new" and os.listdir(tmp_path) == ["a.png"]
    assert target.stat().st_mode & 0o777 == 0o600


def test_where_it_cannot_be_written_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(InspectionError, match=r"none/a\.png: No such file or directory"):
        write(tmp_path / "none" / "a.png", b"")
    (tmp_path / "d.png").mkdir()
    with pytest.raises(InspectionError, match=r"d\.png: "):
        write(tmp_path / "d.png", b"")
    assert os.listdir(tmp_path) == ["d.png"]
