"""The FastAPI example, served by uvicorn as its author would, with a platform that calls it."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import math
import socket
import urllib.request
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import uvicorn

from receiver.simulate import SPEECH, Call, Key, Outcome, speak

EXAMPLE = Path(__file__).parents[2] / "examples" / "fastapi_app.py"
TOKEN = "a-token-of-the-tests"
CALL = Call(
    inbound=SPEECH / "inbound.flac",
    outbound=SPEECH / "outbound.flac",
    parameters={"from": "+15550100"},
    keys=(Key("4", 1.0), Key("2", 2.0)),
    stream_id="stream-of-the-test",
)


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example as a module, in an empty folder."""
    monkeypatch.setenv("RECEIVER_TOKEN", TOKEN)
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location("fastapi_app_of_the_test", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """uvicorn with its own choice of protocols, on a free port."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws_per_message_deflate=False))
    with socket.create_server(("127.0.0.1", 0)) as bound:
        task = asyncio.create_task(server.serve(sockets=[bound]))
        while not server.started:
            assert not task.done(), await task
            await asyncio.sleep(0.01)
        yield f"127.0.0.1:{bound.getsockname()[1]}"
        server.should_exit = True
        await task


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return json.loads(answer.read())


def test_an_endpoint_of_ones_own_hears_every_event_of_a_call(example: ModuleType) -> None:
    async def scenario() -> tuple[Outcome, Any]:
        async with serving(example.app) as address:
            outcome = await speak(CALL, url=f"ws://{address}/listen", token=TOKEN, speed=20)
            async with asyncio.timeout(20):  # the endpoint hears the rest when the peer has hung up
                while not (calls := await asyncio.to_thread(get, f"http://{address}/calls")) or not all(
                    call["end"] for call in calls.values()
                ):
                    await asyncio.sleep(0.02)
            return outcome, calls

    outcome, calls = asyncio.run(scenario())
    assert outcome.ok
    call = calls["stream-of-the-test"]
    assert call == {"heard_s": pytest.approx(42), "missing_s": 0, "digits": "42", "end": "stop", "from": "+15550100"}


def test_a_flood_is_closed_with_the_sessions_own_code(example: ModuleType) -> None:
    async def scenario() -> tuple[Outcome, Any]:
        async with serving(example.app) as address:
            twice = Call(inbound=example_of_a_minute(), stream_id="flood")
            outcome = await speak(twice, url=f"ws://{address}/listen", token=TOKEN, speed=math.inf)
            return outcome, await asyncio.to_thread(get, f"http://{address}/calls")

    outcome, calls = asyncio.run(scenario())
    assert not outcome.ok and outcome.close_code == 4429
    assert calls["flood"]["end"] == "error" and 30 <= calls["flood"]["heard_s"] < 31


def example_of_a_minute() -> Path:
    with wave.open("minute.wav", "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(60 * 8000 * 2))
    return Path("minute.wav")


@pytest.mark.parametrize("path", ["/listen", "/recorder/stream"])
def test_a_wrong_token_is_401_on_both_paths(example: ModuleType, path: str) -> None:
    async def scenario() -> Outcome:
        async with serving(example.app) as address:
            return await speak(CALL, url=f"ws://{address}{path}", token="wrong", speed=math.inf)

    outcome = asyncio.run(scenario())
    assert (outcome.status, outcome.body) == (401, "Unauthorized\n")


def test_the_mounted_receiver_records(example: ModuleType, tmp_path: Path) -> None:
    async def scenario() -> tuple[Outcome, Any]:
        async with serving(example.app) as address:
            outcome = await speak(CALL, url=f"ws://{address}/recorder/stream", token=TOKEN, speed=20)
            return outcome, await asyncio.to_thread(get, f"http://{address}/recorder/readyz")

    outcome, ready = asyncio.run(scenario())
    assert outcome.ok and ready == {"ready": True}
    (folder,) = (tmp_path / "recordings").glob("*/*")
    told = json.loads((folder / "stream.json").read_text())
    assert told["end"]["reason"] == "stop" and [digit["digit"] for digit in told["digits"]] == ["X", "X"]
    with wave.open(str(folder / "stereo.wav")) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (2, 8000, 21 * 8000)
    assert not (folder / "journal.jsonl").exists()
