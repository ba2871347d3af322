"""A stream or a call erased because somebody asked, and what the answer says of it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from receiver.recordings.asked import Outcome, erase_asked
from receiver.recordings.erasing import Eraser

TEMPLATE = "{date}/{stream_id}"


def ask(root: Path, **wanted: Any) -> Outcome:
    return erase_asked(Eraser(root, lambda erased: None), TEMPLATE, **wanted)


def test_a_stream_goes_by_its_id_and_nothing_else(tmp_path: Path, lab: Any) -> None:
    for name in ("one", "two"):
        lab.ended_stream(tmp_path, id=name)
    outcome = ask(tmp_path, stream_id="one")
    assert ([erased.id for erased in outcome.erased], outcome.kept) == (["one"], [])
    assert [path.name for path in tmp_path.glob("*/*")] == ["two"]
    assert ask(tmp_path, stream_id="one") == Outcome([], [])
    assert ask(tmp_path) == Outcome([], [])


def test_of_a_call_all_goes_that_can_and_the_rest_is_told(tmp_path: Path, lab: Any) -> None:
    other = lab.ended_stream(tmp_path, id="other", call_id="CA2")
    lab.ended_stream(tmp_path, id="over")
    lab.crash(lab.make(tmp_path, id="crashed"))
    lab.make(tmp_path, id="live")
    held = lab.ended_stream(tmp_path, id="held")
    (held / "mail.pending").touch()
    outcome = ask(tmp_path, call_id="CA1", live=["elsewhere"])
    assert sorted(str(erased.id) for erased in outcome.erased) == ["crashed", "over"]
    kept = sorted((str(kept.id), kept.why, kept.sinks) for kept in outcome.kept)
    assert kept == [("held", "sinks", ("mail",)), ("live", "live", ())]
    assert sorted(path.name for path in tmp_path.glob("*/*")) == ["held", "live", other.name]


def test_what_the_caller_knows_to_be_live_is_left_alone(tmp_path: Path, lab: Any) -> None:
    over = lab.ended_stream(tmp_path, id="one")
    assert ask(tmp_path, stream_id="one", live=["one"]) == Outcome([], [])
    assert over.exists()


def test_a_disk_that_fails_is_told(
    tmp_path: Path, lab: Any, monkeypatch: pytest.MonkeyPatch, capture_logs: Any
) -> None:
    over = lab.ended_stream(tmp_path)

    def failing(*arguments: Any, **named: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "rename", failing)
    with capture_logs() as logs:
        outcome = ask(tmp_path, call_id="CA1", by="operator")
    [kept] = outcome.kept
    assert (outcome.erased, kept.id, kept.why, kept.problem) == ([], "0199-ours", "failed", "Input/output error")
    assert [(line["event"], line["by"]) for line in logs] == [("stream_not_erased", "operator")]
    assert over.exists()


def test_folders_that_cannot_be_read_may_be_of_the_call(
    tmp_path: Path, lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, _ = lab.ended_stream(tmp_path, id="bad"), lab.ended_stream(tmp_path, id="good")
    opening = os.open
    number = errno.EIO

    def failing(path: Any, *arguments: Any, **named: Any) -> int:
        if path == str(bad):
            raise OSError(number, os.strerror(number))
        return opening(path, *arguments, **named)

    monkeypatch.setattr(os, "open", failing)
    outcome = ask(tmp_path, call_id="CA1")
    assert [erased.id for erased in outcome.erased] == ["good"]
    assert [(kept.directory, kept.why) for kept in outcome.kept] == [(str(bad), "failed")]
    number = errno.EACCES  # another account's: none of ours
    assert ask(tmp_path, call_id="CA1") == Outcome([], [])
    number = errno.EIO
    lab.ended_stream(tmp_path, id="next")
    assert ask(tmp_path, stream_id="next").kept == []  # what could not be read was not this one
    assert [kept.why for kept in ask(tmp_path, stream_id="next").kept] == ["failed"]
