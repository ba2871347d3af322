"""The books of a soak: what they have to notice, they notice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from soak_check import HEADER, Books
from talking import TRACKS
from voice import FRAME, Voices

FRAMES = 5
VOICES = Voices(0, FRAMES)


def line(**changes: Any) -> str:
    said = {"call": "call", "variant": 0, "end": "fin", "started": True, "frames": FRAMES, "repeated": 1, "bad": 0}
    return json.dumps({**said, "late_s": 0.25, "problem": "", **changes})


def folder(root: Path, **changes: Any) -> None:
    """A call's folder, as the server leaves it."""
    path = root / "call"
    path.mkdir(parents=True)
    samples = FRAMES * FRAME
    counters = {"received": FRAMES + 1, "placed": FRAMES, "duplicate": 1, "late": 0, "rejected": 0}
    counters |= {"length": samples, "samples": samples}
    told: dict[str, Any] = {
        "end": {"reason": "fin", "stop_received": False},
        "tracks": {track: {"counters": counters} for track in TRACKS},
        "sinks": {
            "wav": {"status": "ok", "dropped_s": {}},
            "slow": {"status": "ok", "dropped_s": {"inbound": 0.02, "outbound": 0.0}},
        },
        "annotations": [
            {
                "kind": "heard",
                "data": {"heard": {"inbound": samples - FRAME, "outbound": samples}, "dropped": {"inbound": FRAME}},
            }
        ],
    }
    (path / "stream.json").write_text(json.dumps(told | changes))
    for track in TRACKS:
        (path / f"{track}.wav").write_bytes(bytes(HEADER) + VOICES.samples(track, FRAMES).tobytes())


def test_a_call_that_is_whole_is_counted_and_its_folder_goes(tmp_path: Path) -> None:
    books = Books(tmp_path, {0: VOICES})
    books.take(line())
    books.take('{"ready": true}')
    books.look()
    assert list(books.waiting) == ["call"]  # there is no folder yet
    folder(tmp_path)
    (tmp_path / "call" / "journal.jsonl").touch()
    books.look()
    assert list(books.waiting) == ["call"]  # and here somebody is at work on it
    (tmp_path / "call" / "journal.jsonl").unlink()
    books.look()
    assert (books.problems, books.waiting, books.checked, dict(books.ends)) == ([], {}, 1, {"fin": 1})
    assert (books.fates["received"], books.dropped_s, books.late_s) == (2 * (FRAMES + 1), 0.02, 0.25)
    assert not (tmp_path / "call").exists()


def spoiled(path: Path) -> None:
    content = bytearray((path / "call" / "outbound.wav").read_bytes())
    content[HEADER + 10] ^= 1
    (path / "call" / "outbound.wav").write_bytes(content)


@pytest.mark.parametrize(
    ("changes", "spoil", "problem"),
    [
        ({"end": {"reason": "reset", "stop_received": False}}, None, "reason: reset, not fin"),
        ({"end": {"reason": "fin", "stop_received": True}}, None, "stop received: True, not False"),
        ({"annotations": [{"kind": "heard", "data": {"heard": {}, "dropped": {}}}]}, None, "missed of inbound"),
        ({}, spoiled, "audio of outbound: False, not True"),
    ],
)
def test_what_is_wrong_is_named_and_its_folder_stays(
    tmp_path: Path, changes: dict[str, Any], spoil: Any, problem: str
) -> None:
    books = Books(tmp_path, {0: VOICES})
    books.take(line())
    folder(tmp_path, **changes)
    if spoil is not None:
        spoil(tmp_path)
    books.look()
    assert len(books.problems) == 1 and books.problems[0].startswith(f"call, fin: {problem}")
    assert (tmp_path / "call").exists()


def test_a_call_that_failed_before_it_began_is_a_problem_and_nothing_is_waited_for(tmp_path: Path) -> None:
    books = Books(tmp_path, {0: VOICES})
    books.take(line(started=False, problem="HTTP/1.1 503"))
    assert (books.problems, books.waiting) == (["call: HTTP/1.1 503"], {})
