"""uvicorn's HTTP protocol, for a port that anybody can reach: one request for each connection, in time, in bounds.

TCP ─► Opening (deadline, room) ─► RequestHead (400 … 505) ─┬─► WebSocket protocol, which ends the opening
                                                            └─► application ─► answer ─► Lingering
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.h11_impl import H11Protocol
from websockets.datastructures import Headers
from websockets.http11 import Request

from receiver.asgi.edge import Edge
from receiver.asgi.lingering import Lingering
from receiver.asgi.opening import Opening, Openings
from receiver.asgi.protocol import WebSocketProtocol
from receiver.asgi.request_head import RequestHead
from receiver.errors import AccessDenied

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState


class HttpProtocol(H11Protocol):
    """Until the upgrade, whose request our own ``ws`` class is handed as it was read.

    ``openings`` are those of the listener; ``refused`` hears our word for every refusal.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        edge: Edge = Edge(),  # noqa: B008 - frozen
        openings: Openings | None = None,
        refused: Callable[[str], None] = lambda reason: None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._accepted = self.loop.time()  # made when a connection is accepted, before any TLS
        self._openings = Openings(edge.handshakes, edge.open_timeout_s) if openings is None else openings
        self._refused = refused
        self._head: RequestHead | None = RequestHead(header_bytes=edge.header_bytes, headers=edge.headers)
        self._opening: Opening  # from connection_made on, until nothing is called here any more

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Its time runs."""
        super().connection_made(transport)
        self._opening = self._openings.begin(self._accepted, self._over)

    def data_received(self, data: bytes) -> None:
        """The head is read by us first, and by h11 when nothing is wrong with it."""
        head = self._head
        if head is None:
            super().data_received(data)
            return
        try:
            if head.feed(data):
                self._head = None
                if head.upgrade and self.ws_protocol_class is not None:
                    self._upgrade(Request(head.target, Headers(head.fields)))
                else:
                    super().data_received(head.text())
        except AccessDenied as denied:
            self._refuse(denied)

    def handle_events(self) -> None:
        """An answer ends the connection, and says so."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not None and self.cycle is not before:  # its task has not run yet
            self.cycle.default_headers = [*self.cycle.default_headers, CLOSE_HEADER]
            self.cycle.transport = cast(asyncio.Transport, _Answering(self.transport, self._hang_up))

    def _upgrade(self, request: Request) -> None:
        """The opening goes over to the WebSocket protocol as its ``deadline``: to cancel once it has answered."""
        opening, transport = self._opening, self.transport
        make = cast(Callable[..., WebSocketProtocol], self.ws_protocol_class)
        protocol = make(config=self.config, server_state=self.server_state, app_state=self.app_state, _loop=self.loop)
        protocol.deadline = opening
        opening.over = lambda in_time: transport.abort()
        self.connections.discard(self)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.begin(request)

    def send_400_response(self, msg: str) -> None:
        """For what h11 finds: in our words, and to nobody who is being answered already."""
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self._hang_up()
                return
        self._refuse(AccessDenied(400, "request_unreadable"))

    def on_response_complete(self) -> None:
        """There is no second request to wait for."""
        self.server_state.total_requests += 1

    def connection_lost(self, exc: Exception | None) -> None:
        """Make room."""
        super().connection_lost(exc)
        self._opening.cancel()
        self._forget()

    def _should_upgrade(self) -> bool:
        """What h11 is given is no upgrade; and what else somebody wants to upgrade to is not logged."""
        return False

    def _over(self, in_time: bool) -> None:
        if in_time and self._head is not None and self._head.begun:
            self._refuse(AccessDenied(408, "request_timeout"))
        else:
            self._refused("open_timeout" if in_time else "handshakes")
            self.transport.abort()

    def _refuse(self, denied: AccessDenied) -> None:
        self._refused(denied.reason)
        status = HTTPStatus(denied.status)
        body = f"{status.phrase}\n".encode()
        fields = {
            **{
                name.decode("latin-1").title(): value.decode("latin-1")
                for name, value in self.server_state.default_headers
            },
            **denied.headers,
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Length": str(len(body)),
            "Connection": "close",
        }
        head = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in fields.items())]
        self.transport.write("\r\n".join([*head, "", ""]).encode("latin-1") + body)
        self._hang_up()

    def _hang_up(self) -> None:
        """Nothing more is read or said; the opening lasts until the connection is gone."""
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        self.connections.discard(self)
        opening, transport = self._opening, self.transport
        opening.over = lambda in_time: transport.abort()
        Lingering(transport, self.connections, opening.cancel)
        self._forget()

    def _forget(self) -> None:
        """Let go of what refers back to this, which is called no more."""
        del self._opening
        self.cycle = None  # type: ignore[assignment]  # as it is at first


class _Answering:
    """The transport as an answer sees it: to close it is to hang up."""

    def __init__(self, transport: asyncio.Transport, hang_up: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = hang_up
