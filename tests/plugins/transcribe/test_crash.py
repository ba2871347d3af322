"""A server that is killed in the middle of a call: what was finished is there, and the next start makes the files."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pocketsphinx")

TOKEN = "a-token-of-the-tests"
CONFIG = """
[limits]
burst_s = 0

[recordings]
path = "call"

[sinks.words]
use = "transcribe"
options = { workers = 1, partials = false }
"""


@contextmanager
def serving(folder: Path) -> Iterator[subprocess.Popen[str]]:
    (folder / "config.toml").write_text(CONFIG)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RECEIVER")}
    environment |= {
        "RECEIVER__SERVER__HOST": "127.0.0.1",
        "RECEIVER__SERVER__PORT": "0",
        "RECEIVER__MANAGEMENT__PORT": "0",
        "RECEIVER_TOKEN": TOKEN,
    }
    command = [sys.executable, "-P", "-m", "receiver", "serve"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd=folder) as process:
        try:
            yield process
        finally:
            process.kill()


def listening(process: subprocess.Popen[str]) -> str:
    """Where it listens, once it does: what a crash has left is finished then."""
    assert process.stderr is not None
    for text in process.stderr:
        said: dict[str, Any] = json.loads(text)
        if said["event"] == "listening":
            return str(said["public"]).replace("http", "ws", 1) + "/stream"
    raise AssertionError("it has not started")


@pytest.mark.timeout(180)  # a slow machine takes long to transcribe a sentence
def test_a_killed_server_leaves_every_finished_line_and_the_next_start_makes_the_files(
    booth: Any, tmp_path: Path
) -> None:
    call = tmp_path / "recordings" / "call"
    lines = call / "transcript.jsonl"

    async def talk(url: str, process: subprocess.Popen[str]) -> None:
        async with booth.phone(url, TOKEN) as phone:
            await phone.say(booth.sentence())
            await booth.until(lambda: lines.exists() and lines.read_bytes().endswith(b"\n"))
            await phone.say(booth.sentence()[: 2 * booth.RATE])  # and in the middle of the next one
            os.kill(process.pid, signal.SIGKILL)

    with serving(tmp_path) as process:
        asyncio.run(talk(listening(process), process))
        assert process.wait(30) == -signal.SIGKILL
    written = lines.read_bytes()
    assert sorted(file.name for file in call.iterdir()) == ["journal.jsonl", "transcript.jsonl"]
    with lines.open("ab") as file:
        file.write(written[:-20])  # what a disk may have of a line

    with serving(tmp_path) as process:
        listening(process)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert lines.read_bytes() == written
    (line,) = map(json.loads, written.splitlines())
    (cue,) = booth.by_ffmpeg(call / "transcript.vtt")
    assert cue[1] == line["text"] and "good morning" in line["text"]
    assert (call / "transcript.txt").read_text() == f" 0:00  inbound  {line['text']}\n"
    told = json.loads((call / "stream.json").read_text())
    assert told["end"]["reason"] == "crash"
    assert [(file["path"], file["sink"]) for file in told["files"]] == [
        ("transcript.jsonl", "words"),
        ("transcript.vtt", "words"),
        ("transcript.txt", "words"),
    ]
    assert [note["data"]["text"] for note in told["annotations"]] == [line["text"]]
    assert not (call / "journal.jsonl").exists()
    assert all(file["bytes"] for file in told["files"])
