"""``receiver process`` as it is used: captures of a real server, through the configured sinks or others."""

from __future__ import annotations

import gzip
import os
import shutil
import textwrap
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from receiver.captures.capture import Batch, End, Header, encode_batch, encode_end, encode_header
from receiver.cli.process import process
from receiver.events import EndReason
from receiver.simulate import SPEECH, Call, messages

APP = typer.Typer()
APP.command()(process)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory and none of the developer's variables."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("RECEIVER"):
            monkeypatch.delenv(name)


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Both sides of the bundled call, read every 60 ms."""
    path = tmp_path / "kept" / "capture.jsonl"
    path.parent.mkdir()
    said = messages(Call(inbound=SPEECH / "inbound.flac", outbound=SPEECH / "outbound.flac"))
    batches: dict[float, list[str | bytes | int]] = {}
    for due_s, message in said:
        batches.setdefault(round((int(due_s / 0.06) + 1) * 0.06, 2), []).append(message)
    with path.open("wb") as file:
        file.write(encode_header(Header(version=1, source="default", stream="01900000-0000-7000-8000-000000000001")))
        for at, data in batches.items():
            file.write(encode_batch(Batch(at, data)))
        file.write(encode_end(End(at, EndReason.STOP)))
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(APP, [str(argument) for argument in arguments], catch_exceptions=False)


def test_the_configured_sinks_get_it(capture: Path, tmp_path: Path) -> None:
    result = run("kept")
    assert result.exit_code == 0, result.output
    (folder,) = (tmp_path / "processed").glob("*/*")
    assert folder.name == "01900000-0000-7000-8000-000000000001"
    assert {path.name for path in folder.iterdir()} == {"inbound.wav", "outbound.wav", "stereo.wav", "stream.json"}
    assert f"-> {folder}  21.0 s, stop" in result.output
    assert "1 of 1 captures, 21.0 s of audio in" in result.output


def test_one_sink_that_is_given_gets_it_instead(capture: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        textwrap.dedent("""
        async def sink(stream, events):
            lengths = [len(event.samples) async for event in events if hasattr(event, "samples")]
            (stream.directory / "samples.txt").write_text(str(sum(lengths)))
        """)
    )
    result = run(capture, "--sink", "./mine.py", "--to", "out")
    assert result.exit_code == 0, result.output
    (folder,) = (tmp_path / "out").glob("*/*")
    assert {path.name for path in folder.iterdir()} == {"samples.txt", "stream.json"}
    assert (folder / "samples.txt").read_text() == str(2 * 168_000)


def test_many_in_any_form_and_nothing_is_overwritten(capture: Path, tmp_path: Path) -> None:
    (tmp_path / "packed" / "b").mkdir(parents=True)
    with gzip.open(tmp_path / "packed" / "b" / "capture.jsonl.gz", "wb") as packed:
        packed.write(capture.read_bytes())
    shutil.copy(capture, tmp_path / "loose.jsonl")
    result = run("kept", "packed", "loose*", capture)
    assert result.exit_code == 0, result.output
    assert "3 of 3 captures, 63.0 s of audio" in result.output
    name = "01900000-0000-7000-8000-000000000001"
    assert {path.name for path in (tmp_path / "processed").glob("*/*")} == {name, f"{name}-2", f"{name}-3"}


def test_the_good_ones_are_done_and_the_bad_ones_said(capture: Path, tmp_path: Path) -> None:
    broken = tmp_path / "kept" / "broken.jsonl"
    broken.write_bytes(capture.read_bytes()[:100_000] + b"\nnonsense\n")
    (tmp_path / "kept" / "other.jsonl").write_text("{}\n")
    result = run("kept/*.jsonl")
    assert result.exit_code == 1
    assert "1 of 3 captures" in result.output
    assert "broken.jsonl, line" in result.output
    assert "other.jsonl: is no capture" in result.output
    assert len(list((tmp_path / "processed").glob("*/*"))) == 2


def test_what_looks_like_an_emoji_stays_what_it_is(capture: Path) -> None:
    result = run(capture, "--sink", "./s.py:ok", "--sink", "./s.py:ok")
    assert result.exit_code == 2
    assert "./s.py:ok: there is a sink of this name already" in result.output


def test_a_sink_that_fails_is_said(capture: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("async def sink(stream, events):\n    raise RuntimeError('no model')\n")
    result = run(capture, "--sink", "./bad.py")
    assert result.exit_code == 1
    assert "sink bad: failed, RuntimeError: no model" in result.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing-there"], "nothing-there: no such file"),
        (["kept", "--sink", "./absent.py"], "absent.py"),
        (["kept", "-c", "absent.toml"], "absent.toml"),
        (["kept", "-c", "empty.toml"], "sinks: there are none"),
    ],
)
def test_what_cannot_be_done_is_said_with_exit_code_2(
    capture: Path, tmp_path: Path, arguments: list[str], says: str
) -> None:
    (tmp_path / "empty.toml").write_text("[sinks]\n")
    result = run(*arguments)
    assert result.exit_code == 2
    assert says in result.output
    assert not (tmp_path / "processed").exists()
