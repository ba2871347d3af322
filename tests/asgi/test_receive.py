"""A stream inside of somebody's own Starlette application, served by stock uvicorn."""

import asyncio
import base64
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import numpy as np
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

import receiver
from receiver.asgi.protocol import WebSocketProtocol
from receiver.events import Ended, EndReason, Event, Frame, Started
from receiver.sessions.settings import SessionSettings

PACKETS = 25
STOP = json.dumps({"event": "stop"})


def media(number: int) -> str:
    payload = base64.b64encode(np.arange(number * 160, number * 160 + 160, dtype="<i2").tobytes()).decode()
    body = {"track": "inbound", "chunk": str(number), "timestamp": str((number - 1) * 20), "payload": payload}
    return json.dumps({"event": "media", "media": body})


class Endpoint:
    """Receives, and keeps what happened."""

    def __init__(self, *, accept: bool = False, leave: bool = False, **options: Any) -> None:
        self.accept, self.leave, self.options = accept, leave, options
        self.events: list[Event] = []
        self.over = asyncio.Event()

    async def __call__(self, websocket: WebSocket) -> None:
        try:
            if self.accept:
                await websocket.accept("mine")
            async for event in receiver.receive(websocket, **self.options):
                self.events.append(event)
                if self.leave:
                    break
            if self.leave:
                await websocket.send_text("enough")
                with suppress(WebSocketDisconnect):
                    while True:
                        await websocket.receive_text()
        finally:
            self.over.set()

    @property
    def ended(self) -> Ended:
        last = self.events[-1]
        assert isinstance(last, Ended)
        return last

    def samples(self) -> Any:
        return np.concatenate([event.samples for event in self.events if isinstance(event, Frame)])


@asynccontextmanager
async def serving(endpoint: Callable[[WebSocket], Any], protocol: Any = "auto") -> AsyncIterator[str]:
    async def route(websocket: WebSocket) -> None:
        await endpoint(websocket)

    app = Starlette(routes=[WebSocketRoute("/", route)])
    config = uvicorn.Config(app, ws=protocol, log_config=None, lifespan="off", ws_per_message_deflate=False)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as bound:
        task = asyncio.create_task(server.serve(sockets=[bound]))
        while not server.started:
            assert not task.done(), await task
            await asyncio.sleep(0.01)
        yield f"ws://127.0.0.1:{bound.getsockname()[1]}/"
        server.should_exit = True
        await task


async def over(endpoint: Endpoint) -> None:
    async with asyncio.timeout(20):
        await endpoint.over.wait()


async def talk(connection: ClientConnection, hello: Any) -> None:
    await hello(connection, encoding="audio/x-L16")
    for number in range(1, PACKETS + 1):
        await connection.send(media(number))


async def closing(connection: ClientConnection) -> tuple[int | None, str | None]:
    with pytest.raises(ConnectionClosed):
        async with asyncio.timeout(20):
            await connection.recv()
    return connection.close_code, connection.close_reason


@pytest.mark.parametrize("accept", [False, True])
def test_a_whole_call_is_its_events_from_started_to_ended(hello: Any, accept: bool) -> None:
    async def run() -> None:
        endpoint = Endpoint(accept=accept)
        async with serving(endpoint) as url:
            subprotocols: Any = ["mine"] if accept else None
            async with connect(url, proxy=None, subprotocols=subprotocols) as connection:
                assert connection.subprotocol == ("mine" if accept else None)
                await talk(connection, hello)
                await connection.send(STOP)
                assert await closing(connection) == (1000, "stop")
            await over(endpoint)
        assert isinstance(endpoint.events[0], Started)
        assert (endpoint.ended.reason, endpoint.ended.stop_received) == (EndReason.STOP, True)
        assert endpoint.samples().tolist() == list(range(160, (PACKETS + 1) * 160))

    asyncio.run(run())


def test_a_broken_protocol_is_closed_with_the_dialects_code(hello: Any) -> None:
    async def run() -> None:
        endpoint = Endpoint()
        async with serving(endpoint) as url, connect(url, proxy=None) as connection:
            await hello(connection, encoding="audio/x-unheard-of")
            code, reason = await closing(connection)
            assert code == 4415 and "unheard-of" in str(reason)
            await over(endpoint)
        assert endpoint.events == []

    asyncio.run(run())


def test_without_a_start_in_time_it_is_closed() -> None:
    async def run() -> None:
        endpoint = Endpoint(settings=SessionSettings(start_timeout_s=0.1))
        async with serving(endpoint) as url, connect(url, proxy=None) as connection:
            assert (await closing(connection))[0] == 4408
            await over(endpoint)
        assert endpoint.events == []

    asyncio.run(run())


def fin(connection: ClientConnection) -> None:
    connection.transport.get_extra_info("socket").shutdown(socket.SHUT_WR)


def reset(connection: ClientConnection) -> None:
    raw: socket.socket = connection.transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.transport.abort()


@pytest.mark.parametrize(
    ("deed", "protocol", "reason"),
    [
        (fin, "auto", EndReason.FIN),
        (fin, WebSocketProtocol, EndReason.FIN),
        (reset, WebSocketProtocol, EndReason.RESET),  # stock uvicorn does not tell
    ],
)
def test_a_peer_that_vanishes_leaves_what_it_said(hello: Any, deed: Any, protocol: Any, reason: EndReason) -> None:
    async def run() -> None:
        endpoint = Endpoint()
        async with serving(endpoint, protocol) as url, connect(url, proxy=None) as connection:
            await talk(connection, hello)
            while sum(isinstance(event, Frame) for event in endpoint.events) < PACKETS - 1:
                await asyncio.sleep(0.01)
            deed(connection)
            await over(endpoint)
        assert (endpoint.ended.reason, endpoint.ended.stop_received) == (reason, False)
        assert endpoint.samples().tolist() == list(range(160, (PACKETS + 1) * 160))

    asyncio.run(run())


def test_a_peer_that_leaves_before_it_started_yields_nothing() -> None:
    async def run() -> None:
        endpoint = Endpoint()
        async with serving(endpoint) as url:
            async with connect(url, proxy=None):
                pass
            await over(endpoint)
        assert endpoint.events == []

    asyncio.run(run())


def test_leaving_the_loop_early_leaves_the_websocket_open(hello: Any) -> None:
    async def run() -> None:
        endpoint = Endpoint(leave=True)
        async with serving(endpoint) as url:
            async with connect(url, proxy=None) as connection:
                await hello(connection, encoding="audio/x-L16")
                async with asyncio.timeout(20):
                    assert await connection.recv() == "enough"
                assert not endpoint.over.is_set()
            await over(endpoint)
        assert [type(event) for event in endpoint.events] == [Started]

    asyncio.run(run())


def test_a_binary_message_is_an_error_before_the_start_and_counted_after_it(hello: Any) -> None:
    async def run() -> None:
        endpoint = Endpoint()
        async with serving(endpoint) as url:
            async with connect(url, proxy=None) as connection:
                await connection.send(b"\x00\x01")
                assert (await closing(connection))[0] == 1003
            async with connect(url, proxy=None) as connection:
                await talk(connection, hello)
                await connection.send(b"\x00\x01")
                await connection.send(STOP)
                assert (await closing(connection))[0] == 1000
        assert endpoint.ended.ignored["binary"] == 1
        assert len(endpoint.samples()) == PACKETS * 160

    asyncio.run(run())


def test_time_passes_while_nothing_arrives(hello: Any) -> None:
    async def run() -> None:
        endpoint = Endpoint(settings=SessionSettings(idle_timeout_s=0.3))
        async with serving(endpoint) as url, connect(url, proxy=None) as connection:
            await talk(connection, hello)
            assert await closing(connection) == (1000, "idle")
        assert endpoint.ended.reason is EndReason.IDLE

    asyncio.run(run())


def test_the_dialect_may_be_said(hello: Any) -> None:
    async def run() -> None:
        endpoint = Endpoint(dialect="twilio")
        async with serving(endpoint) as url, connect(url, proxy=None) as connection:
            await hello(connection)
            await connection.send(STOP)
            await closing(connection)
        started = endpoint.events[0]
        assert isinstance(started, Started) and started.dialect == "twilio"

    asyncio.run(run())


def test_one_of_several_tokens_lets_in_and_no_token_is_401_with_the_scheme() -> None:
    async def endpoint(websocket: WebSocket) -> None:
        if await receiver.authenticate(websocket, "one-token", "another-token"):
            await websocket.accept()
            await websocket.close()

    async def run() -> None:
        async with serving(endpoint) as url:
            for token in ("one-token", "another-token"):
                async with connect(url, additional_headers={"Authorization": f"Bearer {token}"}, proxy=None):
                    pass
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic one-token"}):
                with pytest.raises(InvalidStatus) as refused:
                    async with connect(url, additional_headers=headers, proxy=None):
                        pass
                response = refused.value.response
                assert (response.status_code, response.body) == (401, b"Unauthorized\n")
                assert response.headers["WWW-Authenticate"] == "Bearer"

    asyncio.run(run())


def test_an_empty_token_lets_nobody_in_and_is_an_error_of_ours() -> None:
    raised: list[str] = []

    async def endpoint(websocket: WebSocket) -> None:
        try:
            await receiver.authenticate(websocket, "good-token", "")
        except ValueError as error:
            raised.append(str(error))
            raise

    async def run() -> None:
        async with serving(endpoint) as url:
            for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer good-token"}):
                with pytest.raises(InvalidStatus) as refused:
                    async with connect(url, additional_headers=headers, proxy=None):
                        pass
                assert refused.value.response.status_code == 500

    asyncio.run(run())
    assert len(raised) == 3
