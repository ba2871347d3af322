"""Connections to a server of vosk's protocol: places, tokens, refusals, and one that is killed and returns."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from receiver_plugins.transcribe.engine import RATE, EngineFailed
from receiver_plugins.transcribe.engines import vosk_server
from receiver_plugins.transcribe.engines.vosk_recognition import PIECE
from receiver_plugins.transcribe.engines.vosk_server import check, vosk_server_engine
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from receiver.errors import ConfigError
from receiver.sinks import Secret

QUIET = np.zeros(PIECE, np.int16)


def test_no_more_connections_than_places(kit: Any) -> None:
    server = kit.VoskServer()

    async def main() -> None:
        async with kit.serving(server) as url, vosk_server_engine(url=url, places=2) as engine:
            await asyncio.gather(*(kit.listen(engine, np.zeros(RATE, np.int16)) for _ in range(6)))

    kit.run(main())
    assert server.most == 2


def test_who_leaves_half_way_gives_the_place_back(kit: Any) -> None:
    async def main() -> None:
        async with kit.serving(kit.VoskServer()) as url, vosk_server_engine(url=url, places=1) as engine:
            async with engine.recognize() as recognition:
                await recognition.feed(QUIET)
            assert kit.finals(await kit.listen(engine, np.zeros(RATE, np.int16))) == ["second", "second"]

    kit.run(main())


def only(token: str) -> Callable[[ServerConnection, Request], Response | None]:
    def process(connection: ServerConnection, request: Request) -> Response | None:
        if request.headers.get("Authorization") == f"Bearer {token}":
            return None
        return connection.respond(403, "no")

    return process


def test_a_token_is_sent_as_a_bearers(kit: Any, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    secret = Secret(file=file)

    async def main() -> None:
        async with kit.serving(kit.VoskServer(), process_request=only("s3cret")) as url:
            assert await check(url=url, token=secret) == []
            async with vosk_server_engine(url=url, token=secret) as engine, engine.recognize() as recognition:
                assert await recognition.feed(QUIET)

    kit.run(main())


@pytest.mark.parametrize(
    ("token", "problem"),
    [
        ("wrong", r"^token: the server at 127.0.0.1:\d+ refuses it \(HTTP 403\)$"),
        (None, r"^token: the server at 127.0.0.1:\d+ wants one \(HTTP 403\)$"),
        ("line\nbreak", r"^token: only printable ASCII can be sent in a header$"),
        ("", r"^token: the environment variable VOSK_TOKEN is"),
    ],
)
def test_a_token_that_is_refused_is_said_and_not_shown(kit: Any, token: str | None, problem: str) -> None:
    secret = None if token is None else Secret(env="VOSK_TOKEN", environ={"VOSK_TOKEN": token})

    async def main() -> None:
        async with kit.serving(kit.VoskServer(), process_request=only("s3cret")) as url:
            with pytest.raises(ConfigError, match=problem):
                async with vosk_server_engine(url=url, token=secret):
                    raise AssertionError("is open")
            (line,) = await check(url=url, token=secret)
            assert line.startswith("token: ")

    kit.run(main())


@pytest.mark.parametrize("status", [404, 302])
def test_another_answer_than_a_websocket_is_said(kit: Any, status: int) -> None:
    def process(connection: ServerConnection, request: Request) -> Response:
        response = connection.respond(status, "somewhere else")
        response.headers["Location"] = "ws://127.0.0.1:9/"
        return response

    async def main() -> None:
        async with kit.serving(kit.VoskServer(), process_request=process) as url:
            (line,) = await check(url=url)
            assert line.startswith("url: the server at 127.0.0.1:")
            assert line.endswith(f"answers HTTP {status}")

    kit.run(main())


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "ws://", "nonsense", "ws://[hidden/"])
def test_a_url_that_is_none_is_said(kit: Any, url: str) -> None:
    async def main() -> None:
        assert await check(url=url) == ["url: must be ws://host… or wss://host…"]
        with pytest.raises(ConfigError, match=r"^url: must be ws://"):
            async with vosk_server_engine(url=url):
                raise AssertionError("is open")

    kit.run(main())


def test_a_server_that_says_nothing_is_not_waited_for(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vosk_server, "OPEN_S", 0.2)

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            url = f"ws://127.0.0.1:{listening.getsockname()[1]}/"
            (line,) = await check(url=url)
        assert "cannot be reached: timed out" in line
        (line,) = await check(url=url)
        assert "cannot be reached: [Errno 111]" in line

    kit.run(main())


def test_a_proxy_that_cannot_be_used_is_said_without_its_password(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ws_proxy", "gopher://user:hidden@127.0.0.1")
    monkeypatch.setenv("http_proxy", "gopher://user:hidden@127.0.0.1")
    monkeypatch.setenv("https_proxy", "gopher://user:hidden@127.0.0.1")

    async def main() -> None:
        (line,) = await check(url="ws://vosk.invalid/")
        assert line == "url: the environment names a proxy whose address cannot be used"

    kit.run(main())


RECOGNISING = """
import asyncio, json, sys
from pocketsphinx import Decoder
from websockets.asyncio.server import serve

sphinx = Decoder(samprate=16000, loglevel="FATAL")

async def recognise(connection):
    sphinx.start_utt()
    try:
        async for message in connection:
            if isinstance(message, bytes):
                sphinx.process_raw(message, False, False)
                await connection.send(json.dumps({"partial": sphinx.hyp().hypstr if sphinx.hyp() else ""}))
            elif message == '{"eof" : 1}':
                break
    finally:
        sphinx.end_utt()
    words = [{"word": part.word, "start": part.start_frame / 100, "end": (part.end_frame + 1) / 100, "conf": part.prob}
             for part in sphinx.seg() if part.word[0] not in "<["]
    await connection.send(json.dumps({"result": words, "text": " ".join(word["word"] for word in words)}))

async def main():
    async with serve(recognise, "127.0.0.1", int(sys.argv[1])) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

asyncio.run(main())
"""


class Process:
    """A server in a process of its own."""

    def __init__(self, program: Path, port: int = 0) -> None:
        self.process = subprocess.Popen(
            [sys.executable, program, str(port)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def port(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())

    def kill(self) -> None:
        with self.process:
            self.process.kill()


def test_a_server_that_is_killed_is_waited_for_and_hears_again(
    kit: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("pocketsphinx")
    program = tmp_path / "server.py"
    program.write_text(RECOGNISING)
    servers = [Process(program)]
    samples = kit.speech("outbound", 15.6, 17.6)  # "Is there anything else?"

    async def main() -> None:
        port = await asyncio.to_thread(servers[0].port)
        async with vosk_server_engine(url=f"ws://127.0.0.1:{port}/", places=1) as engine:
            heard = await kit.listen(engine, samples)
            assert "anything" in kit.finals(heard)
            assert any(not one.final for one in heard)
            async with engine.recognize() as recognition:
                await recognition.feed(samples[:RATE])
                servers[0].process.send_signal(signal.SIGKILL)
                with pytest.raises(EngineFailed, match="closed the connection"):
                    while True:
                        await recognition.feed(QUIET)
            again = asyncio.create_task(kit.listen(engine, samples))
            await kit.until(lambda: "cannot be reached" in caplog.text)
            servers.append(Process(program, port))
            assert kit.finals(await again) == kit.finals(heard)

    try:
        with caplog.at_level(logging.INFO, logger="receiver_plugins"):
            kit.run(main())
    finally:
        for server in servers:
            server.kill()
    told = [(record.levelname, record.getMessage().partition(":")[0]) for record in caplog.records]
    assert [level for level, _ in told] == ["ERROR", "WARNING"]
