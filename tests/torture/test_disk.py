"""What the model says of a power cut."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from calls import Call
from disk import Disk, Luck

ROOT = Path("/r")
NAMED = {"all": Luck.ALL, "none": Luck.NONE, "names": Luck.NAMES, "zeros": Luck.ZEROS}


class Machine:
    """A disk, and a clock that ticks with every call."""

    def __init__(self) -> None:
        self.disk = Disk(ROOT)
        self.now = 0.0

    def do(self, kind: Any, path: str, handle: int = 0, **more: Any) -> None:
        self.now += 1
        call = Call(self.now - 0.5, self.now, kind, str(ROOT / path), handle=handle, **more)
        if kind in ("sync", "sync_all"):
            self.disk.begin(call)
        self.disk.do(call)

    def left(self, luck: str, seed: int = 0) -> dict[str, bytes | None]:
        return dict(self.disk.left(NAMED.get(luck, Luck.SOME), random.Random(seed)))


@pytest.fixture
def machine() -> Machine:
    """With a folder and a file of which the first three bytes are synced, but not their names."""
    machine = Machine()
    machine.do("mkdir", "day")
    machine.do("create", "day/a", 1)
    machine.do("write", "day/a", 1, data=b"abc")
    machine.do("sync", "day/a", 1)
    machine.do("write", "day/a", 1, offset=5, data=b"fg")
    return machine


def test_without_a_sync_of_its_folder_a_name_may_be_gone(machine: Machine) -> None:
    assert machine.left("none") == {}
    assert machine.left("all") == {"day": None, "day/a": b"abc\0\0fg"}
    assert machine.left("names") == {"day": None, "day/a": b"abc"}
    assert machine.left("zeros") == {"day": None, "day/a": b"abc\0\0\0\0"}


def test_a_sync_of_everything_covers_names_and_contents(machine: Machine) -> None:
    machine.do("sync_all", "")
    assert machine.left("none") == {"day": None, "day/a": b"abc\0\0fg"}


def test_a_sync_does_not_cover_what_was_done_while_it_ran(machine: Machine) -> None:
    sync = Call(machine.now, machine.now + 5, "sync_all", str(ROOT))
    machine.disk.begin(sync)
    machine.do("write", "day/a", 1, offset=7, data=b"h")
    machine.do("create", "day/b", 2)
    machine.disk.do(sync)
    assert machine.left("none") == {"day": None, "day/a": b"abc\0\0fg"}
    assert machine.left("zeros") == {"day": None, "day/a": b"abc\0\0fg\0", "day/b": b""}
    machine.do("sync", "day/a", 1)
    assert machine.left("none")["day/a"] == b"abc\0\0fgh"


def test_a_name_that_was_changed_is_the_old_one_until_its_folder_is_synced(machine: Machine) -> None:
    machine.do("sync_all", "")
    machine.do("open", "day", 3)
    machine.do("rename", "day/a", to="/r/day/b")
    machine.do("write", "day/b", 1, offset=7, data=b"h")  # a file that is open goes by no name
    assert set(machine.left("none")) == {"day", "day/a"}
    assert set(machine.left("names")) == {"day", "day/b"}
    machine.do("sync", "day", 3)
    assert machine.left("none") == {"day": None, "day/b": b"abc\0\0fg"}
    machine.do("unlink", "day/b")
    assert set(machine.left("none")) == {"day", "day/b"}
    assert set(machine.left("all")) == {"day"}


def test_what_was_cut_off_may_come_back_and_dice_choose_among_what_may_be(machine: Machine) -> None:
    machine.do("sync_all", "")
    machine.do("truncate", "day/a", 1, size=1)
    machine.do("write", "day/a", 1, offset=1, data=b"z")
    assert machine.left("none")["day/a"] == b"abc\0\0fg"
    assert machine.left("all")["day/a"] == b"az"
    assert {machine.left("some", seed)["day/a"] for seed in range(50)} == {b"abc\0\0fg", b"a", b"az"}


def test_the_root_is_there_and_may_be_opened_and_synced(machine: Machine) -> None:
    machine.do("mkdir", "")
    machine.do("open", "", 9)
    machine.do("sync", "", 9)
    assert machine.left("none") == {"day": None}
