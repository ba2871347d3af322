"""A few leftovers, beside somebody else's files and a live server's streams."""

from __future__ import annotations

import math
from pathlib import Path

import leftovers
from outcome import say


def test_leftovers_are_finished_once_and_nothing_else_is_touched(tmp_path: Path) -> None:
    outcome = leftovers.run(tmp_path, streams=12, seconds=0.6, say=say, asked_s=math.inf)
    assert outcome.problems == []
    assert outcome.verdict == "kept"
    assert outcome.values["start_s"] > 0


def test_a_tree_shows_every_change(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b"
    file.parent.mkdir()
    file.write_bytes(b"1")
    before = leftovers.tree(tmp_path)
    assert leftovers.tree(tmp_path) == before
    file.write_bytes(b"2")
    assert leftovers.tree(tmp_path) != before
