"""The process: its two listeners, its signals, its drain. Driven from outside, as an operator would."""

import asyncio
import contextlib
import json
import os
import select
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import soundfile
import uvloop
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from receiver.asgi.receiver import Receiver
from receiver.asgi.server import ACCEPTS, Side, _serving, listening
from receiver.config import Config
from receiver.errors import ConfigError
from receiver.simulate import SPEECH, Call, speak

TOKEN = "a-token-of-the-tests"
CALL = Call(inbound=SPEECH / "inbound.flac", outbound=SPEECH / "outbound.flac")


class Process:
    """``receiver serve`` on free ports."""

    def __init__(self, process: asyncio.subprocess.Process, root: Path) -> None:
        self.process = process
        self.root = root
        self.lines: list[dict[str, Any]] = []

    async def line(self, event: str) -> dict[str, Any]:
        """The next log line of this event; every line on the way has to be JSON."""
        assert self.process.stderr is not None
        async with asyncio.timeout(30):
            while raw := await self.process.stderr.readline():
                said: dict[str, Any] = json.loads(raw)
                self.lines.append(said)
                if said["event"] == event:
                    return said
        raise AssertionError(f"{event} was never said: {self.lines}")

    async def ended(self) -> int:
        """Wait for the process to end by itself; its exit code."""
        assert self.process.stderr is not None
        async with asyncio.timeout(30):
            self.lines += [json.loads(raw) for raw in (await self.process.stderr.read()).splitlines()]
            return await self.process.wait()


@asynccontextmanager
async def serving(root: Path, *arguments: str, **tables: dict[str, Any]) -> AsyncIterator[tuple[Process, str, str]]:
    """A running process, its public address, its private one."""
    table: dict[str, Any] = {
        "server": {"host": "127.0.0.1", "port": 0, "shutdown_delay_s": 0},
        "management": {"port": 0},
        "limits": {"burst_s": 0},
    }
    for name, changes in tables.items():
        table[name] = {**table.get(name, {}), **changes}
    config = root / "config.toml"
    text = "".join(
        f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
        for name, keys in table.items()
    )
    config.write_text(
        text + '[sources.default.auth]\nuse = "bearer"\ntokens = [{ name = "main", env = "RECEIVER_TOKEN" }]\n'
    )
    environment = {**os.environ, "RECEIVER_TOKEN": TOKEN}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "receiver", "serve", "-c", str(config), *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        cwd=root,
    )
    try:
        running = Process(process, root / "recordings")
        said = await running.line("listening")
        yield running, said["public"].removeprefix("http://"), said["management"].removeprefix("http://")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe._transport.close()  # type: ignore[attr-defined]  # else its destructor warns


def get(address: str, path: str, host: str | None = None) -> tuple[int, str]:
    request = urllib.request.Request(f"http://{address}{path}", headers={"Host": host or address})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def fetch(address: str, path: str, host: str | None = None) -> tuple[int, str]:
    return await asyncio.to_thread(get, address, path, host)


def test_each_listener_answers_what_is_its_own(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as (_, public, private):
            assert await fetch(public, "/livez") == await fetch(private, "/livez") == (200, "ok\n")
            assert await fetch(public, "/readyz") == await fetch(private, "/readyz") == (200, '{"ready":true}')
            status, figures = await fetch(private, "/metrics")
            assert status == 200
            assert "receiver_streams_limit 1000.0" in figures
            assert (await fetch(public, "/metrics"))[0] == 404
            assert (await fetch(public, "/stream"))[0] == 426
            assert (await fetch(public, "/nothing"))[0] == 404
            assert (await fetch(private, "/metrics", host="evil.example"))[0] == 400

    asyncio.run(run())


def test_sigterm_without_streams_ends_it_at_once_with_exit_code_0(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as (server, _, _):
            server.process.send_signal(signal.SIGTERM)
            assert await server.ended() == 0
            assert [line["event"] for line in server.lines][-2:] == ["stopping", "stopped"]

    asyncio.run(run())


def test_sigterm_lets_a_live_stream_end_while_new_ones_are_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as (server, public, private):
            url = f"ws://{public}/stream"
            call = asyncio.create_task(speak(CALL, url=url, token=TOKEN, speed=10))
            started = await server.line("stream_started")
            server.process.send_signal(signal.SIGTERM)
            assert (await server.line("stopping"))["live_streams"] == 1
            headers = {"Authorization": f"Bearer {TOKEN}"}
            with pytest.raises(InvalidStatus) as refused:
                async with connect(url, additional_headers=headers, proxy=None):
                    pass
            assert refused.value.response.status_code == 503
            assert refused.value.response.headers["Retry-After"] == "5"
            assert await fetch(private, "/readyz") == (503, '{"ready":false,"reason":"stopping"}')
            assert (await fetch(public, "/livez"))[0] == 200
            outcome = await call
            assert outcome.ok
            assert await server.ended() == 0
        (ended,) = [line for line in server.lines if line["event"] == "stream_ended"]
        assert (ended["stream"], ended["reason"], ended["stop_received"]) == (started["stream"], "stop", True)
        assert soundfile.info(Path(ended["directory"]) / "inbound.wav").duration == 21.0

    asyncio.run(run())


def test_during_the_delay_it_is_not_ready_and_still_accepts(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path, server={"host": "127.0.0.1", "port": 0, "shutdown_delay_s": 60}) as (
            server,
            public,
            private,
        ):
            server.process.send_signal(signal.SIGTERM)
            await server.line("stopping")
            assert (await fetch(private, "/readyz"))[0] == 503
            outcome = await speak(CALL, url=f"ws://{public}/stream", token=TOKEN, speed=100)
            assert outcome.ok
            server.process.send_signal(signal.SIGTERM)
            assert await server.ended() == 0

    asyncio.run(run())


@pytest.mark.parametrize("forced", [True, False])
def test_streams_that_outlast_the_drain_are_ended_with_1012_and_final_files(tmp_path: Path, forced: bool) -> None:
    async def run() -> None:
        drain = {"host": "127.0.0.1", "port": 0, "shutdown_delay_s": 0, "drain_timeout_s": 600 if forced else 0.5}
        async with serving(tmp_path, server=drain) as (server, public, _):
            call = asyncio.create_task(speak(CALL, url=f"ws://{public}/stream", token=TOKEN))
            await server.line("stream_started")
            server.process.send_signal(signal.SIGINT)
            await server.line("stopping")
            if forced:
                server.process.send_signal(signal.SIGINT)
            outcome = await call
            assert outcome.close_code == 1012
            assert await server.ended() == 0
        (folder,) = server.root.glob("*/*")
        told = json.loads((folder / "stream.json").read_text())
        assert told["end"]["reason"] == "drain"
        assert {path.name for path in folder.iterdir()} == {"inbound.wav", "outbound.wav", "stereo.wav", "stream.json"}

    asyncio.run(run())


def test_a_signal_ends_a_start_that_does_not_come_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "never.py").write_text(
        "import asyncio, contextlib\n"
        "@contextlib.asynccontextmanager\n"
        "async def plugin():\n"
        "    print('opening', flush=True)\n"
        "    await asyncio.sleep(3600)\n"
        "    yield None\n"
    )

    async def run() -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "receiver", "serve", "--sink", "./never.py"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "RECEIVER_TOKEN": TOKEN},
            cwd=tmp_path,
        )
        assert process.stdout is not None
        async with asyncio.timeout(40):
            while await process.stdout.readline() != b"opening\n":
                pass
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
        process.stdout._transport.close()  # type: ignore[attr-defined]  # else its destructor warns

    asyncio.run(run())


def test_a_thread_that_a_sink_left_behind_does_not_hold_the_process(tmp_path: Path) -> None:
    (tmp_path / "stuck.py").write_text(
        "import asyncio, time\n"
        "async def sink(stream, events):\n"
        "    print('stuck', flush=True)\n"
        "    await asyncio.to_thread(time.sleep, 3600)\n"
    )

    async def run() -> None:
        async with serving(tmp_path, "--sink", "./stuck.py") as (server, public, _):
            call = asyncio.create_task(speak(CALL, url=f"ws://{public}/stream", token=TOKEN, speed=100))
            assert server.process.stdout is not None
            async with asyncio.timeout(20):
                assert await server.process.stdout.readline() == b"stuck\n"
            server.process.send_signal(signal.SIGTERM)
            await server.line("stopping")
            server.process.send_signal(signal.SIGTERM)
            await call
            assert await server.ended() == 0

    asyncio.run(run())


def test_a_second_signal_also_ends_the_wait_for_a_late_sink(tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text(
        "import asyncio\n"
        "async def sink(stream, events):\n"
        "    async for event in events: pass\n"
        "    print('late', flush=True)\n"
        "    await asyncio.sleep(3600)\n"
    )

    async def run() -> None:
        async with serving(tmp_path, "--sink", "./late.py") as (server, public, private):
            outcome = await speak(CALL, url=f"ws://{public}/stream", token=TOKEN, speed=1000)
            assert outcome.ok
            assert server.process.stdout is not None
            async with asyncio.timeout(20):
                assert await server.process.stdout.readline() == b"late\n"
            server.process.send_signal(signal.SIGTERM)
            await server.line("stopping")
            with pytest.raises(OSError):
                while True:  # the listeners close first: from then on it waits for the sink alone
                    await fetch(private, "/livez")
            server.process.send_signal(signal.SIGTERM)
            assert await server.ended() == 0

    asyncio.run(run())


def test_no_line_of_the_log_has_the_token(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path, log={"level": "debug"}) as (server, public, _):
            await speak(CALL, url=f"ws://{public}/stream?token={TOKEN}", token=TOKEN, speed=1000)
            await speak(CALL, url=f"ws://{public}/stream", token=TOKEN + "x", speed=1000)
            server.process.send_signal(signal.SIGTERM)
            assert await server.ended() == 0
        assert TOKEN not in json.dumps(server.lines)
        assert any(line["event"] == "handshake_refused" for line in server.lines)

    asyncio.run(run())


def test_a_taken_port_stops_the_start_and_names_the_key(running: Any) -> None:
    async def run(key: str, **tables: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match="cannot listen on") as refused:
            async with running(**tables):
                pass
        assert refused.value.key == key

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        asyncio.run(run("server.port", server={"port": port}))
        asyncio.run(run("management.port", management={"port": port}))


def test_a_listener_that_cannot_start_says_why() -> None:
    def closed() -> socket.socket:
        bound = socket.create_server(("127.0.0.1", 0))
        bound.close()
        return bound

    async def run() -> None:
        with pytest.raises(OSError, match="Bad file descriptor"):
            async with _serving(None, closed, Side()):
                pass

    asyncio.run(run())


def test_a_request_that_does_not_end_is_cut_off_in_the_end(monkeypatch: pytest.MonkeyPatch, capture_logs: Any) -> None:
    monkeypatch.setattr("receiver.asgi.server.CUT_OFF_S", 0.05)
    cut: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cut.append(True)
            raise

    async def run() -> None:
        async with _serving(app, lambda: socket.create_server(("127.0.0.1", 0)), Side()) as address:
            _, writer = await asyncio.open_connection(*address)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await asked.wait()
        await asyncio.sleep(0)  # the task that was cancelled has its turn
        assert cut == [True]
        writer.close()

    asked = asyncio.Event()
    with capture_logs() as logs:
        asyncio.run(run())
    assert [line["event"] for line in logs] == ["request_cut_off"]


def test_ipv6_is_listened_on(running: Any) -> None:
    async def run() -> None:
        async with running(server={"host": "::1"}, management={"host": "::1"}) as server:
            assert server.receiver.config.server.host == "::1"

    asyncio.run(run())


def test_several_processes_listen_on_one_port_where_that_is_asked_for(running: Any) -> None:
    async def run() -> None:
        async with running(server={"reuse_port": True}) as first:
            port = int(first.public.rpartition(":")[2])
            async with running(server={"reuse_port": True, "port": port}) as second:
                assert second.public == first.public and second.management != first.management
                assert (await fetch(second.public, "/livez"))[0] == 200
            with pytest.raises(ConfigError, match="cannot listen on"):
                async with running(server={"port": port}):
                    pass

    asyncio.run(run())


def test_who_comes_together_is_accepted_together(tmp_path: Path) -> None:
    """Under uvloop as well, which by itself takes one connection in each turn of its loop."""
    table = {"server": {"host": "127.0.0.1", "port": 0}, "management": {"port": 0}}
    config = Config.model_validate(table, context={"environ": {"RECEIVER_TOKEN": "a-token"}, "base": tmp_path})
    together = 4 * ACCEPTS

    async def turns() -> int:
        async with listening(Receiver(config)) as addresses, contextlib.AsyncExitStack() as stack:
            peers = [stack.enter_context(socket.create_connection(addresses.public)) for _ in range(together)]
            for peer in peers:
                peer.sendall(b"nonsense\r\n\r\n")
            for turn in range(10 * together):
                if len(select.select(peers, (), (), 0)[0]) == together:
                    return turn
                await asyncio.sleep(0)
        raise AssertionError("not all were answered")

    assert uvloop.run(turns()) < together // 2
