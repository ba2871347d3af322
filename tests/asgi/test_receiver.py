"""The whole receiver: mounted into somebody's application, full, hurried, and killed."""

import asyncio
import base64
import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import textwrap
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from receiver import Receiver
from receiver.config import Config
from receiver.errors import ConfigError
from receiver.events import EndReason

TOKEN = "a-token-of-the-tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PACKETS = 25
STOP = json.dumps({"event": "stop"})
pytestmark = pytest.mark.blocks  # tests and their sinks look at the disk


def media(number: int, track: str = "inbound") -> str:
    samples = (np.arange(number * 160, number * 160 + 160) % 30_000).astype("<i2")
    payload = base64.b64encode(samples.tobytes()).decode()
    body = {"track": track, "chunk": str(number + 1), "timestamp": str(number * 20), "payload": payload}
    return json.dumps({"event": "media", "media": body})


def configured(folder: Path, **tables: dict[str, Any]) -> Config:
    context = {"environ": {"RECEIVER_TOKEN": TOKEN}, "base": folder}
    return Config.model_validate(tables, context=context)


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """Stock uvicorn, which knows nothing of us."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws_per_message_deflate=False))
    with socket.create_server(("127.0.0.1", 0)) as bound:
        task = asyncio.create_task(server.serve(sockets=[bound]))
        while not server.started:
            assert not task.done(), await task
            await asyncio.sleep(0.01)
        yield f"127.0.0.1:{bound.getsockname()[1]}"
        server.should_exit = True
        await task


async def fetch(url: str) -> str:
    def get() -> str:
        with urllib.request.urlopen(url, timeout=20) as answer:
            body: str = answer.read().decode()
        return body

    return await asyncio.to_thread(get)


async def refused(dialling: connect) -> int:
    with pytest.raises(InvalidStatus) as answer:
        async with dialling:
            pass
    return answer.value.response.status_code


def test_mounted_under_a_prefix_it_records_and_is_asked_for_its_health(hello: Any, tmp_path: Path) -> None:
    receiver = Receiver(configured(tmp_path))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with receiver:
            yield

    async def run() -> None:
        app = Starlette(routes=[Mount("/calls", receiver)], lifespan=lifespan)
        async with serving(app) as address:
            assert json.loads(await fetch(f"http://{address}/calls/readyz")) == {"ready": True}
            assert await refused(connect(f"ws://{address}/calls/stream", proxy=None)) == 401
            assert await refused(connect(f"ws://{address}/calls/other", proxy=None)) == 404
            assert await refused(connect(f"ws://{address}/calls/stream/", additional_headers=BEARER, proxy=None)) == 404
            async with connect(f"ws://{address}/calls/stream", additional_headers=BEARER, proxy=None) as connection:
                await hello(connection, encoding="audio/x-L16")
                for number in range(PACKETS):
                    await connection.send(media(number))
                await connection.send(STOP)
            await until(lambda: not len(receiver.registry))

    asyncio.run(run())
    (folder,) = (tmp_path / "recordings").glob("*/*")
    assert json.loads((folder / "stream.json").read_text())["end"]["reason"] == "stop"
    assert soundfile.read(folder / "inbound.wav", dtype="int16")[0].tolist() == list(range(PACKETS * 160))


def test_leaving_it_ends_live_streams_with_final_files(hello: Any, tmp_path: Path) -> None:
    async def run() -> None:
        receiver = Receiver(configured(tmp_path))
        async with contextlib.AsyncExitStack() as stack:
            entered = await stack.enter_async_context(receiver)
            assert entered is receiver
            async with serving(receiver) as address:
                url = f"ws://{address}/stream"
                async with connect(url, additional_headers=BEARER, proxy=None) as connection:
                    await hello(connection, encoding="audio/x-L16")
                    await connection.send(media(0))
                    await until(lambda: list(tmp_path.glob("recordings/*/*/inbound.wav.part")))
                    await stack.aclose()
                    with pytest.raises(ConnectionClosed):
                        await connection.recv()
                    assert connection.close_code == 1012
                    assert await refused(connect(url, additional_headers=BEARER, proxy=None)) == 503

    asyncio.run(run())
    (folder,) = (tmp_path / "recordings").glob("*/*")
    assert json.loads((folder / "stream.json").read_text())["end"]["reason"] == "drain"
    assert soundfile.info(folder / "inbound.wav").frames == 160


def test_a_recordings_folder_that_cannot_be_made_stops_the_start_and_names_the_key(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    async def run() -> None:
        async with Receiver(configured(tmp_path, recordings={"directory": "file/recordings"})):
            raise AssertionError("it started")

    with pytest.raises(ConfigError, match="cannot be made") as refusal:
        asyncio.run(run())
    assert refusal.value.key == "recordings.directory"
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_recovery_that_fails_closes_the_plugins_again(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        textwrap.dedent("""
            from contextlib import asynccontextmanager
            from pathlib import Path

            from receiver.sinks import Plugin

            @asynccontextmanager
            async def plugin():
                def recover(stream):
                    raise SystemExit("enough")
                try:
                    yield Plugin(recover=recover)
                finally:
                    (Path(__file__).parent / "closed").touch()
        """)
    )
    folder = tmp_path / "recordings" / "day" / "stream"
    folder.mkdir(parents=True)
    facts = {"id": "ours", "source": "default", "dialect": "twilio", "stream_id": "theirs", "call_id": None}
    more = {"account_id": None, "tracks": [], "format": {"encoding": "PCMU", "rate": 8000, "channels": 1}}
    rest = {
        "parameters": {},
        "path_parameters": {},
        "peer_address": "",
        "token": None,
        "started": "2026-01-01T00:00:00Z",
    }
    (folder / "journal.jsonl").write_text(json.dumps({"facts": {**facts, **more, **rest}}) + "\n")

    async def run() -> None:
        async with Receiver(configured(tmp_path, sinks={"mine": {"use": "./mine.py"}})):
            raise AssertionError("it started")

    with pytest.raises(SystemExit, match="enough"):
        asyncio.run(run())
    assert (tmp_path / "closed").exists()
    assert (folder / "journal.jsonl").exists()


LATE = """
    import asyncio

    async def sink(stream, events):
        try:
            async for event in events:
                pass
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            (stream.directory / "cancelled").touch()
            raise
"""


@pytest.mark.parametrize("when", ["before the end", "after the end"])
def test_in_a_hurry_late_sinks_are_abandoned(running: Any, hello: Any, tmp_path: Path, when: str) -> None:
    (tmp_path / "late.py").write_text(textwrap.dedent(LATE))

    async def run() -> None:
        async with running(sinks={"late": {"use": "./late.py", "finish_timeout_s": 600}}) as server:
            if when == "before the end":
                server.receiver.hurry()
            async with server.dial() as connection:
                await hello(connection)
                await connection.send(STOP)
            await until(lambda: list(server.root.glob("*/*/stream.json")))
            if when == "after the end":
                await until(lambda: server.receiver._late)
                assert not list(server.root.glob("*/*/cancelled"))
                server.receiver.hurry()
            await until(lambda: list(server.root.glob("*/*/cancelled")))
            await until(lambda: not server.receiver._late)
            (folder,) = server.folders()
            assert (folder / "journal.jsonl").exists()  # the sink was not done: the next start goes over it

    asyncio.run(run())


def test_so_many_streams_and_no_more_until_one_has_ended(running: Any, hello: Any) -> None:
    async def run() -> None:
        async with running(limits={"streams": 2}) as server:
            async with server.dial() as one:
                async with server.dial() as two:
                    await hello(two)
                    assert await refused(server.dial()) == 503
                await until(lambda: len(server.receiver.registry) == 1)
                async with server.dial() as three:
                    await hello(three)
                    assert await refused(server.dial()) == 503
                await hello(one)
            metrics = await fetch(f"http://{server.management}/metrics")
            assert 'receiver_handshakes_refused_total{reason="streams",source="default"} 2.0' in metrics
            assert "receiver_streams_limit 2.0" in metrics

    asyncio.run(run())


def test_where_the_disk_is_short_no_stream_is_let_in_and_live_ones_go_on(
    running: Any, hello: Any, tmp_path: Path
) -> None:
    limit = 0

    async def run() -> None:
        async with running(limits={"free_bytes": limit}) as server, server.dial() as connection:
            await hello(connection)
            await until(lambda: server.folders())
            with open(tmp_path / "large", "wb") as large:
                os.posix_fallocate(large.fileno(), 0, 400 * 2**20)
            try:
                await until(lambda: server.receiver.not_ready() == "disk")
                assert await refused(server.dial()) == 503
                await connection.send(media(0))
                await connection.send(STOP)
                await until(lambda: list(server.root.glob("*/*/stream.json")))
            finally:
                os.unlink(tmp_path / "large")
            assert server.told()["end"]["reason"] == EndReason.STOP.value

    with open(Path(tempfile.gettempdir()) / "receiver-tests-disk.lock", "w") as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)  # the tests of another Python would give and take room
        limit = shutil.disk_usage(tmp_path).free - 100 * 2**20
        asyncio.run(run())


def test_it_says_what_is_wrong_where_it_is_not_entered_or_twice(tmp_path: Path) -> None:
    async def run() -> None:
        receiver = Receiver(configured(tmp_path))
        with pytest.raises(RuntimeError, match="async with receiver"):
            await receiver({"type": "websocket"}, None, None)  # type: ignore[arg-type]  # it is refused before they are used
        async with receiver:
            with pytest.raises(RuntimeError, match="entered once"):
                await receiver.__aenter__()

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["configured", "real"])
def test_the_free_space_that_is_asked_for_is_that_of_the_recordings_disk(running: Any, kind: str) -> None:
    async def run() -> None:
        async with running(limits={"free_bytes": 2**62 if kind == "configured" else 0}) as server:
            if kind == "configured":
                await until(lambda: server.receiver.not_ready() == "disk")
                assert await refused(server.dial()) == 503
            else:
                assert server.receiver.not_ready() is None
                async with server.dial():
                    pass

    asyncio.run(run())


@asynccontextmanager
async def process(root: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, Any], list[dict[str, Any]]]]:
    """``receiver serve`` below ``root``, what it said when it listened, and what it had said before that."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RECEIVER")},
        "RECEIVER_TOKEN": TOKEN,
        "RECEIVER__SERVER__PORT": "0",
        "RECEIVER__SERVER__HOST": "127.0.0.1",
        "RECEIVER__MANAGEMENT__PORT": "0",
    }
    command = (sys.executable, "-P", "-m", "receiver", "serve")
    started = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment, cwd=root
    )
    assert started.stdout is not None and started.stderr is not None
    said: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(30):
            while not said or said[-1]["event"] != "listening":
                said.append(json.loads(await started.stderr.readline()))
        yield started, said[-1], said
    finally:
        if started.returncode is None:
            started.send_signal(signal.SIGINT)
        try:
            async with asyncio.timeout(20):
                await started.wait()
        except TimeoutError:
            started.kill()
            await started.wait()
        for pipe in (started.stdout, started.stderr):
            pipe._transport.close()  # type: ignore[attr-defined]  # else its destructor warns


def test_a_process_killed_in_the_middle_of_a_call_costs_no_more_than_its_latency(hello: Any, tmp_path: Path) -> None:
    """What its metrics say it has received is older than what it had received when it was killed.

    On a quiet machine it is 150 ms at most; here it is only certain that nothing waits for the end of the call.
    """
    sent = 0
    known = 0

    async def speak(connection: Any) -> None:
        nonlocal sent
        began = asyncio.get_running_loop().time()
        while True:
            for track in ("inbound", "outbound"):
                await connection.send(media(sent, track))
            sent += 1
            await asyncio.sleep(max(0, began + sent * 0.02 - asyncio.get_running_loop().time()))

    async def run() -> list[dict[str, Any]]:
        nonlocal known
        async with process(tmp_path) as (server, said, _):
            url = said["public"].replace("http", "ws", 1) + "/stream"
            async with connect(url, additional_headers=BEARER, proxy=None, ping_interval=None) as connection:
                await hello(connection, encoding="audio/x-L16", tracks=["inbound", "outbound"])
                call = asyncio.create_task(speak(connection))
                async with asyncio.timeout(30):
                    while known < 2 * 75:
                        figures = (await fetch(f"{said['management']}/metrics")).splitlines()
                        line = 'receiver_messages_total{kind="media",source="default"}'
                        known = int(sum(float(one.split()[-1]) for one in figures if one.startswith(line)))
                server.kill()
                call.cancel()
                await server.wait()
                await asyncio.wait([call])
        assert list(tmp_path.glob("recordings/*/*/journal.jsonl"))
        async with process(tmp_path) as (_, _, said_again):
            return said_again

    said = asyncio.run(run())
    assert [line["streams"] for line in said if line["event"] == "recovered"] == [1]
    (folder,) = (tmp_path / "recordings").glob("*/*")
    assert {path.name for path in folder.iterdir()} == {"inbound.wav", "outbound.wav", "stereo.wav", "stream.json"}
    told = json.loads((folder / "stream.json").read_text())
    assert (told["end"]["reason"], told["end"]["stop_received"]) == ("crash", False)
    for track in ("inbound", "outbound"):
        samples = soundfile.read(folder / f"{track}.wav", dtype="int16")[0]
        assert samples.tolist() == [position % 30_000 for position in range(len(samples))]
        assert len(samples) >= (known // 2) * 160 - 8000
        assert len(samples) <= (sent + 1) * 160
