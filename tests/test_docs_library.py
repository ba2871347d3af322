"""Every example of docs/library.md, run as it stands."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from receiver.errors import ConfigError
from receiver.simulate import SPEECH, Call, Outcome, speak

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "library.md").read_text()
TOKEN = "a-token-of-the-tests"
CALL = Call(inbound=SPEECH / "inbound.flac", outbound=SPEECH / "outbound.flac", call_id="call-of-the-test")


def block(containing: str, language: str = "python") -> str:
    (found,) = [text for text in blocks(language) if containing in text]
    return found


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    with socket.create_server(("127.0.0.1", 0)) as bound:
        task = asyncio.create_task(server.serve(sockets=[bound]))
        while not server.started:
            assert not task.done(), await task
            await asyncio.sleep(0.01)
        yield f"ws://127.0.0.1:{bound.getsockname()[1]}"
        server.should_exit = True
        await task


def call(app: Any, path: str, token: str = TOKEN) -> Outcome:
    async def scenario() -> Outcome:
        async with serving(app) as address:
            return await speak(CALL, url=address + path, token=token, speed=20)

    return asyncio.run(scenario())


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run an example in an empty folder, with a token in the environment; the answer is its names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECEIVER_TOKEN", TOKEN)

    def execute(source: str) -> dict[str, Any]:
        names: dict[str, Any] = {"__name__": "example"}
        exec(compile(source, "docs/library.md", "exec"), names)
        return names

    return execute


def test_the_page_has_the_examples_that_are_run_here() -> None:
    assert len(blocks("python")) == 3 and len(blocks("text")) == 1


def test_a_mounted_receiver_records_a_call(run: Any, tmp_path: Path) -> None:
    example = run(block("app.mount"))
    assert call(example["app"], "/calls/stream").ok
    (told,) = (tmp_path / "recordings").glob("*/*/stream.json")
    files = [file["path"] for file in json.loads(told.read_text())["files"]]
    assert files == ["inbound.wav", "outbound.wav", "stereo.wav"]
    assert b"receiver_audio_seconds_total" in example["recorder"].metrics.render()[0]


def test_a_mounted_receiver_without_a_token_does_not_start(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECEIVER_TOKEN")
    with pytest.raises(ConfigError, match="RECEIVER_TOKEN"):
        run(block("app.mount"))


def test_an_endpoint_hears_a_call(run: Any) -> None:
    example = run(block("receiver.receive"))
    assert call(example["app"], "/stream").ok
    assert example["heard"] == {"call-of-the-test": 21 * 8000}


def test_an_endpoint_refuses_a_wrong_token(run: Any) -> None:
    example = run(block("receiver.receive"))
    outcome = call(example["app"], "/stream", token="wrong")
    assert outcome.status == 401 and example["heard"] == {}


def test_a_session_prints_what_the_page_says(run: Any) -> None:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        run(block("session.tick"))
    assert [printed.getvalue()] == blocks("text")


def test_a_session_loads_neither_a_server_nor_asyncio() -> None:
    program = "import sys; from receiver import Session; Session(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    loaded = set(done.stdout.split())
    assert "receiver.sessions.session" in loaded, done.stderr
    assert not loaded & {"asyncio", "starlette", "uvicorn", "websockets"}
