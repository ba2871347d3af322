"""The end of a connection that was answered: the peer gets the time to read the answer.

A socket that is closed while something unread waits in it resets the connection, and the reset overtakes the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

LINGER_S = 1.0
"""How long a peer may go on after our last word. A round trip is enough."""

LINGER_BYTES = 262_144
"""What it may say meanwhile, unread."""


class Lingering(asyncio.Protocol):
    """Takes a transport over after the last ``write``: says that nothing follows, and closes when the peer does.

    Over TLS the closing alert says so. ``connections`` are the server's, which waits for them; ``gone`` is called
    when the connection is.
    """

    def __init__(
        self, transport: asyncio.Transport, connections: set[Any], gone: Callable[[], None] = lambda: None
    ) -> None:
        self._transport = transport
        self._connections = connections
        self._gone = gone
        self._left = LINGER_BYTES
        self._timer = asyncio.get_running_loop().call_later(LINGER_S, transport.abort)
        connections.add(self)
        transport.set_protocol(self)
        if transport.can_write_eof():
            transport.write_eof()
        else:
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Read, and forget."""
        self._left -= len(data)
        if self._left < 0:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._timer.cancel()
        self._connections.discard(self)
        self._gone()

    def shutdown(self) -> None:
        """The server stops: it waits for this one, which is not long."""
