"""``receiver erase`` on folders as recordings leave them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from receiver import files
from receiver.audio import AudioFormat, Encoding
from receiver.cli.erase import erase
from receiver.events import Ended, EndReason
from receiver.recordings import Recording, SinkEntry
from receiver.stream import StreamFacts

APP = typer.Typer()
APP.command()(erase)
STARTED = datetime(2026, 11, 21, 10, 20, 7, tzinfo=UTC)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty working directory, none of the developer's variables, and no thread left."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("receiver.cli.erase.configure", lambda level, form: None)  # logs are for the tests to look at
    for name in os.environ:
        if name.startswith("RECEIVER"):
            monkeypatch.delenv(name)
    yield
    files.shutdown()


def record(name: str, *, ended: bool = True, **sinks: str) -> Recording:
    facts = StreamFacts(
        id=name,
        source="default",
        dialect="signalwire",
        stream_id="theirs",
        call_id="CA1",
        account_id=None,
        tracks=("inbound",),
        format=AudioFormat(Encoding.PCMU, 8000),
        parameters={},
        path_parameters={},
        peer_address="192.0.2.1",
        token="main",
        started=STARTED,
    )
    recording = Recording.create(Path("recordings"), "{date}/{stream_id}", facts)
    if ended:
        entries: Any = {sink: SinkEntry(status, None, {}, 0) for sink, status in sinks.items()}  # type: ignore[arg-type]
        recording.finish(Ended(EndReason.STOP, True, {}), STARTED, entries)
        if "running" not in sinks.values():
            recording.close()
    return recording


def run(*arguments: str) -> Result:
    return CliRunner().invoke(APP, list(arguments))


def test_a_stream_is_erased_and_the_log_says_by_whom(tmp_path: Path, capture_logs: Any) -> None:
    directory = record("one").directory
    record("two")
    size = (directory / "stream.json").stat().st_size
    with capture_logs() as logs:
        result = run("one")
    assert (result.exit_code, result.stdout) == (0, f"erased  2026-11-21/one  1 files, {size} bytes\n")
    assert [(line["event"], line["stream"], line["by"]) for line in logs] == [("stream_erased", "one", "command line")]
    assert [path.name for path in Path("recordings").glob("*/*")] == ["two"]
    result = run("one")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "receiver erase: there is no such stream\n"


def test_of_a_call_what_must_stay_is_named(tmp_path: Path) -> None:
    record("over")
    record("live", ended=False)
    record("late", slow="running")
    held = record("held").directory
    (held / "cloud.pending").touch()
    result = run("--call", "CA1")
    assert result.exit_code == 1
    lines = sorted(line.replace(str(tmp_path), "") for line in result.stdout.splitlines())
    assert lines[0].startswith("erased  2026-11-21/over  1 files")
    assert lines[1:] == [
        "kept    /recordings/2026-11-21/held  sinks are at work on it: cloud",
        "kept    /recordings/2026-11-21/late  sinks are at work on it: slow",
        "kept    /recordings/2026-11-21/live  it is live",
    ]


def test_a_disk_that_fails_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*arguments: Any, **named: Any) -> None:
        raise OSError(5, "Input/output error")

    directory = record("one").directory
    monkeypatch.setattr(os, "rename", failing)
    result = run("one")
    assert (result.exit_code, result.stdout) == (1, f"kept    {directory}  the disk failed: Input/output error\n")


def test_the_root_is_the_configured_one(tmp_path: Path) -> None:
    record("one")
    shutil.move("recordings", "elsewhere")
    Path("mine.toml").write_text(f"[recordings]\ndirectory = {json.dumps(str(tmp_path / 'elsewhere'))}\n")
    assert run("one").exit_code == 1
    assert run("one", "-c", "mine.toml").exit_code == 0
    assert list(Path("elsewhere").iterdir()) == []


@pytest.mark.parametrize("arguments", [(), ("one", "--call", "CA1"), ("one", "-c", "nowhere.toml")])
def test_wrong_use_is_said(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("receiver erase: ")
