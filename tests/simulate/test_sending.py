"""Endings, and what a server does meanwhile. ``speak`` has its tests in test_connection.py."""

from __future__ import annotations

import asyncio
import math
import ssl
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from receiver.simulate import CallError, Outcome
from receiver.simulate.connection import dial, target
from receiver.simulate.script import Ending, Said, Way
from receiver.simulate.sending import BATCH, check_speed, parse_speed, send

Handler = Callable[[ServerConnection], Awaitable[None]]


def say(said: Iterator[Said], handler: Handler, **options: Any) -> Outcome:
    async def main() -> Outcome:
        outcome = Outcome()
        async with serve(handler, "127.0.0.1", 0) as server:
            to = target(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            connection = await dial(to, outcome)
            assert connection is not None
            await send(connection, said, outcome, **options)
        return outcome

    return asyncio.run(asyncio.wait_for(main(), 30))


async def listen(connection: ServerConnection) -> None:
    await connection.wait_closed()


@pytest.mark.parametrize("threaded", [True, False])
@pytest.mark.parametrize(("way", "code"), [(Way.CLOSE, 4000), (Way.FIN, 1006), (Way.RESET, 1006)])
def test_a_connection_is_ended_as_told(threaded: bool, way: Way, code: int) -> None:
    heard: list[str | bytes] = []

    async def handler(connection: ServerConnection) -> None:
        heard.append(await connection.recv())
        await connection.wait_closed()

    said: list[Said] = [(0.0, "a"), (0.0, Ending(way, 4000))]
    outcome = say(iter(said), handler, threaded=threaded)
    assert (outcome.ok, outcome.close_code, heard) == (True, code, ["a"])


def test_what_is_said_may_break_off() -> None:
    def said() -> Iterator[Said]:
        yield 0.0, "a"
        raise CallError("broken")

    for threaded in (True, False):
        with pytest.raises(CallError, match="broken"):
            say(said(), listen, threaded=threaded)


def test_a_server_that_closes_in_a_pause_is_noticed_then() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.close(1008, "enough")

    outcome = say(iter([(0.0, "a"), (3600.0, "b")]), handler)
    assert (outcome.ok, outcome.close_code, outcome.messages) == (False, 1008, 1)


def test_a_connection_that_is_gone_cannot_be_cut() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.close(1008, "enough")

    outcome = say(iter([(3600.0, Ending(Way.RESET))]), handler)
    assert (outcome.ok, outcome.close_code) == (False, 1008) and "before we could" in outcome.error


def test_a_message_after_a_long_pause_is_sent() -> None:
    outcome = say(iter([(0.0, "a"), (6.0, "b")]), listen, speed=10.0)
    assert outcome.ok and outcome.messages == 2 and outcome.seconds >= 0.6


def test_a_server_that_talks_is_not_waited_for() -> None:
    async def handler(connection: ServerConnection) -> None:
        for _ in range(100):
            await connection.send("x" * 10_000)
        await connection.wait_closed()

    outcome = say(iter([(0.0, "a"), (0.1, "b")]), handler)
    assert outcome.ok and outcome.received > 0


@pytest.mark.parametrize(("text", "speed"), [("1", 1.0), ("0.5", 0.5), ("max", math.inf)])
def test_speeds(text: str, speed: float) -> None:
    assert parse_speed(text) == speed
    check_speed(speed)


@pytest.mark.parametrize("text", ["fast", "0", "-1", "nan"])
def test_what_is_no_speed(text: str) -> None:
    with pytest.raises(CallError, match=f"--speed {text}: must be a number above 0, or max"):
        parse_speed(text)


@pytest.mark.system
@pytest.mark.parametrize("way", [Way.FIN, Way.RESET])
def test_a_connection_with_tls_is_ended_as_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Way) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate]
    subprocess.run([*command, *subject], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    heard: list[str | bytes] = []

    async def handler(connection: ServerConnection) -> None:
        heard.append(await connection.recv())
        await connection.wait_closed()

    async def main() -> Outcome:
        outcome = Outcome()
        async with serve(handler, "127.0.0.1", 0, ssl=context) as server:
            to = target(f"wss://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            connection = await dial(to, outcome)
            assert connection is not None, outcome.error
            await send(connection, iter([(0.0, "a"), (0.0, Ending(way))]), outcome)
        return outcome

    outcome = asyncio.run(asyncio.wait_for(main(), 30))
    assert (outcome.ok, outcome.close_code, heard) == (True, 1006, ["a"])


@pytest.mark.parametrize("way", [Way.CLOSE, Way.FIN])
def test_hanging_up_on_a_server_that_does_not_answer_can_be_broken_off(way: Way) -> None:
    async def main() -> None:
        deaf = asyncio.Event()

        async def handler(connection: ServerConnection) -> None:
            await connection.recv()
            connection.transport.pause_reading()
            deaf.set()
            await connection.wait_closed()

        def said() -> Iterator[Said]:
            for _ in range(BATCH):
                yield 0.0, "a"
            asyncio.run_coroutine_threadsafe(deaf.wait(), loop).result(30)
            yield 0.0, Ending(way)

        loop, outcome = asyncio.get_running_loop(), Outcome()
        async with serve(handler, "127.0.0.1", 0) as server:
            to = target(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            connection = await dial(to, outcome)
            assert connection is not None
            sending = asyncio.create_task(send(connection, said(), outcome))
            while not outcome.complete:
                await asyncio.sleep(0.01)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            await asyncio.wait_for(connection.wait_closed(), 30)
            for live in server.connections:
                live.transport.abort()

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_server_that_keeps_a_connection_after_its_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.simulate.connection.CUT_WAIT_S", 0.05)

    async def handler(connection: ServerConnection) -> None:
        await connection.recv()
        connection.transport.pause_reading()  # it does not see the FIN
        await connection.wait_closed()

    async def main() -> Outcome:
        outcome = Outcome()
        async with serve(handler, "127.0.0.1", 0) as server:
            to = target(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            connection = await dial(to, outcome)
            assert connection is not None
            await send(connection, iter([(0.0, "a"), (0.1, Ending(Way.FIN))]), outcome)
            for live in server.connections:
                live.transport.abort()
        return outcome

    assert asyncio.run(asyncio.wait_for(main(), 30)).ok
