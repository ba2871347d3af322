"""The wire: an open connection whose socket is read when somebody asks, and not whenever something has arrived.

Waking up is what costs. A network card under load stops interrupting for each packet and is polled instead; so here:
reading is taken away from the event loop, and whoever asked for it reads all connections in turn, once in a while. One
that stays quiet goes back to the loop until something arrives, as asking in vain costs, too.
"""

from __future__ import annotations

import errno
import socket
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from receiver.asgi.frames import HEADER_BYTES, Data, FrameReader
from receiver.events import EndReason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from receiver.asgi.protocol import WebSocketProtocol

EXTENSION = "receiver.wire"
"""The ASGI extension: ``scope["extensions"]["receiver.wire"]["take"]()`` answers with a Wire, once it is accepted.

It is not there under TLS in the process, on Windows, or on another server; then there is ``receive()``.
"""

READ_BYTES = 65_536
"""How much of one connection is read at a time. A usual call sends a twentieth of that in 100 ms."""

QUIET_READS = 50
"""After so many reads in vain, the event loop is to say when something arrives."""

_shared = threading.local()


class End(NamedTuple):
    """How a connection ended. Code and text are those of the close frame that ended it, the peer's or ours."""

    reason: EndReason
    code: int | None = None
    text: str = ""


class Wire:
    """One connection. For the thread of its event loop."""

    __slots__ = ("_buffer", "_in_vain", "_listening", "_protocol", "_reader", "_socket", "hungry")

    def __init__(self, protocol: WebSocketProtocol, reader: FrameReader, message_bytes: int, descriptor: int) -> None:
        """``descriptor`` is a duplicate of the connection's, and is ours: a transport may close its own at any time."""
        self.hungry = False
        """Whether the last ``read`` left something behind: it is time for the next one."""
        self._in_vain = 0
        self._listening = False  # the event loop reads, for now
        self._protocol = protocol
        self._reader = reader
        self._buffer = _buffer(message_bytes)
        self._socket: socket.socket | None = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)

    @property
    def end(self) -> End | None:
        """How the connection ended, once all that arrived before has been read."""
        return None if self._protocol.unread else self._protocol.end

    def read(self, now: float) -> list[Data]:
        """All messages that have arrived, up to a bound; ``now`` is the loop's clock. Never waits, never raises."""
        if self._listening or self._protocol.unread:
            return self._heard(now)
        if self._socket is None:
            return []
        buffer, held = self._buffer, self._reader.held
        try:
            if held:
                begin = len(held)
                buffer[:begin] = held
                with memoryview(buffer) as view:
                    count = self._socket.recv_into(view[begin:], READ_BYTES)
            else:
                begin = 0
                count = self._socket.recv_into(buffer, READ_BYTES)
        except BlockingIOError:
            return self._nothing()
        except OSError as problem:
            self._protocol.break_off(lost_by(problem))
            return []
        if count == 0:
            # The error of a reset is told once, and the transport may have been the one to be told.
            self._protocol.break_off(self._protocol.lost or End(EndReason.FIN))
            return []
        self.hungry = count == READ_BYTES
        self._in_vain = 0
        return self._protocol.received(buffer, begin + count, now)

    @property
    def quiet(self) -> bool:
        """Whether nothing has arrived for a while, and the event loop is to say when something does."""
        return self._listening

    def rouse(self) -> None:
        """Read the socket with the next ``read``, also if the event loop was to do that."""
        if self._listening:
            self._listening = False
            self._in_vain = 0
            self._protocol.listen(False)

    def _nothing(self) -> list[Data]:
        self.hungry = False
        self._in_vain += 1
        if self._protocol.lost is not None:
            self._protocol.conclude(self._protocol.lost)
        elif self._in_vain >= QUIET_READS:
            self._listening = True
            self._protocol.listen(True)
        return []

    def _heard(self, now: float) -> list[Data]:
        """What the event loop has read; if there is anything, it is for us to read again."""
        messages = self._protocol.take_unread()
        if messages or self._protocol.lost is not None:
            self.rouse()
        return messages if self._listening else messages + self.read(now)  # more may have come since

    def close(self) -> None:
        """Give the descriptor back. What has arrived and was not read is left to the event loop."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._listening = self.hungry = False  # the loop's reading is not ours to stop any more


def lost_by(problem: Exception | None) -> End:
    """What it means that a connection was lost by this; None is the peer's FIN."""
    if problem is None:
        return End(EndReason.FIN)
    return End(EndReason.DEAD if getattr(problem, "errno", None) == errno.ETIMEDOUT else EndReason.RESET)


def wire_of(scope: Mapping[str, Any]) -> Wire | None:
    """Take over the wire of an accepted connection, where its server offers it."""
    offered = scope.get("extensions", {}).get(EXTENSION)
    wire: Wire | None = offered["take"]() if offered else None
    return wire


def _buffer(message_bytes: int) -> bytearray:
    """The one buffer of this thread, which a read has for itself: it waits for nothing and hands out copies."""
    size = HEADER_BYTES + message_bytes + READ_BYTES
    buffer: bytearray | None = getattr(_shared, "buffer", None)
    if buffer is None or len(buffer) < size:
        buffer = _shared.buffer = bytearray(size)
    return buffer
