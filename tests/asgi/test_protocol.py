"""How a connection was lost, as a bare application under uvicorn hears it; and refusals that are an answer."""

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from receiver.asgi.protocol import LOST, WebSocketProtocol, end_of
from receiver.events import EndReason


class App:
    """Accepts, and keeps what its connections ended with. ``/refuse`` is refused."""

    def __init__(self) -> None:
        self.ends: asyncio.Queue[tuple[EndReason, str | None]] = asyncio.Queue()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        if scope["path"] == "/refuse":
            await send({"type": "websocket.http.response.start", "status": 418, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b"teapot"})
            return
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] != "websocket.disconnect":
            pass
        await self.ends.put((end_of(scope, message), scope.get(LOST)))


@asynccontextmanager
async def serving(app: App, protocol: Any = WebSocketProtocol) -> AsyncIterator[int]:
    config = uvicorn.Config(app, ws=protocol, http="h11", ws_max_size=65_536, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as bound:
        task = asyncio.create_task(server.serve(sockets=[bound]))
        while not server.started:
            assert not task.done(), await task
            await asyncio.sleep(0.01)
        yield bound.getsockname()[1]
        server.should_exit = True
        await task


def raw(connection: ClientConnection) -> socket.socket:
    found: socket.socket = connection.transport.get_extra_info("socket")
    return found


def fin(connection: ClientConnection) -> None:
    raw(connection).shutdown(socket.SHUT_WR)


def reset(connection: ClientConnection) -> None:
    raw(connection).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.transport.abort()


async def end(deed: Callable[[ClientConnection], Any], protocol: Any = WebSocketProtocol) -> Any:
    app = App()
    async with serving(app, protocol) as port:
        async with connect(f"ws://127.0.0.1:{port}/", proxy=None) as connection:
            await connection.send("hello")
            done = deed(connection)
            if done is not None:
                await done
            async with asyncio.timeout(20):
                return await app.ends.get()


@pytest.mark.parametrize(("deed", "reason"), [(fin, EndReason.FIN), (reset, EndReason.RESET)])
def test_a_lost_connection_is_told_by_how_it_was_lost(deed: Callable[[ClientConnection], None], reason: Any) -> None:
    assert asyncio.run(end(deed)) == (reason, reason.value)


@pytest.mark.parametrize("code", [1000, 1001, 4000])
def test_a_close_frame_is_a_close_with_a_reason_or_without(code: int) -> None:
    assert asyncio.run(end(lambda connection: connection.close(code)))[0] is EndReason.CLOSE
    assert asyncio.run(end(lambda connection: connection.close(code, "bye")))[0] is EndReason.CLOSE


def broken(connection: ClientConnection) -> None:
    connection.transport.write(b"\xff" * 16)  # reserved bits, an opcode that does not exist


@pytest.mark.parametrize(
    "deed",
    [
        broken,
        lambda connection: connection.send(b"\xff\xfe", text=True),
        lambda connection: connection.send("x" * 70_000),
    ],
    ids=["a broken frame", "text that is not UTF-8", "a message too large"],
)
def test_what_cannot_be_read_is_an_error_and_neither_a_close_nor_a_loss(deed: Callable[[Any], Any]) -> None:
    assert asyncio.run(end(deed))[0] is EndReason.ERROR


@pytest.mark.parametrize("deed", [fin, reset])
def test_a_server_that_says_no_more_is_taken_to_mean_a_fin(deed: Callable[[ClientConnection], None]) -> None:
    assert asyncio.run(end(deed, "websockets-sansio")) == (EndReason.FIN, None)


def test_a_refusal_is_an_answer_and_no_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with serving(App()) as port:
            with pytest.raises(InvalidStatus) as refused:
                async with connect(f"ws://127.0.0.1:{port}/refuse", proxy=None):
                    pass
            assert (refused.value.response.status_code, refused.value.response.body) == (418, b"teapot")

    asyncio.run(run())
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_a_handshake_that_cannot_be_read_is_answered_and_closed() -> None:
    async def run() -> None:
        async with serving(App()) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            lines = ["GET / HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: websocket", "X-Long: " + "a" * 9000]
            writer.write("\r\n".join([*lines, "", ""]).encode())
            async with asyncio.timeout(20):
                answer = await reader.read()
            writer.close()
            await writer.wait_closed()
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n") and answer.endswith(b"Bad Request\n")

    asyncio.run(run())
