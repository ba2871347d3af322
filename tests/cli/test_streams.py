"""``receiver streams`` on folders as recordings leave them."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner, Result

from receiver import files
from receiver.audio import AudioFormat, Encoding
from receiver.cli.streams import HEAD, print_streams, streams
from receiver.events import Ended, EndReason, TrackCounters
from receiver.inspection.listing import streams as listed
from receiver.recordings import Recording, SinkEntry
from receiver.stream import StreamFacts

APP = typer.Typer()
APP.command()(streams)
STARTED = datetime(2026, 11, 21, 10, 20, 7, tzinfo=UTC)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty working directory, none of the developer's variables, and no thread left."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("RECEIVER"):
            monkeypatch.delenv(name)
    yield
    files.configure()
    files.shutdown()


def record(name: str, *, started: datetime = STARTED, **changes: Any) -> Recording:
    given: dict[str, Any] = {
        "id": name,
        "source": "default",
        "dialect": "signalwire",
        "stream_id": "theirs",
        "call_id": f"call-{name}",
        "account_id": None,
        "tracks": ("inbound", "outbound"),
        "format": AudioFormat(Encoding.PCMU, 8000),
        "parameters": {},
        "path_parameters": {},
        "peer_address": "192.0.2.1",
        "token": "main",
        "started": started,
    }
    recording = Recording.create(Path("recordings"), "{date}/{stream_id}", StreamFacts(**{**given, **changes}))
    recording.progress({"inbound": TrackCounters(8000, length=4000)})
    return recording


def ended(name: str, *, reason: EndReason = EndReason.STOP, sink: str = "ok", **changes: Any) -> Path:
    recording = record(name, **changes)
    counters = TrackCounters(8000, length=100_000, gaps={"lost": 1600, "unsent": 8000})
    end = Ended(reason, reason is EndReason.STOP, {"inbound": counters})
    recording.finish(end, STARTED + timedelta(seconds=12.5), {"wav": SinkEntry(sink, None, {}, 0)})  # type: ignore[arg-type]
    recording.close()
    return recording.directory


def crashed(name: str, **changes: Any) -> None:
    record(name, **changes).close(keep_journal=True)
    files.shutdown()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(APP, list(arguments))


def rows(result: Result) -> list[list[str]]:
    assert result.exit_code == 0, result.output
    head, *lines = [line.split("  ") for line in result.stdout.splitlines()]
    assert [cell.strip() for cell in head if cell] == list(HEAD)
    return [[cell.strip() for cell in line if cell.strip()] for line in lines]


def test_a_line_per_stream_the_newest_first() -> None:
    ended("a")
    ended("b", started=STARTED + timedelta(minutes=1), reason=EndReason.RESET, sink="failed", source="lab")
    assert rows(run()) == [
        ["2026-11-21 10:21:07", "12.5", "lab", "PCMU 8000: inbound, outbound", "reset", "0.20 lost, 1.00 unsent",
         "wav failed", "call-b", "2026-11-21/b"],
        ["2026-11-21 10:20:07", "12.5", "default", "PCMU 8000: inbound, outbound", "stop", "0.20 lost, 1.00 unsent",
         "-", "call-a", "2026-11-21/a"],
    ]  # fmt: skip


def test_live_and_crashed_ones_are_marked() -> None:
    crashed("a")
    live = record("b", started=STARTED + timedelta(minutes=1))
    files.shutdown()  # what waited is written; the journal stays locked
    assert [(row[1], row[4]) for row in rows(run())] == [("0.5", "live"), ("0.5", "crashed")]
    live.close()


def test_at_most_so_many_since_then_and_of_that_source() -> None:
    for number in range(5):
        ended(f"s{number}", started=STARTED + timedelta(hours=number), source="odd" if number % 2 else "even")
    assert [row[-2] for row in rows(run("2"))] == ["call-s4", "call-s3"]
    assert [row[-2] for row in rows(run("--source", "odd"))] == ["call-s3", "call-s1"]
    assert [row[-2] for row in rows(run("--since", "2026-11-21T13:20:07"))] == ["call-s4", "call-s3"]
    assert [row[-2] for row in rows(run("--since", "2026-11-21T15:20:07+02:00"))] == ["call-s4", "call-s3"]
    assert len(rows(run("--since", "2026-11-21"))) == 5
    assert run("--since", "2026-11-22").stdout == "No streams.\n"


def test_since_may_be_a_span() -> None:
    ended("old", started=datetime.now(UTC) - timedelta(hours=3))
    ended("new", started=datetime.now(UTC) - timedelta(minutes=10))
    for span, count in (("30m", 1), ("2h", 1), ("4h", 2), ("1d", 2)):
        assert len(rows(run("--since", span))) == count


def test_json_is_an_object_per_line() -> None:
    ended("a")
    ended("b", started=STARTED + timedelta(minutes=1))
    result = run("--json")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [one["id"] for one in found] == ["b", "a"]
    assert found[0]["gaps_s"] == {"lost": 0.2, "unsent": 1.0} and found[0]["state"] == "ended"


def test_what_cannot_be_read_is_said_and_passed_over() -> None:
    ended("a")
    (ended("b") / "stream.json").write_text("{")
    result = run()
    assert len(rows(result)) == 1
    assert result.stderr.startswith("receiver streams: recordings/2026-11-21/b: stream.json cannot be read") or (
        "/recordings/2026-11-21/b: stream.json cannot be read" in result.stderr
    )


def test_the_configuration_says_where(tmp_path: Path) -> None:
    ended("a")
    (tmp_path / "recordings").rename(tmp_path / "elsewhere")
    result = run()
    assert (result.exit_code, result.stdout) == (0, "") and "nothing was recorded" in result.stderr
    Path("mine.toml").write_text('[recordings]\ndirectory = "elsewhere"\n')
    assert len(rows(run("-c", "mine.toml"))) == 1


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [(["-c", "none.toml"], "none.toml is not there"), (["--since", "yesterday"], "--since: 'yesterday' is neither")],
)
def test_what_is_wrong_is_named_and_ends_with_2(arguments: list[str], problem: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2 and problem in result.stderr and result.stdout == ""


def test_a_peers_text_does_nothing_but_stand_there() -> None:
    folder = ended("a")
    text = json.loads((folder / "stream.json").read_text()) | {"call_id": "[red]\x1b[2J\u202e"}
    (folder / "stream.json").write_text(json.dumps(text))
    assert rows(run())[0][-2] == "[red]\\x1b[2J\\u202e"


def test_on_a_narrow_terminal_there_are_two_lines_for_each() -> None:
    ended("a")
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True, highlight=False, _environ={}, color_system=None)
    found = list(listed(Path("recordings"), lambda *_: None))
    print_streams(found, Path("recordings"), console)
    lines = out.getvalue().splitlines()
    assert len(lines) == 4 and max(map(len, lines)) <= 80
    assert lines[3] == "    0.20 lost, 1.00 unsent  -  call-a  2026-11-21/a"
