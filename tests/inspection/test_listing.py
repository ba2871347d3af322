from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest

from receiver.inspection import listing
from receiver.inspection.listing import StreamSummary, as_json, read, streams
from receiver.recordings import SinkEntry

NOW = datetime(2026, 11, 21, 10, 20, 7, tzinfo=UTC)


def identifier(number: int, day: int = 0) -> str:
    milliseconds = int((NOW - timedelta(days=day)).timestamp() * 1000) + number
    return str(UUID(int=(milliseconds << 80) | (0x7 << 76) | (0x2 << 62) | number))


def place(folder: Path, like: Path, **changes: Any) -> None:
    folder.mkdir(parents=True)
    text = json.loads((like / "stream.json").read_text())
    (folder / "stream.json").write_text(json.dumps(text | changes))


def listed(root: Path, problems: list[str] | None = None) -> list[StreamSummary]:
    def complain(folder: Path, problem: str) -> None:
        assert problems is not None, problem
        problems.append(f"{folder.name}: {problem}")

    return list(streams(root, complain))


@pytest.fixture
def sample(lab: ModuleType, tmp_path: Path) -> Path:
    sinks = {"wav": SinkEntry("failed", "disk full", {}, 0), "web": SinkEntry("ok", None, {}, 0)}
    folder: Path = lab.finish(lab.recorded(tmp_path / "sample"), sinks=sinks)
    return folder


def test_a_stream_in_a_line(sample: Path) -> None:
    found = json.loads(as_json(read(sample)))
    assert found == {
        "id": "0199-ours",
        "state": "ended",
        "started": "2026-11-21T10:20:07Z",
        "duration_s": 1.0,
        "source": "phone",
        "call_id": "call-1",
        "stream_id": "theirs",
        "format": {"encoding": "PCMU", "rate": 8000, "channels": 1},
        "tracks": ["inbound"],
        "end": "stop",
        "stop_received": True,
        "gaps_s": {"lost": 0.1},
        "sinks": {"wav": "failed"},
        "capture": False,
        "folder": str(sample),
    }


def test_live_and_crashed_ones_are_told_from_their_journals(lab: ModuleType, tmp_path: Path) -> None:
    recording = lab.recorded(tmp_path)
    (recording.directory / "capture.jsonl").touch()
    lab.files.shutdown()
    live = read(recording.directory)
    assert (live.state, live.end, live.duration_s, live.gaps_s) == ("live", None, 1.0, {"lost": 0.1})
    assert live.capture and live.tracks == ["inbound"] and live.call_id == "call-1"
    crashed = read(lab.crash(recording))
    assert (crashed.state, crashed.duration_s) == ("crashed", 1.0)


def test_of_a_long_journal_only_the_end_is_read(
    lab: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "TAIL_BYTES", 1000)
    recording = lab.recorded(tmp_path)
    for _ in range(20):
        recording.progress({"inbound": lab.counters()})
    recording.progress({"inbound": lab.TrackCounters(8000, length=72_000)})
    folder = lab.crash(recording)
    assert read(folder).duration_s == 9.0
    with (folder / "journal.jsonl").open("a") as journal:
        journal.write('{"progress": "nonsense"}\n{"progress":{"inbound":{"rate":8000,"length":')
    assert read(folder).duration_s == 9.0


def test_the_newest_come_first_and_the_others_are_not_even_opened(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    for day in range(3):
        date = f"{NOW - timedelta(days=day):%Y-%m-%d}"
        for number in range(5):
            started = (NOW - timedelta(days=day) + timedelta(milliseconds=number)).isoformat()
            place(root / date / identifier(number, day), sample, id=f"{day}.{number}", started=started)
    opened: list[Path] = []
    real = listing.read
    monkeypatch.setattr(listing, "read", lambda folder: (opened.append(folder), real(folder))[1])
    found = [summary.id for summary in islice(streams(root, lambda *_: None), 7)]
    assert found == ["0.4", "0.3", "0.2", "0.1", "0.0", "1.4", "1.3"]
    assert len(opened) <= 8


def test_other_names_are_sorted_by_when_they_started(sample: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    for number, name in enumerate(("zoe/2026-11-20/x", "adam/2026-11-21/b", "adam/2026-11-21/a", "2026-11-21/mixed")):
        place(root / name, sample, id=name, started=(NOW + timedelta(hours=number)).isoformat())
    place(root / identifier(0), sample, id="ours", started=(NOW + timedelta(minutes=90)).isoformat())
    assert [summary.id for summary in listed(root)] == [
        "2026-11-21/mixed", "adam/2026-11-21/a", "ours", "adam/2026-11-21/b", "zoe/2026-11-20/x",
    ]  # fmt: skip


def test_what_cannot_be_read_is_said_and_passed_over(sample: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    place(root / "good", sample)
    for name, file, text in (
        ("a", "stream.json", "{"), ("b", "stream.json", '{"id":1}'), ("c", "journal.jsonl", ""), ("e", "other.txt", ""),
    ):  # fmt: skip
        (root / name).mkdir()
        (root / name / file).write_text(text)
    (root / "link").symlink_to(sample.parent)
    problems: list[str] = []
    assert [summary.id for summary in listed(root, problems)] == ["0199-ours"]
    assert [problem[:30] for problem in sorted(problems)] == [
        "a: stream.json cannot be read:", "b: stream.json cannot be read:", "c: the first line of journal.j",
    ]  # fmt: skip


def test_a_folder_whose_journal_has_just_gone_is_read_again_and_then_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"stream\.json"):
        read(tmp_path)


def test_a_root_that_is_not_there_is_said(tmp_path: Path) -> None:
    problems: list[str] = []
    assert listed(tmp_path / "none", problems) == [] and problems == ["none: No such file or directory"]


def test_ten_thousand_folders_cost_only_what_is_asked_for(sample: Path, tmp_path: Path) -> None:
    """Files opened, not seconds: those depend on the machine."""
    date = tmp_path / "root" / "2026-11-21"
    date.mkdir(parents=True)
    for number in range(10_000):
        (date / identifier(number)).mkdir()
    for number in range(9_990, 10_000):
        (date / identifier(number) / "stream.json").write_bytes((sample / "stream.json").read_bytes())
    assert len(list(islice(streams(tmp_path / "root", lambda *_: None), 5))) == 5
