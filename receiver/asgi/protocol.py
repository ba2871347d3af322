"""The WebSocket side of a connection: uvicorn's ``ws`` class, with ``websockets`` as the authority on the protocol.

    upgrade ─► scope, a task for the application ─accept─► open ─┬─ data_received ─► receive()
                                                                 └─ taken over    ─► Wire.read()
    open ─ close frame, FIN, reset, silence, something wrong ─► end: what came before is delivered, then the disconnect

Different from what uvicorn has: messages that came before a bad frame are delivered, fragments and pings are bounded, a
peer without a sign of life is noticed, a mistake of the application closes with 1011, and nothing is logged of what a
peer says.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import TYPE_CHECKING, Any, Protocol, cast

import uvicorn
from uvicorn.protocols.utils import ClientDisconnected, is_ssl
from uvicorn.server import ServerState
from websockets.http11 import Request, Response
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from receiver.asgi.edge import Edge
from receiver.asgi.frames import Data, FrameReader
from receiver.asgi.life import Act, Life, have_kernel_watch
from receiver.asgi.upgrade import refusal, scope_of
from receiver.asgi.wire import EXTENSION, End, Wire, lost_by
from receiver.events import EndReason
from receiver.logs import logger

if TYPE_CHECKING:
    from collections.abc import Mapping

LOST = "receiver.connection_lost"
"""Key in the scope: how the connection ended where it was not by a close frame of the peer."""

UNREAD_BYTES = 65_536
"""What may wait for ``receive()``; then the peer has to wait."""

MESSAGE_BYTES = 64
"""What a message costs beside what is in it, about."""

_log = logger("receiver.protocol")
_silent = logging.getLogger("receiver.websockets")  # what the parser would say of every frame and handshake
_silent.disabled = True


class Deadline(Protocol):
    """Something that happens unless it is cancelled in time."""

    def cancel(self) -> None:
        """It is not to happen any more."""


class WebSocketProtocol(asyncio.Protocol):
    """One connection, from its upgrade request on."""

    __slots__ = (
        "_accepted",
        "_app",
        "_app_state",
        "_connect_told",
        "_connection",
        "_denial",
        "_discarded",
        "_edge",
        "_gone",
        "_life",
        "_loop",
        "_reader",
        "_reading_paused",
        "_response",
        "_scope",
        "_state",
        "_timer",
        "_transport",
        "_unread_bytes",
        "_waiter",
        "_window_until",
        "_wire",
        "_writable",
        "deadline",
        "end",
        "lost",
        "unread",
    )

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        edge: Edge = Edge(),  # noqa: B008 - frozen
    ) -> None:
        self.deadline: Deadline | None = None
        """Closes the connection if the handshake is not over by then; whoever has made it sets it."""
        self.end: End | None = None
        """How the connection ended, once it has."""
        self.lost: End | None = None
        """How the transport was lost, while the kernel may still hold what came before."""
        self.unread: list[Data] = []
        """Messages that were read and not yet taken."""
        self._app = config.loaded_app
        self._state = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._edge = edge
        self._connection = ServerProtocol(state=OPEN, max_size=edge.message_bytes, logger=_silent)
        self._reader = FrameReader(self._connection, fragments=edge.fragments)
        self._life: Life
        self._transport: asyncio.Transport
        self._scope: dict[str, Any] | None = None
        self._response: Response | None = None
        self._denial: tuple[int, list[tuple[bytes, bytes]], bytes] | None = None
        self._connect_told = False
        self._accepted = False
        self._gone = False  # so is the transport
        self._unread_bytes = 0
        self._discarded = 0  # bytes that came after the end
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._reading_paused = False
        self._wire: Wire | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._window_until = 0.0

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the HTTP protocol, with a transport that is open."""
        self._transport = cast("asyncio.Transport", transport)
        self._state.connections.add(self)  # type: ignore[arg-type]  # it names uvicorn's own classes

    def data_received(self, data: bytes) -> None:
        """Called with what arrives while nobody has taken the connection over."""
        if self._accepted:
            if self.end is not None:
                self._discarded += len(data)
                if self._discarded > UNREAD_BYTES:  # to look for a close in all that would hold the loop
                    self._reader.over = True
            if not self._reader.over:
                held = self._reader.held
                data = held + data if held else data
                self._keep(self.received(data, len(data), self._loop.time()))
        elif self.end is not None:
            pass
        elif self._scope is not None:
            self._answer(self._connection.reject(400, "Frames before the handshake was over.\n"))
        else:
            self._read_request(data)

    def eof_received(self) -> None:
        """The peer sends no more; the transport closes, since nothing is answered here."""
        self._settle(End(EndReason.FIN))

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone; a duplicated descriptor is read to its end before the connection counts as lost."""
        self._state.connections.discard(self)
        for timer in (self.deadline, self._timer):
            if timer is not None:
                timer.cancel()
        self.deadline = self._timer = None
        self.resume_writing()
        self._gone = True
        if self.end is not None:
            self._forget()
        self._settle(lost_by(exc))

    def _forget(self) -> None:
        """Let go of what refers back to this: a connection that is over is gone without a garbage collection."""
        self._connection.parser.close()
        if self._connection.parser_exc is not None:
            self._connection.parser_exc.__traceback__ = None
        if self._scope is not None:
            self._scope["extensions"].pop(EXTENSION, None)

    def pause_writing(self) -> None:
        """The peer does not read what we send."""
        self._writable = self._writable or self._loop.create_future()

    def resume_writing(self) -> None:
        """It does again, or is gone."""
        waiting, self._writable = self._writable, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def shutdown(self) -> None:
        """The server stops: called for every connection."""
        if self.end is not None:
            return  # all is said; to close now, with something unread, would be a reset, which overtakes our last word
        if not self._accepted:
            self._answer(self._connection.reject(503, "Service Unavailable\n"))
        else:
            self._close(End(EndReason.DRAIN, 1012, "service restart"))

    # What whoever reads calls.

    def received(self, data: bytes | bytearray, size: int, now: float) -> list[Data]:
        """Read what arrived: what was held and ``size`` bytes in all. After our own close it is not for anybody."""
        self._life.heard_at = now
        if now >= self._window_until:
            self._window_until = now + 1
            self._reader.allow(max(1, round(self._edge.pings_per_s)))
        messages = self._reader.read(data, size)
        if messages:
            self._life.spoke(now)
        if self._connection.writes:
            self._send_out()
        if self.end is not None:
            return []
        if self._reader.over:
            self.conclude(self._verdict())
        return messages

    def take_unread(self) -> list[Data]:
        """What was read by the event loop and not taken yet."""
        messages, self.unread = self.unread, []
        self._unread_bytes = 0
        return messages

    def listen(self, on: bool) -> None:
        """Have the event loop read, or not, while the connection is taken over."""
        if self._transport.is_closing():
            return
        if on:
            self._transport.resume_reading()
        elif not self._reading_paused:
            self._transport.pause_reading()
        self._reading_paused = False

    def break_off(self, end: End) -> None:
        """The socket says that there is nothing more to come."""
        if end.reason is EndReason.FIN and self.lost is None and self._transport.is_closing():
            return  # the transport was told why, and will call in a moment
        self.conclude(end)
        self._transport.abort()

    def conclude(self, end: End) -> None:
        """The connection is over for the application. The rest of what arrives is for the event loop to discard."""
        if self.end is not None:
            return
        self.end = end
        if self._scope is not None and end.reason is not EndReason.CLOSE:
            self._scope[LOST] = end.reason.value
        self._give_back()
        self._wake()
        if self._gone:
            self._forget()

    # The handshake.

    def _read_request(self, data: bytes) -> None:
        """Where another HTTP protocol than ours hands the connection over, with the request as text."""
        parser = ServerProtocol(logger=_silent)
        parser.receive_data(data)
        request = cast("list[Request]", parser.events_received())
        if request:
            self.begin(request[0])
        else:  # what it answers to what it does not take for one
            self._last_words(b"".join(parser.data_to_send()))

    def begin(self, request: Request) -> None:
        """The request to upgrade: whoever has made the connection calls this after ``connection_made``."""
        self._response = self._connection.accept(request)
        if self._response.status_code != 101:
            self._answer(self._response)
            return
        self._scope = scope_of(request, self._transport, self._app_state)
        if self._can_be_taken():
            self._scope["extensions"][EXTENSION] = {"take": self._take_over}
        task = self._loop.create_task(self._run(self._scope))
        self._state.tasks.add(task)
        task.add_done_callback(self._state.tasks.discard)

    async def _run(self, scope: dict[str, Any]) -> None:
        farewell = End(EndReason.ERROR, 1011, "internal error")
        try:
            await self._app(scope, self.receive, self.send)
            farewell = End(EndReason.CLOSE, 1000)
        except ClientDisconnected:
            pass
        except Exception:
            _log.exception("application_failed")
        finally:
            if self._accepted:
                self._close(farewell)
            elif self.end is None:
                self._answer(self._connection.reject(500, "Internal Server Error\n"))

    def _accept(self, response: Response, message: Mapping[str, Any]) -> None:
        for name, value in message.get("headers", ()):
            response.headers[name.decode("latin-1")] = value.decode("latin-1")
        if message.get("subprotocol"):
            response.headers["Sec-WebSocket-Protocol"] = message["subprotocol"]
        self._transport.write(response.serialize())
        self._response = None
        self._accepted = True
        self._in_time()
        self._life = Life(self._edge, self._reader, self._loop.time())
        have_kernel_watch(self._transport.get_extra_info("socket"), self._edge.dead_after_s)
        self._look()

    def _answer(self, response: Response) -> None:
        """Answer with an HTTP status, and close."""
        self._last_words(response.serialize())

    def _last_words(self, data: bytes) -> None:
        """Say this, and nothing more: there is no connection."""
        self._in_time()
        self._response = None
        if not self._transport.is_closing():
            self._transport.write(data)
            self._say_no_more()
        self.conclude(End(EndReason.ERROR, 1006))

    def _in_time(self) -> None:
        """The handshake is over before its deadline."""
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None

    # ASGI.

    async def receive(self) -> dict[str, Any]:
        """``websocket.connect``, messages, ``websocket.disconnect``: with a reason if there was a close frame."""
        if not self._connect_told:
            self._connect_told = True
            return {"type": "websocket.connect"}
        while not self.unread:
            if self.end is not None:
                code, text = self.end.code, self.end.text
                told = {"type": "websocket.disconnect", "code": 1005 if code is None else code}
                return told if code is None else {**told, "reason": text}
            self._waiter = self._loop.create_future()
            await self._waiter
        data = self.unread.pop(0)
        self._unread_bytes -= MESSAGE_BYTES + len(data)
        if self._reading_paused and not self.unread:
            self._reading_paused = False
            self._transport.resume_reading()
        return {"type": "websocket.receive", "text" if isinstance(data, str) else "bytes": data}

    async def send(self, message: Any) -> None:
        """ASGI's ``send``. Raises ClientDisconnected, an OSError, once the connection is over."""
        kind = message["type"]
        if self._writable is not None and kind != "websocket.close":  # to close waits for no peer
            await self._writable
        if self._denial is not None and kind == "websocket.http.response.body":
            status, headers, body = self._denial
            self._denial = status, headers, body + message.get("body", b"")
            if not message.get("more_body", False):
                self._answer(refusal(*self._denial))
        elif self.end is not None or self._transport.is_closing():
            raise ClientDisconnected
        elif self._accepted and kind == "websocket.send":
            data = message.get("bytes")
            if data is None:
                self._connection.send_text(message["text"].encode())
            else:
                self._connection.send_binary(data)
            self._send_out()
        elif self._accepted and kind == "websocket.close":
            self._close(End(EndReason.CLOSE, message.get("code", 1000), message.get("reason") or ""))
        elif self._response is not None and kind == "websocket.accept":
            self._accept(self._response, message)
        elif not self._accepted and kind == "websocket.close":
            self._answer(self._connection.reject(403, "Forbidden\n"))
        elif not self._accepted and self._denial is None and kind == "websocket.http.response.start":
            self._denial = message["status"], list(message.get("headers", ())), b""
        else:
            raise RuntimeError(f"{kind} cannot be sent now")

    # Reading.

    def _can_be_taken(self) -> bool:
        return (
            sys.platform != "win32"
            and not is_ssl(self._transport)
            and self._transport.get_extra_info("socket") is not None
        )

    def _take_over(self) -> Wire | None:
        """Take reading away from the event loop; None: the connection is over already."""
        if not self._accepted or self._wire is not None:
            raise RuntimeError("a wire is taken once, from an accepted connection")
        if self.end is not None or self._transport.is_closing():
            return None
        self._transport.pause_reading()
        descriptor = os.dup(self._transport.get_extra_info("socket").fileno())
        self._wire = Wire(self, self._reader, self._edge.message_bytes, descriptor)
        return self._wire

    def _give_back(self) -> None:
        """From here on the event loop reads, to discard what still comes."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None
            self._reading_paused = True
        if self._reading_paused and not self._transport.is_closing():
            self._reading_paused = False
            self._transport.resume_reading()

    def _keep(self, messages: list[Data]) -> None:
        """Keep messages for ``receive()``, and the peer from sending more than that can bear."""
        if messages:
            self.unread.extend(messages)
            self._unread_bytes += MESSAGE_BYTES * len(messages) + sum(map(len, messages))
            if self._unread_bytes > UNREAD_BYTES and not self._reading_paused and self.end is None:
                self._reading_paused = True
                self._transport.pause_reading()
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # The end.

    def _verdict(self) -> End:
        """How the reader came to read no more."""
        connection = self._connection
        if connection.close_rcvd is not None and connection.parser_exc is None:
            return End(EndReason.CLOSE, connection.close_rcvd.code, connection.close_rcvd.reason)
        said = connection.close_sent
        return End(EndReason.ERROR) if said is None else End(EndReason.ERROR, said.code, said.reason)

    def _settle(self, lost: End) -> None:
        """The transport has come to its end: the application hears of it when it has read what came before."""
        self.lost = self.lost or lost
        if self._wire is None or self.end is not None:
            self.conclude(self.lost)

    def _close(self, end: End) -> None:
        """Close from our side; the peer has some time to answer."""
        if self.end is None and self._connection.state is OPEN and not self._transport.is_closing():
            self._connection.send_close(end.code, end.text)
            self._send_out()
            self._end_in_time()
        self.conclude(end)

    def _send_out(self) -> None:
        for data in self._connection.data_to_send():
            if self._transport.is_closing():
                return
            if data:
                self._transport.write(data)
            else:
                self._say_no_more()

    def _say_no_more(self) -> None:
        """What was said is received; what the peer still says is read, for a time, or a reset would overtake it."""
        if self._transport.can_write_eof():
            self._transport.write_eof()
            self._end_in_time()
        else:
            self._transport.close()

    def _end_in_time(self) -> None:
        """Whatever the peer does now, the connection is gone soon."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._edge.close_timeout_s, self._transport.abort)

    def _look(self) -> None:
        """See whether the peer is there, and ask."""
        if self.end is not None:
            return
        now = self._loop.time()
        if self._reading_paused:  # it is us who do not listen
            self._life.heard_at = now
        act, again = self._life.look(now)
        if act is Act.DIE:
            self._close(End(EndReason.DEAD, 1001, f"no sign of life for {self._edge.dead_after_s:g} s"))
            return
        if act is Act.PING:
            self._connection.send_ping(b"")
            self._reader.asked += 1
            self._send_out()
        if again is not None:
            self._timer = self._loop.call_at(again, self._look)


def end_of(scope: Mapping[str, Any], disconnect: Mapping[str, Any]) -> End:
    """How a connection ended, by its scope and its ``websocket.disconnect``.

    A close frame comes with a reason, be it empty; a lost connection has none. Servers that do not say more are
    taken to mean a FIN.
    """
    text = disconnect.get("reason")
    reason = EndReason(scope.get(LOST, EndReason.FIN if text is None else EndReason.CLOSE))
    return End(reason) if text is None else End(reason, disconnect.get("code"), text)
