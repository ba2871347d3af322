"""The receiver behind the proxies of the documentation, with the very files of ``deploy/``, over TLS."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import soundfile
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

pytestmark = pytest.mark.system

TOKEN = "a-token-of-the-tests"
PROXIES = ["caddy", "debian-caddy", "nginx"]
HERE = "127.0.0.2"
"""Where the client calls from: another address than the proxy's."""

SILENCE = base64.b64encode(b"\xff" * 160).decode()
CADDYFILE = "deploy/caddy/Caddyfile"
SHORT_S = 1
"""For the time limits of a proxy, where a test waits for longer than them."""


@dataclass(frozen=True)
class Proxy:
    """A running proxy."""

    kind: str
    port: int
    upstream: int
    authority: Path
    admin: str
    reload: Callable[[], None]

    @property
    def url(self) -> str:
        return f"wss://localhost:{self.port}/stream"

    def dial(self, token: str = TOKEN, **headers: str) -> connect:
        """Call from HERE."""
        return connect(
            self.url,
            additional_headers={"Authorization": f"Bearer {token}", **headers},
            ssl=ssl.create_default_context(cafile=str(self.authority)),
            compression=None,
            proxy=None,
            ping_interval=None,
            local_addr=(HERE, 0),
        )


@pytest.fixture(scope="module", params=PROXIES)
def proxy(
    request: pytest.FixtureRequest,
    root: Path,
    program: Any,
    free_port: Any,
    running_program: Any,
    until: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp(request.param)
    port, upstream, log = free_port(), free_port(), folder / "log"
    if request.param == "nginx":
        command, environment, authority = nginx(root, program("nginx"), folder, port, upstream)
        reload = [*command, "-s", "reload"]
    else:
        old = request.param == "debian-caddy"
        command, environment, authority = caddy(
            program("caddy", debian=old), root / CADDYFILE, folder, port, (free_port(), free_port())
        )
        environment |= {"RECEIVER": f"127.0.0.1:{upstream}"} | ({"KEEP_STREAMS": ""} if old else {})
        reload = [command[0], "reload", "--force", *command[2:], "--address", environment["CADDY_ADMIN"]]

    def reloaded() -> None:
        subprocess.run(list(map(str, reload)), env=environment, check=True, timeout=30, capture_output=True)

    with running_program(command, log, env=environment, cwd=folder) as process:
        running = Proxy(request.param, port, upstream, authority, environment.get("CADDY_ADMIN", ""), reloaded)

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            return authority.exists() and greets(running)

        until(answers)
        yield running


def caddy(
    program: str, file: Path, folder: Path, port: int, others: tuple[int, int]
) -> tuple[list[Any], dict[str, str], Path]:
    """A file as it is, for a name whose certificate Caddy makes by itself."""
    http, admin = others
    environment = {
        "PATH": os.environ["PATH"],
        "DOMAIN": "localhost",
        "HTTP_PORT": str(http),
        "HTTPS_PORT": str(port),
        "CADDY_ADMIN": f"localhost:{admin}",
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CONFIG_HOME": str(folder / "config"),
    }
    command = [program, "run", "--config", file, "--adapter", "caddyfile"]
    return command, environment, folder / "data/caddy/pki/authorities/local/root.crt"


def nginx(root: Path, program: str, folder: Path, port: int, upstream: int) -> tuple[list[Any], dict[str, str], Path]:
    """The file of the documentation, with the names of these tests in it, as part of a configuration."""
    text = (root / "deploy/nginx/receiver.conf").read_text()
    tls = root / "tests/asgi/tls"
    for written, ours in {
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "server 127.0.0.1:8080;": f"server 127.0.0.1:{upstream};",
        "calls.example.com;": "localhost;",
        "/etc/letsencrypt/live/calls.example.com/fullchain.pem": str(tls / "certificate.pem"),
        "/etc/letsencrypt/live/calls.example.com/privkey.pem": str(tls / "key.pem"),
        "proxy_read_timeout 75s;": f"proxy_read_timeout {SHORT_S}s;",
        "proxy_send_timeout 75s;": f"proxy_send_timeout {SHORT_S}s;",
        "client_header_timeout 10s;": f"client_header_timeout {SHORT_S}s;",
    }.items():
        assert text.count(written) == 1, written
        text = text.replace(written, ours)
    (folder / "receiver.conf").write_text(text)
    temporary = "".join(
        f"{name}_temp_path {folder / name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder / 'pid'}; error_log stderr;\nevents {{ worker_connections 64; }}\n"
        f"http {{ access_log off; {temporary} include {folder / 'receiver.conf'}; }}\n"
    )
    command = [program, "-e", "stderr", "-p", folder, "-c", folder / "nginx.conf"]
    return command, {"PATH": os.environ["PATH"]}, tls / "certificate.pem"


@pytest.fixture
def behind(proxy: Proxy, serving: Any) -> Callable[..., Any]:
    """``with behind() as receiver``: one behind the proxy, which it trusts; it finds the dead after a while."""

    def run(dead_after_s: float = 15) -> Any:
        server = 'shutdown_delay_s = 0\nping_interval_s = 0.2\ntrusted_proxies = ["127.0.0.1/32"]\n'
        return serving(f"[server]\n{server}[limits]\ndead_after_s = {dead_after_s}\n", port=proxy.upstream)

    return run


def greets(proxy: Proxy) -> bool:
    """Whether it shows a certificate; nobody is behind it yet."""
    context = ssl.create_default_context(cafile=str(proxy.authority))
    try:
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as plain:
            context.wrap_socket(plain, server_hostname="localhost").close()
    except OSError:
        return False
    return True


def get(proxy: Proxy, path: str) -> tuple[int, dict[str, str]]:
    context = ssl.create_default_context(cafile=str(proxy.authority))
    try:
        with urllib.request.urlopen(f"https://localhost:{proxy.port}{path}", timeout=20, context=context) as answer:
            return answer.status, dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers)


class Caller:
    """Says audio, one message of 20 ms after another, and knows how much that was."""

    def __init__(self, connection: ClientConnection, call_id: str) -> None:
        self._connection = connection
        self._call_id = call_id
        self.said = 0

    async def begin(self) -> None:
        start = {
            "streamSid": "7d56cc11-536d-4a45-b4fb-ed3d55be843b",
            "accountSid": "b08dacad-2f6c-4de1-93d6-cc732e0c69c5",
            "callSid": self._call_id,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        }
        await self._connection.send(json.dumps({"event": "connected", "protocol": "Call", "version": "0.2.0"}))
        await self._connection.send(json.dumps({"event": "start", "sequenceNumber": "1", "start": start}))

    async def say(self, messages: int) -> None:
        for _ in range(messages):
            media = {"track": "inbound", "chunk": str(self.said + 1), "timestamp": str(self.said * 20)}
            await self._connection.send(
                json.dumps(
                    {"event": "media", "sequenceNumber": str(self.said + 2), "media": {**media, "payload": SILENCE}}
                )
            )
            self.said += 1

    async def stop(self) -> None:
        await self._connection.send(json.dumps({"event": "stop", "sequenceNumber": str(self.said + 2), "stop": {}}))
        await self._connection.close()  # as platforms do: the receiver would wait for it


def stream_of(receiver: Any, call_id: str) -> dict[str, Any] | None:
    """What is recorded of a call, once it is final."""
    return next((told for told in receiver.told() if told["call_id"] == call_id), None)


def recorded_s(receiver: Any, told: dict[str, Any]) -> float:
    (file,) = receiver.recordings.glob(f"*/{told['id']}/inbound.wav")
    duration: float = soundfile.info(file).duration
    return duration


def test_a_call_is_received_whole_with_its_token_and_from_its_address(proxy: Proxy, behind: Any, until: Any) -> None:
    """With Caddy also one that comes while the receiver is still starting; nginx would answer 502 at once."""
    command = [sys.executable, "-m", "receiver", "call", "--to", proxy.url, "--speed", "20", "--call-id", "whole"]
    environment = {**os.environ, "SSL_CERT_FILE": str(proxy.authority), "RECEIVER_TOKEN": TOKEN}

    async def others() -> None:
        with pytest.raises(InvalidStatus) as refused:
            async with proxy.dial("another"):
                pass
        assert refused.value.response.status_code == 401
        async with proxy.dial(**{"X-Forwarded-For": "203.0.113.7", "X-Real-IP": "203.0.113.7"}) as connection:
            caller = Caller(connection, "mine")
            await caller.begin()
            await caller.say(5)
            await caller.stop()

    with contextlib.ExitStack() as stack:
        if proxy.kind == "nginx":
            receiver = stack.enter_context(behind())
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as calling:
            if proxy.kind != "nginx":
                receiver = stack.enter_context(behind())
            asyncio.run(others())
            said, _ = calling.communicate(timeout=30)
        assert calling.returncode == 0, said
        until(lambda: len(receiver.told()) == 2)
        whole, mine = stream_of(receiver, "whole"), stream_of(receiver, "mine")
        assert whole is not None and mine is not None
        assert whole["end"]["stop_received"] is True and recorded_s(receiver, whole) == 21
        (line,) = receiver.lines("handshake_refused")
        assert (mine["peer_address"], line["peer"], mine["token"]) == (HERE, HERE, "main")

        status, headers = get(proxy, "/livez")
        assert status == 200 and headers.get("Server") in (None, "nginx")
        for path in ("/metrics", "/api/streams", "/stream/../metrics", "/%2e%2e/metrics"):
            assert get(proxy, path)[0] in (400, 404), path


def test_a_quiet_stream_outlives_time_limits_and_a_new_configuration(proxy: Proxy, behind: Any, until: Any) -> None:
    """But for a Caddy that is too old to keep it: of that stream is recorded what had been sent."""
    if proxy.kind != "nginx":
        shorten(proxy)
    keeps = proxy.kind != "debian-caddy"

    async def call(receiver: Any) -> float:
        async with proxy.dial() as connection:
            caller = Caller(connection, "quiet")
            await caller.begin()
            await caller.say(10)
            await asyncio.sleep(3 * SHORT_S)
            await caller.say(10)
            await asyncio.to_thread(until, lambda: receiver.lines("stream_started"))
            await asyncio.to_thread(proxy.reload)
            if not keeps:
                with pytest.raises(ConnectionClosed):
                    await connection.recv()
                return 0.02 * caller.said
            async with proxy.dial():  # somebody new comes in
                await asyncio.sleep(SHORT_S)  # longer than it would take to cut what is old
            await caller.say(10)
            await caller.stop()
            return 0.02 * caller.said

    with behind(dead_after_s=2 * SHORT_S) as receiver:
        said_s = asyncio.run(call(receiver))
        until(lambda: stream_of(receiver, "quiet"))
        told = stream_of(receiver, "quiet")
        assert told is not None and told["end"]["stop_received"] is keeps
        assert recorded_s(receiver, told) == pytest.approx(said_s)


def shorten(proxy: Proxy) -> None:
    """Make the time limits of its server short, by asking the running Caddy."""
    for key in ("read_header_timeout", "idle_timeout"):
        request = urllib.request.Request(
            f"http://{proxy.admin}/config/apps/http/servers/srv0/{key}",
            data=json.dumps(f"{SHORT_S}s").encode(),
            method="PATCH",
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=20).close()


def test_a_drain_loses_nothing(proxy: Proxy, behind: Any, until: Any) -> None:
    """A call that goes on is ended with 1012, and every message of it that was sent before is in the file."""

    async def call(receiver: Any) -> tuple[int | None, float]:
        async with proxy.dial() as connection:
            caller = Caller(connection, "last")
            await caller.begin()
            await caller.say(25)
            await asyncio.to_thread(until, lambda: receiver.lines("stream_started"))
            receiver.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(until, lambda: receiver.lines("stopping"))
            await caller.say(25)
            with pytest.raises(InvalidStatus) as refused:
                async with proxy.dial():
                    pass
            assert refused.value.response.status_code == 503
            assert refused.value.response.headers["Retry-After"] == "5"
            await (await connection.ping())  # answered when everything before it has been read
            receiver.process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed) as closed:
                await connection.recv()
            return closed.value.rcvd.code if closed.value.rcvd else None, 0.02 * caller.said

    with behind() as receiver:
        code, said_s = asyncio.run(call(receiver))
        assert receiver.process.wait(30) == 0
        (told,) = receiver.told()
        assert (code, told["end"]["reason"]) == (1012, "drain")
        assert recorded_s(receiver, told) == pytest.approx(said_s)


def test_with_two_receivers_no_call_is_refused_while_one_of_them_drains(
    root: Path, program: Any, free_port: Any, running_program: Any, until: Any, serving: Any, tmp_path: Path
) -> None:
    """The block of the documentation, in the place of the one in our Caddyfile.

    A Caddy that is stopped cuts the calls that are left, and loses nothing of what was sent before.
    """
    ports, port, log = (free_port(), free_port()), free_port(), tmp_path / "caddy.log"
    (block,) = re.findall(r"^```caddy\n(.*?)^```", (root / "docs/deployment.md").read_text(), re.MULTILINE | re.DOTALL)
    for written, ours in {
        "8080": str(ports[0]),
        "8082": str(ports[1]),
        "health_interval 2s": "health_interval 1s",
    }.items():
        assert block.count(written) == 1, written
        block = block.replace(written, ours)
    text, replaced = re.subn(
        r"^\treverse_proxy .*?^\t\}\n", lambda _: block, (root / CADDYFILE).read_text(), flags=re.MULTILINE | re.DOTALL
    )
    assert replaced == 1
    (tmp_path / "Caddyfile").write_text(text)
    command, environment, authority = caddy(
        program("caddy"), tmp_path / "Caddyfile", tmp_path, port, (free_port(), free_port())
    )
    both = Proxy("caddy", port, 0, authority, "", lambda: None)

    async def calls(number: int) -> None:
        for index in range(number):
            async with both.dial() as connection:
                caller = Caller(connection, f"call-{index}")
                await caller.begin()
                await caller.stop()

    patient = "[server]\nshutdown_delay_s = 600\n"
    with (
        serving(patient, port=ports[0], name="first") as first,
        serving(port=ports[1], name="second") as second,
        running_program(command, log, env=environment, cwd=tmp_path) as process,
    ):
        until(lambda: authority.exists() and greets(both))
        while not (first.lines("stream_started") and second.lines("stream_started")):
            asyncio.run(calls(2))
        first.process.send_signal(signal.SIGTERM)
        until(lambda: first.lines("stopping"))
        asyncio.run(calls(4))  # the proxy has hardly noticed yet
        until(lambda: any("health" in line and str(ports[0]) in line for line in log.read_text().splitlines()))
        before = len(first.lines("stream_started"))
        asyncio.run(calls(4))
        assert len(first.lines("stream_started")) == before

        async def cut() -> float:
            async with both.dial() as connection:
                caller = Caller(connection, "cut")
                await caller.begin()
                await caller.say(10)
                await (await connection.ping())
                process.terminate()
                with pytest.raises(ConnectionClosed):
                    await connection.recv()
                return 0.02 * caller.said

        said_s = asyncio.run(cut())
        until(lambda: stream_of(second, "cut"))
        told = stream_of(second, "cut")
        assert told is not None and told["end"]["reason"] == "fin"
        assert recorded_s(second, told) == pytest.approx(said_s)
