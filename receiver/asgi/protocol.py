"""uvicorn's WebSocket protocol, taught to say how a connection was lost.

ASGI reports a FIN and a broken connection alike (code 1005 without a reason); a recording should not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from receiver.events import EndReason

LOST = "receiver.connection_lost"
"""Key in the scope: how the connection was lost without a close frame of the peer: ``fin``, ``reset``, ``error``."""

_UNREADABLE = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 12\r\n\r\nBad Request\n"
_UNAUTHORIZED = (
    b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nConnection: close\r\nContent-Length: 13\r\n\r\n"
    b"Unauthorized\n"
)


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """The stock protocol, and in the scope under ``LOST`` what ended the connection."""

    scope: Any

    def data_received(self, data: bytes) -> None:
        """Answer a handshake that cannot be read (a header line above 8 KiB, say): the stock protocol never does."""
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            longest = max(data.split(b"\r\n"), key=len)  # a token too long to be read is a wrong one
            token = longest.lower().startswith(b"authorization:")
            self.transport.write(_UNAUTHORIZED if token else _UNREADABLE)
            self.transport.close()

    async def send(self, message: Any) -> None:
        """Take a refusal for an answer: the stock protocol logs an error for every one that is not a bare 403."""
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True

    def handle_parser_exception(self) -> None:
        """Note that it was us who closed: for a broken frame, a message too large, text that is not UTF-8."""
        if hasattr(self, "scope"):
            self.scope[LOST] = "error"
        super().handle_parser_exception()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the cause before the application is told that the connection is gone."""
        if hasattr(self, "scope"):
            self.scope.setdefault(LOST, "fin" if exc is None else "reset")
        super().connection_lost(exc)


def end_of(scope: Mapping[str, Any], disconnect: Mapping[str, Any]) -> EndReason:
    """How a connection ended, by its scope and its ``websocket.disconnect``.

    A close frame comes with a reason, be it empty; a lost connection has none. Servers that do not say more are
    taken to mean a FIN.
    """
    if disconnect.get("reason") is not None and scope.get(LOST) != "error":
        return EndReason.CLOSE
    return EndReason(scope.get(LOST, EndReason.FIN))
