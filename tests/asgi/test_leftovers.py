"""What a connection made is gone when it is over, however it ended, without a garbage collection."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

WITHIN_S = 20
TIMES = 3
BUSY = {"receiver.sinks.workers", "receiver.metrics", "receiver.asgi.sweep", "receiver.auth.attempts"}
"""What is of the whole process."""

SERVER = {"ping_interval_s": 0.2, "latency_ms": 20}
LIMITS = {"burst_s": 0, "start_timeout_s": 0.5, "open_timeout_s": 0.5, "dead_after_s": 0.5, "close_timeout_s": 0.3}
MEDIA = '{{"event":"media","sequenceNumber":"{0}","media":{{"track":"inbound","chunk":"{1}","timestamp":"{2}",\
"payload":"////////"}}}}'
STOP = '{"event":"stop","sequenceNumber":"99"}'

SINKS = """
import asyncio
from receiver.events import Frame
from receiver.sinks import blocks, each

def _fail(event):
    try:
        raise KeyError("first")
    except KeyError:
        raise ValueError("then")

async def reads(stream, events):
    async for event in events:
        stream.annotate("seen", start=0, end=1, rate=8000)

async def fails(stream, events):
    async for event in events:
        _fail(event)

async def each_fails(stream, events):
    await each(events, _fail)

async def in_blocks(stream, events):
    async for block in blocks(events, ms=20):
        pass

async def slow(stream, events):
    async for event in events:
        await asyncio.sleep(0.01)

async def late(stream, events):
    async for event in events:
        pass
    await asyncio.sleep(0.7)

async def hangs(stream, events):
    await asyncio.Event().wait()

def plain(stream, events):
    for event in events:
        pass

def plain_fails(stream, events):
    for event in events:
        _fail(event)

tried = set()

async def fails_once(stream, events):
    async for event in events:
        if isinstance(event, Frame) and stream.id not in tried:
            tried.add(stream.id)
            _fail(event)
"""

AGAIN = {"overflow": "spill", "on_error": "restart", "buffer_s": 1, "finish_timeout_s": 2}


@pytest.fixture
def nothing_is_collected() -> Iterator[None]:
    """Only what nobody refers to goes away."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def ours() -> Counter[str]:
    """How many objects there are of each of our classes."""
    found: Counter[str] = Counter()
    for one in gc.get_objects():
        module = type(one).__module__
        if isinstance(module, str) and module.startswith(("receiver", "websockets.server")) and module not in BUSY:
            found[f"{module}.{type(one).__qualname__}"] += 1
    return found


async def left_of(connect: Callable[[], Awaitable[None]]) -> Counter[str]:
    """What connections leave, each of them at least one, once they have had the time to end.

    There was one before: it makes what is made once, and stays.
    """
    await connect()
    before = ours()
    await asyncio.gather(*(connect() for _ in range(TIMES)))
    deadline = asyncio.get_running_loop().time() + WITHIN_S
    while (left := more_than(before)) and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.1)
    return left


def more_than(before: Counter[str]) -> Counter[str]:
    """Of which there are more now, for every connection."""
    return Counter({name: count for name, count in (ours() - before).items() if count >= TIMES})


End = Callable[[ClientConnection], Awaitable[None]]


async def stop(connection: ClientConnection) -> None:
    await connection.send(STOP)
    await connection.wait_closed()


async def close(connection: ClientConnection) -> None:
    await connection.close()


async def fin(connection: ClientConnection) -> None:
    connection.transport.write_eof()
    await connection.wait_closed()


async def reset(connection: ClientConnection) -> None:
    opened = connection.transport.get_extra_info("socket")
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.transport.abort()


async def bad_frame(connection: ClientConnection) -> None:
    connection.transport.write(b"\xff\x00")
    await connection.wait_closed()


async def bad_messages(connection: ClientConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        for _ in range(60):
            await connection.send(b"binary")
    await connection.wait_closed()


async def silence(connection: ClientConnection) -> None:
    connection.transport.pause_reading()  # so it answers no ping
    await asyncio.sleep(1)
    connection.transport.abort()


ENDS: list[End] = [stop, close, fin, reset, bad_frame, bad_messages, silence]


@pytest.fixture
def call(hello: Any) -> Callable[..., Awaitable[None]]:
    async def call(server: Any, end: End = stop) -> None:
        async with server.dial(close_timeout=1) as connection:
            await hello(connection)
            for number in range(20):
                await connection.send(MEDIA.format(number + 2, number + 1, number * 20))
            await asyncio.sleep(0.2)
            await end(connection)

    return call


@pytest.mark.usefixtures("nothing_is_collected")
@pytest.mark.parametrize("end", ENDS)
def test_a_stream_leaves_nothing_however_it_ends(running: Any, call: Any, end: End) -> None:
    async def run() -> None:
        async with running(server=SERVER, limits=LIMITS, captures={"enabled": True}) as server:
            assert not await left_of(lambda: call(server, end))

    asyncio.run(run())


@pytest.mark.usefixtures("nothing_is_collected")
@pytest.mark.parametrize(
    ("names", "settings"),
    [
        (("reads", "fails", "each_fails", "in_blocks", "plain", "plain_fails"), {}),
        (("late", "hangs"), {"finish_timeout_s": 1}),
        (("slow", "plain", "fails", "plain_fails", "fails_once"), AGAIN),
    ],
    ids=["in time", "late", "again"],
)
def test_no_sink_keeps_a_stream(
    running: Any, call: Any, tmp_path: Path, names: Sequence[str], settings: dict[str, Any]
) -> None:
    sinks = {name: {"use": f"./some.py:{name}", **settings} for name in names}

    async def run() -> None:
        async with running(server=SERVER, limits=LIMITS, sinks=sinks) as server:
            assert not await left_of(lambda: call(server))

    (tmp_path / "some.py").write_text(SINKS)
    asyncio.run(run())


async def _refused(server: Any) -> None:
    with pytest.raises(InvalidStatus):
        await server.dial("a wrong token")


async def _silent(server: Any) -> None:
    async with server.dial() as connection:
        await connection.wait_closed()


async def _no_stream(server: Any) -> None:
    async with server.dial():
        pass


def _says(text: bytes, *, wait: bool = True) -> Callable[[Any], Awaitable[None]]:
    async def says(server: Any) -> None:
        host, port = server.public.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(text)
        if wait:
            await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    return says


@pytest.mark.usefixtures("nothing_is_collected")
@pytest.mark.parametrize(
    "connect",
    [
        pytest.param(_refused, id="refused"),
        pytest.param(_silent, id="no start message"),
        pytest.param(_no_stream, id="no message"),
        pytest.param(_says(b"", wait=False), id="nothing"),
        pytest.param(_says(b"GET /stream HT", wait=False), id="half a request"),
        pytest.param(_says(b"GET /stream HT"), id="half a request, for too long"),
        pytest.param(_says(b"nonsense\r\n\r\n"), id="nonsense"),
        pytest.param(_says(b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n"), id="a request"),
        pytest.param(_says(b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n", wait=False), id="a request, not waited for"),
    ],
)
def test_a_connection_without_a_stream_leaves_nothing(running: Any, connect: Callable[[Any], Awaitable[None]]) -> None:
    async def run() -> None:
        async with running(server=SERVER, limits=LIMITS) as server:
            assert not await left_of(lambda: connect(server))

    asyncio.run(run())
