"""The last word arrives. What a peer sees of it on the public listener is in tests/asgi/test_request.py."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
import uvloop

from receiver.asgi.lingering import LINGER_BYTES, Lingering


class LastWord(asyncio.Protocol):
    """Says something, and leaves the rest to Lingering."""

    def __init__(self, connections: set[Any], gone: asyncio.Event) -> None:
        self._connections = connections
        self._gone = gone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not derived from it

    def data_received(self, data: bytes) -> None:
        self._transport.write(b"bye")
        Lingering(self._transport, self._connections, self._gone.set).shutdown()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("behaves", ["hangs up", "says nothing", "talks on", "floods"])
def test_a_peer_reads_the_last_word_and_the_connection_ends_however_it_behaves(loop: str, behaves: str) -> None:
    async def main() -> None:
        connections: set[Any] = set()
        gone = asyncio.Event()
        running = asyncio.get_running_loop()
        server = await running.create_server(lambda: LastWord(connections, gone), "127.0.0.1", 0)
        async with asyncio.timeout(20):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hello")
            assert await reader.read() == b"bye"
            assert len(connections) == 1
            if behaves == "hangs up":
                writer.close()
            elif behaves == "talks on":
                writer.write(b"x" * 1000)
            elif behaves == "floods":
                writer.write(b"x" * 4 * LINGER_BYTES)
            await gone.wait()
            assert not connections
            writer.transport.abort()
        server.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else None) as runner:
        runner.run(main())
