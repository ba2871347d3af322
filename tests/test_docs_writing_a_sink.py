from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from receiver.audio import AudioFormat, Encoding
from receiver.config import SinkConfig
from receiver.events import Annotation, Cause, Digit, Ended, EndReason, Frame, Gap, TrackCounters
from receiver.sinks.hub import Hub
from receiver.stream import StreamFacts

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "writing-a-sink.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
SUITES = [block for block in BLOCKS if "SinkConformance" in block]
SINKS = [block for block in BLOCKS if "asyncio.run(" not in block and block not in SUITES]
PROGRAMS = [block for block in BLOCKS if "asyncio.run(" in block]
SHELL = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


class Owner:
    def __init__(self) -> None:
        self.said: list[str] = []

    def annotated(self, annotation: Annotation) -> None:
        self.said.append(annotation.kind)

    def file_added(self, path: Path, kind: str, media_type: str, sink: str) -> None:
        self.said.append(path.name)


def run(use: str, folder: Path, options: dict[str, object]) -> Owner:
    """Give a sink two seconds of a loud tone, a gap, a digit and an annotation."""
    owner = Owner()
    facts = StreamFacts(
        id="0198",
        source="default",
        dialect="signalwire",
        stream_id="s",
        call_id=None,
        account_id=None,
        tracks=("inbound",),
        format=AudioFormat(Encoding.PCMU, 8000),
        parameters={},
        path_parameters={},
        peer_address="127.0.0.1",
        token=None,
        started=datetime.now(UTC),
    )
    tone = np.rint(30000 * np.sin(np.arange(16000) * 0.3)).astype(np.int16)
    events = [
        Frame("inbound", 0, 8000, tone),
        Gap("inbound", 16000, 24000, 8000, Cause.UNSENT),
        Digit("1", 24000, 8000),
        Annotation("speech", "inbound", 0, 16000, 8000, None, "other"),
        Ended(EndReason.STOP, True, {"inbound": TrackCounters(8000, 24000)}),
    ]

    async def serve() -> None:
        async with Hub({"mine": SinkConfig(use=use, options=options)}, base=folder, feeds_bytes=1 << 30) as hub:
            listeners = hub.open(facts, folder, owner)
            listeners.publish(events)
            assert await listeners.finished()
            assert listeners.results()["mine"].error is None
            owner.said += [family.name for counted in hub.series().values() for family in counted.collect()]

    asyncio.run(serve())
    return owner


@pytest.mark.parametrize("number", range(len(SINKS)))
def test_every_sink_on_the_page_works(number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(SINKS[number])
    (tmp_path / "words.txt").write_text("some words")
    options: dict[str, object] = {"words": "words.txt", "loud": 0.8} if "words: Path" in SINKS[number] else {}
    owner = run("./mine.py", tmp_path, options)
    assert owner.said or "inbound" in capsys.readouterr().out


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_on_the_page_runs(program: str) -> None:
    exec(compile(program, "writing-a-sink.md", "exec"), {"__name__": "page"})


def test_the_page_has_every_kind() -> None:
    assert len(SINKS) >= 5
    assert len(PROGRAMS) == len(SUITES) == 1
    assert len(SHELL) == 3 and "receiver new-sink" in SHELL[2]  # which tests/cli/test_new_sink.py runs


def test_the_first_five_minutes_are_as_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "levels.py").write_text(SINKS[0])
    (tmp_path / "test_levels.py").write_text(SUITES[0])
    command = [sys.executable, "-m", "pytest", "-q", "--basetemp", str(tmp_path / "temporary")]
    tested = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=58)
    assert tested.returncode == 0 and "23 passed, 5 skipped" in tested.stdout, tested.stdout


def test_the_first_commands_serve_the_first_sink_and_call_it(tmp_path: Path) -> None:
    (tmp_path / "levels.py").write_text(SINKS[0])
    (tmp_path / "receiver").write_text(f'#!/bin/sh\nexec {sys.executable} -P -m receiver "$@"\n')
    (tmp_path / "receiver").chmod(0o755)
    environ = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONUNBUFFERED": "1",
        "RECEIVER__SERVER__HOST": "127.0.0.1",
        "RECEIVER__SERVER__PORT": "0",
        "RECEIVER__SERVER__SHUTDOWN_DELAY_S": "0",
        "RECEIVER__MANAGEMENT__PORT": "0",
    }
    serve, call, _ = SHELL
    serve = serve.replace("\nreceiver", "\nexec receiver")  # the shell would be stopped, and not the server
    with subprocess.Popen(
        ["sh", "-ec", serve], cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        try:
            listening = next(told for line in server.stderr if (told := json.loads(line))["event"] == "listening")
            call = call.replace("ws://localhost:8080", listening["public"].replace("http", "ws", 1))
            called = subprocess.run(["sh", "-ec", call], env=environ, cwd=tmp_path, capture_output=True, timeout=50)
        finally:
            server.send_signal(signal.SIGINT)
        printed = server.communicate(timeout=30)[0].splitlines()
    assert called.returncode == 0 == server.returncode, called.stderr
    (shown,) = re.findall(r"^```text\n(.*?)\n```$", PAGE, re.DOTALL | re.MULTILINE)
    assert len(printed) == 42
    assert {line[36:] for line in shown.splitlines()} < {line[36:] for line in printed}  # behind the stream's id


def test_the_page_names_every_setting_of_a_sink() -> None:
    assert [name for name in SinkConfig.model_fields if name not in PAGE] == []
