"""What counts as trouble of the disk, and for how long."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest

from receiver import disk


@pytest.fixture(autouse=True)
def nothing_is_known() -> Iterator[None]:
    disk.forget()
    yield
    disk.forget()


def test_a_failure_is_trouble_for_a_while_and_until_something_was_written_since(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert disk.trouble() is None and not disk.stuck()
    full = OSError(errno.ENOSPC, "No space left on device")
    disk.failed(full)
    disk.worked()
    assert disk.trouble() is full  # what works beside it is no reason to look away at once
    assert not disk.stuck()
    monkeypatch.setattr(disk, "TROUBLE_S", 0.0)
    assert disk.trouble() is None
    disk.failed(full)
    assert disk.trouble() is full  # time alone heals nothing
    assert disk.stuck()
    disk.worked()
    assert disk.trouble() is None and not disk.stuck()


def test_a_path_that_is_wrong_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "TROUBLE_S", 0.0)
    for number in (errno.EEXIST, errno.ENOENT, errno.ENAMETOOLONG, errno.ECONNRESET):
        disk.failed(OSError(number, "not the disk"))
    disk.failed(OSError("of unknown kind"))
    assert disk.trouble() is None and not disk.stuck()


def test_who_begins_anew_knows_of_no_trouble() -> None:
    disk.failed(OSError(errno.EIO, "Input/output error"))
    disk.forget()
    assert disk.trouble() is None
