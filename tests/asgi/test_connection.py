"""Every end of a connection takes the same path: what arrived is in the files, the reason is right, nothing is left."""

import asyncio
import base64
import contextlib
import json
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from receiver.asgi.connection import CATCH_UP_SWEEPS, Connection
from receiver.events import EndReason
from receiver.sessions.session import Session

PACKETS = 50


def media(number: int) -> str:
    body = {
        "track": "inbound",
        "chunk": str(number),
        "timestamp": str((number - 1) * 20),
        "payload": base64.b64encode(bytes([number]) * 160).decode(),
    }
    return json.dumps({"event": "media", "sequenceNumber": str(number + 1), "media": body})


async def talk(connection: ClientConnection, hello: Callable[..., Any]) -> None:
    await hello(connection)
    for number in range(1, PACKETS + 1):
        await connection.send(media(number))


async def final(server: Any, streams: int = 1) -> None:
    """Wait until nothing is live, and so many streams are told of and have no journal left."""
    async with asyncio.timeout(20):
        while len(server.receiver.registry) or len(list(server.root.glob("*/*/stream.json"))) < streams:
            await asyncio.sleep(0.01)
        while list(server.root.glob("*/*/journal.jsonl")):
            await asyncio.sleep(0.01)


def check(server: Any, reason: EndReason, *, stop: bool = False) -> dict[str, Any]:
    told: dict[str, Any] = server.told()
    assert (told["end"]["reason"], told["end"]["stop_received"]) == (reason.value, stop)
    (folder,) = server.folders()
    assert soundfile.info(folder / "inbound.wav").frames == PACKETS * 160
    assert not list(folder.glob("*.part"))
    assert told["tracks"]["inbound"]["counters"]["received"] == PACKETS
    return told


def hang_up(connection: ClientConnection) -> None:
    """A FIN and nothing else."""
    connection.transport.get_extra_info("socket").shutdown(socket.SHUT_WR)


def kill(connection: ClientConnection) -> None:
    """A RST, as when a client dies or a load balancer forgets."""
    raw: socket.socket = connection.transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.transport.abort()


def test_a_stop_message_ends_the_stream(running: Any, hello: Any) -> None:
    async def run() -> None:
        async with running() as server:
            async with server.dial() as connection:
                await talk(connection, hello)
                await connection.send(json.dumps({"event": "stop", "sequenceNumber": "999"}))
            await final(server)
            check(server, EndReason.STOP, stop=True)

    asyncio.run(run())


def test_the_start_of_a_stream_does_not_wait_for_its_turn_of_the_sweep(
    running: Any, hello: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.asgi.connection.PROMPT_S", 60)

    async def run() -> None:
        async with running() as server:
            sweep = server.receiver.sweep
            sweep.stop()  # no turn comes
            async with server.dial() as connection, asyncio.timeout(20):
                await asyncio.sleep(0.1)  # it is looked for again
                await talk(connection, hello)
                while not server.folders() or sweep._hungry:
                    await asyncio.sleep(0.01)
                sweep.start()
            await final(server)
            check(server, EndReason.CLOSE)

    asyncio.run(run())


def test_who_does_not_start_is_not_looked_for_all_the_time(running: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.asgi.connection.PROMPT_S", 0)

    async def run() -> None:
        async with running() as server, server.dial(), asyncio.timeout(20):
            while not len(server.receiver.registry) or server.receiver.sweep._hungry:
                await asyncio.sleep(0.01)

    asyncio.run(run())


def test_after_a_stop_we_close_if_the_peer_does_not(running: Any, hello: Any) -> None:
    async def run() -> None:
        async with running(limits={"close_timeout_s": 0.1}) as server, server.dial() as connection:
            await talk(connection, hello)
            await connection.send(json.dumps({"event": "stop"}))
            with pytest.raises(ConnectionClosed):
                await connection.recv()
            assert connection.close_code == 1000
            await final(server)
            check(server, EndReason.STOP, stop=True)

    asyncio.run(run())


def test_a_close_frame_without_a_stop(running: Any, hello: Any) -> None:
    async def run() -> None:
        async with running() as server:
            async with server.dial() as connection:
                await talk(connection, hello)
            await final(server)
            check(server, EndReason.CLOSE)

    asyncio.run(run())


@pytest.mark.parametrize(("deed", "reason"), [(hang_up, EndReason.FIN), (kill, EndReason.RESET)])
def test_a_connection_that_is_lost(
    running: Any, hello: Any, deed: Callable[[ClientConnection], None], reason: EndReason
) -> None:
    async def run() -> None:
        async with running() as server:
            connection = await server.dial()
            await talk(connection, hello)
            async with asyncio.timeout(20):  # what a RST finds unsent, it destroys on the sender's side
                arrived = f'receiver_messages_total{{kind="media",source="default"}} {PACKETS}.0'
                while arrived not in (await asyncio.to_thread(server.receiver.metrics.render))[0].decode():
                    await asyncio.sleep(0.01)
            deed(connection)
            await final(server)
            check(server, reason)
            with contextlib.suppress(ConnectionClosed):
                await connection.close()

    asyncio.run(run())


def test_a_stream_without_media_for_too_long(running: Any, hello: Any) -> None:
    async def run() -> None:
        async with running(limits={"idle_timeout_s": 0.5}) as server, server.dial() as connection:
            await talk(connection, hello)
            with pytest.raises(ConnectionClosed):
                await connection.recv()
            assert (connection.close_code, connection.close_reason) == (1000, "idle")
            await final(server)
            check(server, EndReason.IDLE)

    asyncio.run(run())


def test_a_connection_that_never_starts(running: Any) -> None:
    async def run() -> None:
        async with running(limits={"start_timeout_s": 0.2}) as server, server.dial() as connection:
            with pytest.raises(ConnectionClosed):
                await connection.recv()
            assert connection.close_code == 4408
            await final(server, streams=0)
            assert server.folders() == []

    asyncio.run(run())


def test_a_peer_that_breaks_the_protocol(running: Any, hello: Any) -> None:
    async def run() -> None:
        async with running() as server, server.dial() as connection:
            await talk(connection, hello)
            for _ in range(51):
                await connection.send("not json")
            with pytest.raises(ConnectionClosed):
                await connection.recv()
            assert connection.close_code == 1008
            await final(server)
            told = check(server, EndReason.ERROR)
            assert told["end"]["close_code"] == 1008

    asyncio.run(run())


def test_the_end_of_the_process_ends_live_streams_last(running: Any, hello: Any) -> None:
    async def run() -> None:
        async with running() as server:
            connection = await server.dial()
            await talk(connection, hello)
            while not list(server.root.glob("*/*/inbound.wav.part")):
                await asyncio.sleep(0.01)
            leaving = asyncio.create_task(server.receiver.end_all(EndReason.DRAIN))
            with pytest.raises(ConnectionClosed):
                await connection.recv()
            assert connection.close_code == 1012
            await leaving
            await final(server)
            check(server, EndReason.DRAIN)

    asyncio.run(run())


def test_a_flood_does_not_wait_for_the_sweep(running: Any, hello: Any) -> None:
    async def run() -> None:
        async with running(server={"latency_ms": 1000}, limits={"burst_s": 0}) as server:
            async with server.dial() as connection:
                await hello(connection)
                for number in range(1, 3_001):
                    await connection.send(media(number % 250 + 1 if number > 250 else number))
                await connection.send(json.dumps({"event": "stop"}))
            await final(server)
            assert server.told()["tracks"]["inbound"]["counters"]["received"] == 3_000

    asyncio.run(run())


def put(connection: ClientConnection, data: bytes) -> None:
    """Into the kernel at once, while nothing of this loop runs."""
    with socket.socket(fileno=os.dup(connection.transport.get_extra_info("socket").fileno())) as wire:
        wire.settimeout(20)
        wire.sendall(data)
        wire.setblocking(False)


async def live(server: Any) -> Connection:
    async with asyncio.timeout(20):
        while not server.receiver.live_streams():
            await asyncio.sleep(0.01)
    (found,) = server.receiver.live_streams()
    assert isinstance(found, Connection)
    return found


@pytest.mark.blocks  # for a moment, so that no sweep comes between
@pytest.mark.parametrize("sweeps", [CATCH_UP_SWEEPS, 3])
def test_an_end_reads_what_has_arrived_before_and_no_more_than_any_kernel_holds(
    running: Any, hello: Any, monkeypatch: pytest.MonkeyPatch, sweeps: int
) -> None:
    monkeypatch.setattr("receiver.asgi.wire.READ_BYTES", 1024)
    monkeypatch.setattr("receiver.asgi.connection.CATCH_UP_SWEEPS", sweeps)

    async def run() -> dict[str, Any]:
        async with running() as server, server.dial() as connection:
            await hello(connection)
            stream = await live(server)
            frames = [Frame(Opcode.TEXT, media(number).encode()) for number in range(1, PACKETS + 1)]
            put(connection, b"".join(frame.serialize(mask=True) for frame in frames))
            stream.end(EndReason.DRAIN)
            await final(server)
            told: dict[str, Any] = server.told()
            return told

    told = asyncio.run(run())
    assert told["end"]["reason"] == "drain"
    received = told["tracks"]["inbound"]["counters"]["received"]
    assert received == PACKETS if sweeps == CATCH_UP_SWEEPS else 0 < received < PACKETS


def test_a_stream_of_which_no_capture_is_kept_is_paused_as_well(running: Any, hello: Any) -> None:
    async def run() -> dict[str, Any]:
        async with running() as server:
            async with server.dial() as connection:
                await hello(connection)
                stream = await live(server)
                stream.withhold(paused=True)
                await connection.send(media(1))
                await connection.send(json.dumps({"event": "stop"}))
            await final(server)
            told: dict[str, Any] = server.told()
            return told

    told = asyncio.run(run())
    assert told["ignored"] == {"paused": 1}
    assert [gap["cause"] for gap in told["tracks"]["inbound"]["gaps"]] == ["paused"]


async def scripted(server: Any, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A connection of a server that offers no wire: what it hands to us, all at once; what we answer."""
    sent: list[dict[str, Any]] = []
    incoming = [{"type": "websocket.connect"}, *messages]

    async def receive() -> dict[str, Any]:
        return incoming.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "websocket",
        "path": "/stream",
        "query_string": b"",
        "headers": [(b"authorization", b"Bearer a-token-of-the-tests")],
    }
    await server.receiver(scope, receive, send)
    return sent


class Saying:
    """As much of a connection as ``hello`` needs."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []

    async def send(self, text: str) -> None:
        self.said.append({"type": "websocket.receive", "text": text})


def test_where_there_is_no_wire_a_flood_does_not_wait_for_the_sweep_either(running: Any, hello: Any) -> None:
    async def run() -> dict[str, Any]:
        async with running(server={"latency_ms": 1000}, limits={"burst_s": 0}) as server:
            peer = Saying()
            await hello(peer)
            for number in range(1, 2_001):
                await peer.send(media(number % 250 + 1 if number > 250 else number))
            binary = {"type": "websocket.receive", "bytes": b"no text"}
            sent = await scripted(server, [*peer.said, binary, {"type": "websocket.disconnect", "code": 1006}])
            assert [message["type"] for message in sent] == ["websocket.accept"]
            await final(server)
            told: dict[str, Any] = server.told()
            return told

    told = asyncio.run(run())
    assert (told["end"]["reason"], told["ignored"]["binary"]) == ("fin", 1)
    assert told["tracks"]["inbound"]["counters"]["received"] == 2_000


def test_a_mistake_in_the_end_itself_is_the_end_all_the_same(
    running: Any, hello: Any, capture_logs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("not even that")

    async def run() -> None:
        async with running() as server:
            peer = Saying()
            await hello(peer)
            monkeypatch.setattr(Session, "close", broken)
            await scripted(server, [*peer.said, {"type": "websocket.disconnect", "code": 1006}])
            assert len(server.receiver.registry) == 0

    with capture_logs() as logs:
        asyncio.run(run())
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["internal_error"]


@pytest.mark.blocks  # the folder is taken away by the test itself
def test_a_folder_that_cannot_be_made_ends_the_stream_and_nothing_else(running: Any, hello: Any) -> None:
    async def run() -> None:
        async with running() as server:
            server.root.rmdir()
            server.root.write_text("in the way")
            async with server.dial() as connection:
                await hello(connection)
                with pytest.raises(ConnectionClosed):
                    await connection.recv()
                assert connection.close_code == 1011
            Path(server.root).unlink()
            async with server.dial() as connection:
                await talk(connection, hello)
            await final(server)
            check(server, EndReason.CLOSE)

    asyncio.run(run())


def test_the_same_peer_id_twice_is_two_streams(running: Any, hello: Any) -> None:
    async def run() -> None:
        async with running() as server:
            async with server.dial() as first, server.dial() as second:
                await talk(first, hello)
                await talk(second, hello)
            await final(server, streams=2)
            files = [folder / "inbound.wav" for folder in server.folders()]
            assert [soundfile.info(file).frames for file in files] == [PACKETS * 160] * 2

    asyncio.run(run())


@pytest.mark.blocks  # the scripted receive looks at the disk, on our loop
@pytest.mark.parametrize("lost", [True, False])
def test_a_mistake_of_ours_ends_the_stream_with_final_files(
    running: Any, hello: Any, capture_logs: Any, lost: bool
) -> None:
    """A server that breaks ASGI, standing for any exception of our own, by a scripted receive and send."""
    said: list[str] = []
    sent: list[dict[str, Any]] = []

    class Odd:
        """No message: it has a length, once."""

        def __len__(self) -> int:
            if hasattr(self, "asked"):
                raise TypeError("not a second time")
            self.asked = True
            return 1

    class Saying:
        async def send(self, text: str) -> None:
            said.append(text)

    async def run() -> None:
        async with running() as server:
            await hello(Saying())
            said.extend(media(number) for number in range(1, PACKETS + 1))
            incoming: list[dict[str, Any]] = [
                {"type": "websocket.connect"},
                *({"type": "websocket.receive", "text": text} for text in said),
            ]

            async def receive() -> dict[str, Any]:
                if incoming:
                    return incoming.pop(0)
                while not list(server.root.glob("*/*/inbound.wav.part")):
                    await asyncio.sleep(0.01)
                if lost:
                    raise RuntimeError("the server cannot read")
                if len(sent) < 2:
                    await asyncio.sleep(0.01)
                    return {"type": "websocket.receive", "text": Odd()}
                return {"type": "websocket.disconnect", "code": 1006}

            async def send(message: dict[str, Any]) -> None:
                sent.append(message)

            scope = {
                "type": "websocket",
                "path": "/stream",
                "query_string": b"",
                "headers": [(b"authorization", b"Bearer a-token-of-the-tests")],
            }
            await server.receiver(scope, receive, send)
            await final(server)
            check(server, EndReason.ERROR)

    with capture_logs() as logs:
        asyncio.run(run())
    assert [line["log_level"] for line in logs if line["event"] == "internal_error"] == ["error"]
    assert sent[0]["type"] == "websocket.accept"
    assert [message["code"] for message in sent[1:]] == ([] if lost else [1011])


def test_a_peer_that_goes_on_a_while_after_our_close_is_not_reset_by_the_end_of_the_server(running: Any) -> None:
    """A reset would overtake the close frame, and the peer would not know why the call was ended."""

    def frame(opcode: int, data: bytes) -> bytes:
        size = len(data)
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        return bytes([0x80 | opcode]) + length + bytes(4) + data  # a mask of zeros is a mask as well

    async def peer(public: str, started: asyncio.Event) -> bytes:
        host, _, port = public.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"GET /stream HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer a-token-of-the-tests\r\n\r\n"
        )
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        start = {
            "streamSid": "s",
            "callSid": "c",
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        }
        writer.write(frame(1, json.dumps({"event": "start", "start": start}).encode()))
        started.set()
        head = await reader.readexactly(4)
        while head[0] != 0x88:  # a ping
            await reader.readexactly(head[1] - 2)
            head = await reader.readexactly(4)
        for _ in range(10):
            writer.write(frame(1, b'{"event":"media"}'))
            await writer.drain()
            await asyncio.sleep(0.03)
        writer.write(frame(8, head[2:]))
        await reader.read()  # raises ConnectionResetError, if it was
        writer.close()
        return head[2:]

    async def run() -> bytes:
        started = asyncio.Event()
        async with running() as server:
            calling = asyncio.create_task(peer(server.public, started))
            await started.wait()
            async with asyncio.timeout(20):
                while not server.receiver.live_streams():
                    await asyncio.sleep(0.01)
        return await calling

    assert int.from_bytes(asyncio.run(run()), "big") == 1012
