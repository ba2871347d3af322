"""One connection: reads into the session, hands its events on, and ends every stream by the same path.

receive() ─► pending ─ sweep ─► session ─► OpenStream ─┬─► recording (journal, stream.json)
                                                       └─► listeners (sinks)
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from receiver.asgi.handshake import peer_address
from receiver.asgi.open_stream import OpenStream, RecordingNotMade
from receiver.asgi.protocol import end_of
from receiver.asgi.stream_id import new_stream_id
from receiver.events import EndReason, Event, Started
from receiver.logs import logger
from receiver.sessions.session import Session
from receiver.stream import StreamFacts

if TYPE_CHECKING:
    from receiver.asgi.receiver import Receiver

PENDING_BYTES = 262_144
"""A flood is not left to wait for its slice of the sweep."""

PROGRESS_S = 1.0
"""How often the journal is told how far the tracks are: after a crash, that is what is known."""

log = logger("receiver.connection")


class Connection:
    """An admitted connection: what the sweep sweeps and the registry counts."""

    def __init__(self, receiver: Receiver, source: str, websocket: WebSocket, token: str | None) -> None:
        self._receiver = receiver
        self._source = source
        self._websocket = websocket
        self._token = token
        self._loop = asyncio.get_running_loop()
        self._session = Session(at=self._loop.time(), settings=receiver.settings_of(source))
        self._pending: list[str | bytes] = []
        self._pending_bytes = 0
        self._pending_since = 0.0
        self._progress_at = 0.0
        self._log = log.bind(source=source)
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._opening: asyncio.Task[None] | None = None
        self._backlog: list[Event] = []  # what happened while the folder was being made
        self._stream: OpenStream | None = None
        self._broken = False  # by a mistake of ours

    async def run(self) -> None:
        """Serve the connection to its end. Files are final before the peer is told that it is over."""
        receiver = self._receiver
        receiver.registry.enter(self)
        receiver.sweep.add(self)
        reader = asyncio.create_task(self._read())
        try:
            waiting: set[asyncio.Future[Any]] = {reader, self._ended}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if not self._ended.done():
                self._lost(reader)
            await self._finish()
            if self._session.reason is EndReason.STOP and not self._broken:
                await asyncio.wait({reader}, timeout=receiver.config.limits.close_timeout_s)  # the peer closes
            if not reader.done():
                await self._close()
        finally:
            reader.cancel()
            receiver.sweep.remove(self)
            receiver.registry.leave(self)

    def sweep(self, now: float) -> None:
        """Hand on what arrived since the last sweep, and let time pass."""
        batch, self._pending, self._pending_bytes = self._pending, [], 0
        session, metrics = self._session, self._receiver.metrics
        try:
            if batch:
                self._take(session.receive(batch, now))
                metrics.delivered(now - self._pending_since)
                metrics.received(self._source, session.kinds)
                session.kinds.clear()
            self._take(session.tick(now))
            if self._stream is not None and now - self._progress_at >= PROGRESS_S:
                self._progress_at = now
                self._stream.progress(session.counters)
        except Exception:
            self._mistake(now)

    def end(self, reason: EndReason) -> None:
        """End the stream now: because the connection did, or because we stop."""
        now = self._loop.time()
        self.sweep(now)  # what arrived before counts
        self._take(self._session.close(reason, now))

    def _lost(self, reader: asyncio.Task[EndReason]) -> None:
        """The connection is gone, and the reader says how."""
        try:
            reason = reader.result()
        except Exception:
            now = self._loop.time()
            self.sweep(now)  # what arrived before counts here as well
            self._mistake(now)
        else:
            self.end(reason)

    async def _read(self) -> EndReason:
        """Read until the connection is gone; the answer is how it went."""
        websocket = self._websocket
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return end_of(websocket.scope, message)
            data = message.get("text")
            if data is None:
                data = message["bytes"]
            if not self._pending:
                self._pending_since = self._loop.time()
            self._pending.append(data)
            self._pending_bytes += len(data)
            if self._pending_bytes > PENDING_BYTES:
                self.sweep(self._loop.time())

    def _take(self, events: Sequence[Event]) -> None:
        if events and isinstance(events[0], Started):
            self._opening = asyncio.create_task(self._open(self._facts(events[0])))
        if self._opening is not None:
            self._backlog += events
        elif self._stream is not None and events:
            self._stream.publish(events)
        if self._session.reason is not None and not self._ended.done():
            self._ended.set_result(None)

    def _facts(self, started: Started) -> StreamFacts:
        return StreamFacts(
            id=new_stream_id(),
            source=self._source,
            dialect=started.dialect,
            stream_id=started.stream_id,
            call_id=started.call_id,
            account_id=started.account_id,
            tracks=started.tracks,
            format=started.format,
            parameters=started.parameters,
            path_parameters=dict(self._websocket.path_params),
            peer_address=peer_address(self._websocket),
            token=self._token,
            started=datetime.now(UTC),
        )

    async def _open(self, facts: StreamFacts) -> None:
        self._log = log.bind(stream=facts.id, source=self._source)
        if (live := self._receiver.registry.started(self, facts.stream_id)) > 1:
            self._log.warning("duplicate_stream_id", peer_stream=facts.stream_id, live=live)
        try:
            self._stream = stream = await OpenStream.open(self._receiver, facts)
            backlog, self._backlog = self._backlog, []
            stream.publish(backlog)
        except RecordingNotMade as error:
            self._log.error("recording_not_made", problem=str(error))
            self._give_up(self._loop.time())
        except Exception:
            self._mistake(self._loop.time())
        finally:
            self._opening = None

    async def _finish(self) -> None:
        if self._opening is not None:
            await self._opening
        if self._stream is not None and self._session.ended is not None:
            await self._stream.finish(self._session.ended)
        else:
            reason, error = self._session.reason, self._session.error
            self._log.info("connection_ended", reason=reason and reason.value, error=error and str(error))

    async def _close(self) -> None:
        error = self._session.error
        if self._broken:
            code, reason = 1011, "internal error"
        elif error is not None:
            code, reason = error.code, error.reason
        elif self._session.reason is EndReason.DRAIN:
            code, reason = 1012, "service restart"
        else:
            code, reason = 1000, str(self._session.reason or "")
        if self._websocket.application_state is WebSocketState.CONNECTED:
            with suppress(RuntimeError, WebSocketDisconnect):  # the peer was quicker
                await self._websocket.close(code, reason)

    def _mistake(self, now: float) -> None:
        """An exception of our own: this stream ends, its files are finished, nobody else notices."""
        self._log.exception("internal_error")
        self._give_up(now)

    def _give_up(self, now: float) -> None:
        self._broken = True
        with suppress(Exception):
            self._take(self._session.close(EndReason.ERROR, now))
        if not self._ended.done():
            self._ended.set_result(None)
