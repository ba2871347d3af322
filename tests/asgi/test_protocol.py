"""The WebSocket class, as a bare application under uvicorn sees it: through ``receive()``, and through the wire."""

import asyncio
import logging
import os
import select
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, cast

import pytest
import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode

from receiver.asgi.edge import Edge
from receiver.asgi.protocol import LOST, UNREAD_BYTES, WebSocketProtocol, end_of
from receiver.asgi.wire import QUIET_READS, End, wire_of
from receiver.events import EndReason

Reading = Callable[["App", Any, Any, Any], Awaitable[End]]


async def by_receive(app: "App", scope: Any, receive: Any, send: Any) -> End:
    while (message := await receive())["type"] != "websocket.disconnect":
        await app.hears(message.get("text", message.get("bytes")), send)
    return end_of(scope, message)


async def by_wire(app: "App", scope: Any, receive: Any, send: Any) -> End:
    wire = wire_of(scope)
    assert wire is not None
    while wire.end is None:
        await app.may_read.wait()
        for data in wire.read(asyncio.get_running_loop().time()):
            await app.hears(data, send)
        await asyncio.sleep(0.002)
    assert wire.read(0.0) == []
    return wire.end


class App:
    """Accepts, reads, and keeps what it heard and how its connections ended; what it hears may be an order."""

    def __init__(self, reading: Reading = by_receive) -> None:
        self.heard: list[str | bytes] = []
        self.ends: asyncio.Queue[tuple[End, str | None]] = asyncio.Queue()
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.may_accept = asyncio.Event()
        self.may_accept.set()
        self._reading = reading

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        if scope["path"] == "/refuse":
            await send({"type": "websocket.http.response.start", "status": 418, "headers": [(b"x-pot", b"tea")]})
            await send({"type": "websocket.http.response.body", "body": b"tea", "more_body": True})
            await send({"type": "websocket.http.response.body", "body": b"pot"})
        elif scope["path"] == "/forbid":
            await send({"type": "websocket.close"})
        elif scope["path"] == "/nothing":
            return
        else:
            await self.may_accept.wait()
            accept: dict[str, Any] = {"type": "websocket.accept"}
            if scope["subprotocols"]:
                accept |= {"subprotocol": scope["subprotocols"][0], "headers": [(b"x-hello", b"you")]}
            await send(accept)
            ended = await self._reading(self, scope, receive, send)
            await self.ends.put((ended, scope.get(LOST)))

    async def hears(self, data: str | bytes | None, send: Any) -> None:
        assert data is not None
        await self.may_read.wait()
        self.heard.append(data)
        if data == "raise":
            raise ValueError("a mistake")
        if data == "leave":
            raise asyncio.CancelledError
        if data == "close":
            await send({"type": "websocket.close", "code": 4999, "reason": "so you said"})
        if data == "echo":
            await send({"type": "websocket.send", "text": "echo"})
            await send({"type": "websocket.send", "bytes": b"echo"})

    async def end(self) -> End:
        async with asyncio.timeout(30):
            return (await self.ends.get())[0]

    async def count(self, messages: int) -> None:
        async with asyncio.timeout(30):
            while len(self.heard) < messages:
                await asyncio.sleep(0.005)


@asynccontextmanager
async def serving(app: App, edge: Edge | None = None, protocol: Any = None) -> AsyncIterator[int]:
    protocol = protocol or partial(WebSocketProtocol, edge=edge or Edge())
    config = uvicorn.Config(app, ws=protocol, http="h11", log_config=None, lifespan="off")
    config.timeout_graceful_shutdown = 5
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as bound:
        task = asyncio.create_task(server.serve(sockets=[bound]))
        while not server.started:
            assert not task.done(), await task
            await asyncio.sleep(0.01)
        yield bound.getsockname()[1]
        server.should_exit = True
        await task


def dial(port: int, path: str = "/", **options: Any) -> connect:
    return connect(f"ws://127.0.0.1:{port}{path}", proxy=None, compression=None, ping_interval=None, **options)


def frame(opcode: Opcode, data: bytes, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


def text(data: str, mask: bool = True) -> bytes:
    return Frame(Opcode.TEXT, data.encode()).serialize(mask=mask)


def raw(connection: ClientConnection) -> socket.socket:
    found: socket.socket = connection.transport.get_extra_info("socket")
    return found


def say(connection: ClientConnection, data: bytes) -> None:
    """Send bytes as they are, in as few segments as there can be, and from the kernel's side of everything."""
    with socket.socket(fileno=os.dup(raw(connection).fileno())) as wire:
        wire.settimeout(20)
        wire.sendall(data)
        wire.setblocking(False)


def fin(connection: ClientConnection) -> None:
    raw(connection).shutdown(socket.SHUT_WR)


def reset(connection: ClientConnection) -> None:
    raw(connection).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.transport.abort()


both_ways = pytest.mark.parametrize("reading", [by_receive, by_wire])


async def end(
    deed: Callable[[ClientConnection], Any], reading: Reading, protocol: Any = None
) -> tuple[End, str | None]:
    app = App(reading)
    async with serving(app, protocol=protocol) as port, dial(port) as connection:
        await connection.send("hello")
        done = deed(connection)
        if done is not None:
            await done
        async with asyncio.timeout(20):
            told = await app.ends.get()
    assert app.heard[0] == "hello"
    return told


@both_ways
@pytest.mark.parametrize(("deed", "reason"), [(fin, EndReason.FIN), (reset, EndReason.RESET)])
def test_a_lost_connection_is_told_by_how_it_was_lost(deed: Any, reason: EndReason, reading: Reading) -> None:
    assert asyncio.run(end(deed, reading)) == (End(reason), reason.value)


@both_ways
@pytest.mark.parametrize("code", [1000, 1001, 4000])
def test_a_close_frame_is_a_close_with_its_code_and_reason(code: int, reading: Reading) -> None:
    assert asyncio.run(end(lambda peer: peer.close(code), reading)) == (End(EndReason.CLOSE, code, ""), None)
    assert asyncio.run(end(lambda peer: peer.close(code, "bye"), reading)) == (End(EndReason.CLOSE, code, "bye"), None)


@both_ways
@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\xff" * 16, 1002),
        (frame(Opcode.TEXT, b"\xff\xfe"), 1007),
        (text("x" * 70_000), 1009),
        (text("not masked", mask=False), 1002),
        (frame(Opcode.TEXT, b"x", fin=False) + frame(Opcode.CONT, b"", fin=False) * 128, 1009),
        (frame(Opcode.PING, b"") * 11, 1008),
    ],
    ids=["reserved bits", "not UTF-8", "too large", "not masked", "fragments", "pings"],
)
def test_what_came_before_something_wrong_is_delivered_and_the_peer_is_told_what_it_was(
    sent: bytes, code: int, reading: Reading
) -> None:
    async def run() -> None:
        app = App(reading)
        async with serving(app) as port, dial(port) as peer:
            say(peer, b"".join(text(f"good {number}") for number in range(50)) + sent + text("after"))
            told = await app.end()
            with pytest.raises(ConnectionClosed):
                await peer.recv()
        assert app.heard == [f"good {number}" for number in range(50)]
        assert (told.reason, told.code) == (EndReason.ERROR, code)
        assert peer.close_code == code and peer.close_reason == told.text

    asyncio.run(run())


@pytest.mark.parametrize("deed", [fin, reset])
def test_a_server_that_says_no_more_is_taken_to_mean_a_fin(deed: Callable[[ClientConnection], None]) -> None:
    assert asyncio.run(end(deed, by_receive, "websockets-sansio")) == (End(EndReason.FIN), None)


@both_ways
@pytest.mark.parametrize("deed", [fin, reset])
def test_everything_that_reached_the_kernel_before_the_end_is_delivered(
    deed: Callable[[ClientConnection], None], reading: Reading
) -> None:
    async def run() -> None:
        app = App(reading)
        async with serving(app) as port, dial(port) as peer:
            await peer.send("hello")
            await app.count(1)
            app.may_read.clear()
            sent = [f"{number:05}" + "x" * 300 for number in range(200)]  # what any kernel takes at once
            say(peer, b"".join(map(text, sent)))
            await asyncio.sleep(0.1)
            deed(peer)
            await asyncio.sleep(0.1)
            app.may_read.set()
            await app.end()
        assert app.heard == ["hello", *sent]

    asyncio.run(run())


def test_a_failed_write_does_not_cost_what_was_not_read_yet() -> None:
    """A ping to a peer that has reset the connection is how the transport learns of it, before anybody reads."""

    async def run() -> None:
        app = App(by_wire)
        async with serving(app, Edge(ping_interval_s=0.05)) as port, dial(port) as peer:
            await peer.send("hello")
            await app.count(1)
            app.may_read.clear()
            say(peer, b"".join(text(f"{number}") for number in range(500)))
            reset(peer)
            await asyncio.sleep(0.3)
            app.may_read.set()
            assert (await app.end()).reason is EndReason.RESET
        assert app.heard == ["hello", *(f"{number}" for number in range(500))]

    asyncio.run(run())


def test_who_does_not_read_makes_the_peer_wait_and_loses_nothing() -> None:
    async def run() -> None:
        app = App()
        app.may_read.clear()
        async with serving(app) as port, dial(port) as peer:
            sent = [f"{number:06}" + "x" * 4000 for number in range(3000)]
            sending = asyncio.create_task(send_all(peer, sent))
            await asyncio.sleep(0.5)
            assert not sending.done()  # 12 MB do not fit into anybody's buffers
            app.may_read.set()
            await sending
            await app.count(len(sent))
        assert app.heard == sent

    asyncio.run(run())
    assert UNREAD_BYTES < 12_000_000


async def send_all(peer: ClientConnection, messages: list[str]) -> None:
    for message in messages:
        await peer.send(message)


@both_ways
def test_a_ping_is_answered_and_a_pong_nobody_asked_for_is_not_minded(reading: Reading) -> None:
    async def run() -> None:
        app = App(reading)
        async with serving(app) as port, dial(port) as peer:
            async with asyncio.timeout(20):
                await peer.pong(b"unasked")
                await (await peer.ping(b"are you there"))
            await peer.send("echo")
            assert [await peer.recv(), await peer.recv()] == ["echo", b"echo"]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        (fin, EndReason.FIN),
        (reset, EndReason.RESET),
        (lambda peer: peer.close(), EndReason.CLOSE),
        (lambda peer: say(peer, text("last") + b"\xff" * 16), EndReason.ERROR),
    ],
    ids=["fin", "reset", "close", "error"],
)
def test_a_connection_that_was_quiet_for_long_is_read_again_when_it_is_not(deed: Any, reason: EndReason) -> None:
    async def run() -> None:
        app = App(by_wire)
        async with serving(app) as port, dial(port) as peer:
            sent = []
            for talk in range(3):
                words = [f"{talk} {word}" for word in range(talk * 400 + 1)]
                say(peer, b"".join(map(text, words)))
                sent += words
                await app.count(len(sent))
                await asyncio.sleep(0.4)  # the wire is asked a hundred times meanwhile
            done = deed(peer)
            if done is not None:
                await done
            assert (await app.end()).reason is reason
        assert app.heard == sent + ["last"] * (reason is EndReason.ERROR)

    asyncio.run(run())


class Kept(WebSocketProtocol):
    """Lets a test see what the event loop has done with it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport = cast(asyncio.Transport, transport)
        self.socket: socket.socket = transport.get_extra_info("socket")
        self.is_gone = asyncio.Event()
        made.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.is_gone.set()

    @property
    def makes_the_peer_wait(self) -> bool:
        return self._reading_paused

    @property
    def waits_for_the_peer(self) -> bool:
        return self._writable is not None

    @property
    def has_read_a_close(self) -> bool:
        return self._connection.close_rcvd is not None


made: list[Kept] = []


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.002)


def test_a_peer_that_says_more_than_the_loop_keeps_after_a_quiet_time_waits_and_loses_nothing() -> None:
    async def run() -> None:
        app = App(by_wire)
        async with serving(app, protocol=Kept) as port, dial(port) as peer:
            server = made.pop()
            await until(lambda: server.transport.is_reading())  # by the loop again
            app.may_read.clear()
            sent = [f"{number:06}" + "x" * 4000 for number in range(100)]
            sending = asyncio.create_task(send_all(peer, sent))
            await until(lambda: server.makes_the_peer_wait)
            app.may_read.set()
            await sending
            await app.count(len(sent))
        assert app.heard == sent

    asyncio.run(run())


def test_a_transport_that_is_gone_while_the_peer_says_nothing_is_the_end() -> None:
    async def run() -> None:
        async def reading(app: App, scope: Any, receive: Any, send: Any) -> End:
            wire, server = wire_of(scope), made.pop()
            assert wire is not None
            server.transport.abort()
            await server.is_gone.wait()
            assert wire.end is None  # the socket has a say as well
            assert wire.read(0.0) == []
            assert wire.end is not None
            wire.close()
            return wire.end

        app = App(reading)
        async with serving(app, protocol=Kept) as port, asyncio.timeout(20):
            _, writer = await opened(port)
            assert (await app.end()).reason is EndReason.FIN
            writer.close()

    asyncio.run(run())


def test_who_is_told_more_than_he_reads_makes_the_application_wait() -> None:
    async def run() -> None:
        told = 0

        async def app(scope: Any, receive: Any, send: Any) -> None:
            nonlocal told
            await receive()
            await send({"type": "websocket.accept"})
            while told < 100:
                await send({"type": "websocket.send", "bytes": bytes(100_000)})
                told += 1

        async with serving(app, protocol=Kept) as port, asyncio.timeout(20):  # type: ignore[arg-type]
            reader, writer = await opened(port)
            server = made.pop()
            await until(lambda: server.waits_for_the_peer)  # 10 MB do not fit into anybody's buffers
            assert told < 100
            size = 0
            while data := await reader.read(2**20):
                size += len(data)
            writer.close()
        assert told == 100 and size > 10_000_000

    asyncio.run(run())


def test_nobody_is_asked_for_a_sign_of_life_where_that_is_switched_off() -> None:
    async def run() -> None:
        app = App()
        async with serving(app, Edge(ping_interval_s=0, dead_after_s=0)) as port, dial(port) as peer:
            await peer.send("echo")
            assert await peer.recv() == "echo"

    asyncio.run(run())


def test_a_peer_that_spoke_and_closed_after_a_quiet_time_is_gone_when_it_hangs_up() -> None:
    async def run() -> None:
        app = App(by_wire)
        async with serving(app, protocol=partial(Kept, edge=Edge(close_timeout_s=3600))) as port, asyncio.timeout(20):
            reader, writer = await opened(port)
            await asyncio.sleep(0.4)  # the wire is asked a hundred times meanwhile
            writer.write(text("last") + frame(Opcode.CLOSE, b""))
            assert (await app.end()).reason is EndReason.CLOSE
            await reader.read()
            writer.close()
            await made.pop().is_gone.wait()
        assert app.heard == ["last"]

    asyncio.run(run())


def test_one_read_after_a_quiet_time_has_what_the_loop_has_read_and_what_came_since() -> None:
    async def run() -> None:
        heard: list[str | bytes] = []
        asked, go = asyncio.Event(), asyncio.Event()

        async def reading(app: App, scope: Any, receive: Any, send: Any) -> End:
            wire = wire_of(scope)
            assert wire is not None
            for _ in range(QUIET_READS):
                assert wire.read(0.0) == []
            asked.set()
            await go.wait()
            wire.rouse()
            heard.extend(wire.read(0.0))
            return End(EndReason.CLOSE)

        app = App(reading)
        async with serving(app, protocol=Kept) as port, dial(port) as peer, asyncio.timeout(20):
            await asked.wait()
            server = made.pop()
            say(peer, text("first"))
            while not server.unread:
                await asyncio.sleep(0.002)
            say(peer, text("second"))
            assert select.select([server.socket], [], [], 20)[0]
            go.set()
            await app.end()
        assert heard == ["first", "second"]

    asyncio.run(run())


def test_how_a_connection_was_lost_is_left_to_the_transport_that_was_told() -> None:
    async def run() -> None:
        async def reading(app: App, scope: Any, receive: Any, send: Any) -> End:
            wire, server = wire_of(scope), made.pop()
            assert wire is not None
            (await peer).get_extra_info("socket").shutdown(socket.SHUT_WR)
            assert select.select([server.socket], [], [], 20)[0]
            server.transport.abort()  # as it does at an error; it calls back in the next turn
            assert wire.read(0.0) == []
            assert wire.end is None
            await server.is_gone.wait()
            assert wire.read(0.0) == []
            assert wire.end is not None
            return wire.end

        app = App(reading)
        peer: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
        async with serving(app, protocol=Kept) as port, asyncio.timeout(20):
            peer.set_result((await opened(port))[1])
            assert (await app.end()).reason is EndReason.FIN
            peer.result().close()

    asyncio.run(run())


@both_ways
@pytest.mark.parametrize("more", [1_000, UNREAD_BYTES + 1])
def test_what_comes_after_our_close_is_looked_through_only_if_it_is_not_much(reading: Reading, more: int) -> None:
    async def run() -> None:
        app = App(reading)
        edge = Edge(close_timeout_s=3600)
        async with serving(app, protocol=partial(Kept, edge=edge)) as port, asyncio.timeout(20):
            reader, writer = await opened(port)
            writer.write(text("close"))
            assert (await app.end()).reason is EndReason.CLOSE
            server = made.pop()
            writer.write(text("x" * 1_000) * (more // 1_000 + 1) + frame(Opcode.CLOSE, b""))
            writer.write_eof()
            await reader.read()
            writer.close()
            await server.is_gone.wait()
            assert server.has_read_a_close is (more <= UNREAD_BYTES)

    asyncio.run(run())


@both_ways
def test_frames_cut_anywhere_are_put_together(reading: Reading) -> None:
    async def run() -> None:
        app = App(reading)
        stream = b"".join(text(word * 30) for word in ("one", "two", "three")) + frame(Opcode.BINARY, b"4")
        async with serving(app) as port, dial(port) as peer:
            for byte in stream:
                say(peer, bytes([byte]))
                await asyncio.sleep(0.001)
            await app.count(4)
        assert app.heard == ["one" * 30, "two" * 30, "three" * 30, b"4"]

    asyncio.run(run())


@both_ways
def test_a_mistake_of_the_application_closes_with_1011(reading: Reading, capture_logs: Any) -> None:
    async def run() -> None:
        async with serving(App(reading)) as port, dial(port) as peer:
            await peer.send("raise")
            with pytest.raises(ConnectionClosed):
                await peer.recv()
            assert (peer.close_code, peer.close_reason) == (1011, "internal error")

    with capture_logs() as logs:
        asyncio.run(run())
    assert [line["event"] for line in logs] == ["application_failed"]


@both_ways
def test_our_own_close_says_why_and_what_comes_after_it_is_for_nobody(reading: Reading) -> None:
    async def run() -> None:
        app = App(reading)
        async with serving(app) as port, dial(port) as peer:
            say(peer, text("close") + text("after"))
            told = await app.end()
            with pytest.raises(ConnectionClosed):
                await peer.recv()
            assert (peer.close_code, peer.close_reason) == (4999, "so you said")
        assert told == End(EndReason.CLOSE, 4999, "so you said")
        assert app.heard[0] == "close"

    asyncio.run(run())


@both_ways
def test_a_server_that_stops_says_1012(reading: Reading) -> None:
    async def run() -> None:
        app = App(reading)
        async with serving(app) as port:
            peer = await dial(port)
            await peer.send("hello")
            await app.count(1)
        assert await app.end() == End(EndReason.DRAIN, 1012, "service restart")
        with pytest.raises(ConnectionClosed):
            await peer.recv()
        assert peer.close_code == 1012

    asyncio.run(run())


def test_a_peer_that_does_not_answer_our_close_is_cut_off() -> None:
    async def run() -> None:
        app = App()
        async with serving(app, Edge(close_timeout_s=0.2)) as port:
            reader, writer = await opened(port)
            writer.write(text("close"))
            await app.end()
            async with asyncio.timeout(20):
                with suppress(ConnectionResetError):
                    await reader.read()
            writer.close()
            with suppress(ConnectionResetError):
                await writer.wait_closed()

    asyncio.run(run())


async def opened(port: int, path: str = "/", more: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection by hand, whose peer answers nothing by itself."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"GET {path} HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: websocket"]
    key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
    writer.write("\r\n".join([*lines, key, "Sec-WebSocket-Version: 13", "", ""]).encode() + more)
    if not more:
        assert (await reader.readline()).startswith(b"HTTP/1.1 101")
        while await reader.readline() != b"\r\n":
            pass
    return reader, writer


LIFE = Edge(ping_interval_s=0.05, dead_after_s=0.4, close_timeout_s=0.2)


@both_ways
def test_a_steady_peer_that_falls_silent_is_dead(reading: Reading) -> None:
    """It never answers a ping, but it was sending more often than that."""

    async def run() -> None:
        app = App(reading)
        async with serving(app, LIFE) as port:
            _, writer = await opened(port)
            for number in range(10):
                writer.write(text(str(number)))
                await asyncio.sleep(0.02)
            writer.write(text("half of it")[:7])
            assert await app.end() == End(EndReason.DEAD, 1001, "no sign of life for 0.4 s")
            writer.close()
        assert app.heard == [str(number) for number in range(10)]

    asyncio.run(run())


@both_ways
def test_a_peer_that_falls_silent_within_a_frame_is_dead(reading: Reading) -> None:
    async def run() -> None:
        app = App(reading)
        async with serving(app, LIFE) as port:
            _, writer = await opened(port)
            writer.write(text("whole") + text("half of it")[:7])
            assert (await app.end()).reason is EndReason.DEAD
            writer.close()
        assert app.heard == ["whole"]

    asyncio.run(run())


@both_ways
def test_a_peer_that_has_answered_pings_and_does_not_any_more_is_dead(reading: Reading) -> None:
    async def run() -> None:
        app = App(reading)
        async with serving(app, LIFE) as port:
            _, writer = await opened(port)
            writer.write(frame(Opcode.PONG, b""))
            assert (await app.end()).reason is EndReason.DEAD
            writer.close()

    asyncio.run(run())


@both_ways
def test_a_peer_that_was_never_heard_of_often_may_be_silent(reading: Reading) -> None:
    async def run() -> None:
        app = App(reading)
        async with serving(app, LIFE) as port:
            _, writer = await opened(port)
            writer.write(text("hello"))
            await asyncio.sleep(1.5)
            writer.write(text("still here"))
            await app.count(2)
            assert app.ends.empty()
            writer.close()
            assert (await app.end()).reason is EndReason.FIN

    asyncio.run(run())


@both_ways
def test_a_peer_that_answers_pings_may_be_silent_for_ever(reading: Reading) -> None:
    async def run() -> None:
        app = App(reading)
        async with serving(app, replace(LIFE, dead_after_s=1.5)) as port, dial(port) as peer:
            await peer.send("hello")
            await asyncio.sleep(3)
            await peer.send("still here")
            await app.count(2)
            assert app.ends.empty()

    asyncio.run(run())


def test_a_peer_that_is_not_read_is_not_dead() -> None:
    async def run() -> None:
        app = App()
        app.may_read.clear()
        async with serving(app, LIFE) as port, dial(port) as peer:
            sending = asyncio.create_task(send_all(peer, ["x" * 4000] * 3000))
            await asyncio.sleep(1.5)
            app.may_read.set()
            await sending
            await app.count(3000)
            assert app.ends.empty()

    asyncio.run(run())


def test_refusals_are_answers_and_no_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def refused(port: int, path: str) -> tuple[int, bytes, str | None]:
        with pytest.raises(InvalidStatus) as refusal:
            async with dial(port, path):
                pass
        answer = refusal.value.response
        return answer.status_code, answer.body or b"", answer.headers.get("x-pot")

    async def run() -> None:
        async with serving(App()) as port:
            assert await refused(port, "/refuse") == (418, b"teapot", "tea")
            assert await refused(port, "/forbid") == (403, b"Forbidden\n", None)
            assert await refused(port, "/nothing") == (500, b"Internal Server Error\n", None)

    asyncio.run(run())
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_a_peer_that_was_refused_is_not_answered_again_when_the_server_stops(capture_logs: Any) -> None:
    """It has been told, and has not hung up yet."""
    problems: list[Any] = []

    async def run() -> bytes:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context))
        async with serving(App()) as port:
            reader, writer = await opened(port, "/forbid", more=b"\r\n")
            told = await reader.readuntil(b"Forbidden\n")
        told += await reader.read()
        writer.close()
        return told

    assert asyncio.run(run()).count(b"HTTP/1.1") == 1
    assert problems == []


def test_what_a_peer_says_that_was_refused_is_for_nobody() -> None:
    async def run() -> None:
        app = App()
        async with serving(app, protocol=Kept) as port, asyncio.timeout(20):
            reader, writer = await opened(port, "/forbid", more=b"\r\n")
            assert (await reader.read()).count(b"HTTP/1.1") == 1
            writer.write(text("and yet"))
            writer.write_eof()
            await made.pop().is_gone.wait()
            writer.close()
        assert app.heard == []

    asyncio.run(run())


def test_a_peer_that_does_not_wait_for_its_refusal_is_told_nothing() -> None:
    problems: list[Any] = []
    refused = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.http.response.start", "status": 418})
        assert (await receive())["type"] == "websocket.disconnect"
        await send({"type": "websocket.http.response.body", "body": b"teapot"})
        refused.set()

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context))
        async with serving(app) as port, asyncio.timeout(20):  # type: ignore[arg-type]
            reader, writer = await opened(port, more=b"\r\n")
            writer.write_eof()
            assert await reader.read() == b""
            await refused.wait()
            writer.close()

    asyncio.run(run())
    assert problems == []


def test_a_server_that_stops_before_somebody_was_let_in_says_503() -> None:
    async def run() -> bytes:
        app = App()
        app.may_accept.clear()
        async with serving(app, protocol=Kept) as port:
            reader, writer = await opened(port, more=b"\r\n")
            await until(lambda: bool(made))
            made.clear()
        answer = await reader.read()
        writer.close()
        return answer

    assert asyncio.run(run()).startswith(b"HTTP/1.1 503 ")


def test_a_subprotocol_and_headers_are_as_the_application_says() -> None:
    async def run() -> None:
        async with serving(App()) as port, dial(port, subprotocols=["audio", "other"]) as peer:  # type: ignore[list-item]
            assert peer.subprotocol == "audio"
            assert peer.response is not None and peer.response.headers["X-Hello"] == "you"

    asyncio.run(run())


def test_frames_before_the_handshake_is_over_are_refused() -> None:
    async def run() -> None:
        app = App()
        app.may_accept.clear()
        async with serving(app) as port:
            reader, writer = await opened(port, more=b"\r\n")
            await asyncio.sleep(0.05)
            writer.write(text("early"))
            async with asyncio.timeout(20):
                answer = await reader.read()
            app.may_accept.set()
            writer.close()
        assert answer.startswith(b"HTTP/1.1 400 ") and answer.endswith(b"Frames before the handshake was over.\n")
        assert app.heard == []

    asyncio.run(run())


def test_a_request_that_the_parser_does_not_take_is_answered() -> None:
    async def run() -> None:
        async with serving(App()) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            lines = ["GET / HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: websocket", "X-Long: " + "a" * 9000]
            writer.write("\r\n".join([*lines, "", ""]).encode())
            async with asyncio.timeout(20):
                answer = await reader.read()
            writer.close()
            await writer.wait_closed()
        assert answer.startswith(b"HTTP/1.1 431 ")

    asyncio.run(run())


def test_a_wire_is_taken_once_and_from_an_open_connection() -> None:
    taken: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        with pytest.raises(RuntimeError, match="accepted"):
            wire_of(scope)
        await send({"type": "websocket.accept"})
        with pytest.raises(RuntimeError, match="cannot be sent now"):
            await send({"type": "websocket.accept"})
        taken.append(wire_of(scope))
        with pytest.raises(RuntimeError, match="once"):
            wire_of(scope)
        while taken[0].end is None:
            taken[0].read(0.0)
            await asyncio.sleep(0.005)
        with pytest.raises(OSError):
            await send({"type": "websocket.send", "text": "too late"})
        taken.append(None)

    async def run() -> None:
        async with serving(app) as port:  # type: ignore[arg-type]
            async with dial(port):
                pass
            async with asyncio.timeout(20):
                while len(taken) < 2:
                    await asyncio.sleep(0.005)

    asyncio.run(run())


def test_a_wire_is_not_taken_from_a_connection_that_is_over() -> None:
    found: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        found.append(wire_of(scope))

    async def run() -> None:
        async with serving(app) as port:  # type: ignore[arg-type]
            async with dial(port) as peer:
                await peer.send("hello")
            async with asyncio.timeout(20):
                while not found:
                    await asyncio.sleep(0.005)
        assert found == [None]

    asyncio.run(run())


def test_another_server_offers_no_wire() -> None:
    assert wire_of({"type": "websocket"}) is None
