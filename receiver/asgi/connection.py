"""One connection: reads into the session, hands its events on, and ends every stream by the same path.

wire, or receive() ─ sweep ─► session ─┬─► capture (what may be kept of the messages)
                                       └─► OpenStream ─┬─► recording (journal, stream.json)
                                                       └─► listeners (sinks)

Where the server offers the wire, the sweep reads the socket itself; elsewhere a task awaits ``receive()``, and the
sweep takes what has come together.

The session's time is ours since the connection was accepted, in whole microseconds, as the capture has it: played from
there, the stream is the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect
from structlog.stdlib import BoundLogger

from receiver.asgi.handshake import peer_address
from receiver.asgi.protocol import end_of
from receiver.asgi.stream_id import new_stream_id
from receiver.asgi.wire import End as ConnectionEnd
from receiver.asgi.wire import wire_of
from receiver.auth.path_token import PARAMETER
from receiver.captures.capture import VERSION, End, Header, Pause, storable_headers
from receiver.captures.reader import MESSAGE_BYTES
from receiver.captures.writer import CaptureWriter
from receiver.errors import ProtocolError
from receiver.events import EndReason, Event, Started
from receiver.logs import logger
from receiver.media.reorder import HOLD_S
from receiver.open_stream import OpenStream
from receiver.opener import RecordingNotMade
from receiver.sessions.session import Session
from receiver.stream import StreamFacts

if TYPE_CHECKING:
    from receiver.asgi.receiver import Receiver

PENDING_BYTES = 262_144
"""A flood is not left to wait for its turn of the sweep. Less than a capture's reader takes for read together."""

CATCH_UP_SWEEPS = 100
"""No kernel holds more of a connection than this reads; who sends faster than we read is not waited for."""

PROMPT_S = 1.0
"""So long the start of a stream is looked for several times in a period: to make its folder takes time as well."""

PROGRESS_S = 1.0
"""How often the journal is told how far the tracks are (after a crash, that is what is known), and the metrics."""

PEERS_WORD = frozenset({EndReason.CLOSE, EndReason.FIN, EndReason.RESET, EndReason.DEAD})
"""Ends that are not ours to explain: a close frame, or nothing at all."""

log = logger("receiver.connection")


class Connection:
    """An admitted connection: what the sweep sweeps and the registry counts."""

    def __init__(self, receiver: Receiver, source: str, websocket: WebSocket, token: str | None) -> None:
        self._receiver = receiver
        self._source = source
        self._websocket = websocket
        self._token = token
        self._loop = asyncio.get_running_loop()
        self._wire = wire_of(websocket.scope)
        self._accepted_at = self._loop.time()
        self._accepted = datetime.now(UTC)
        self._session = Session(at=0.0, settings=receiver.settings_of(source))
        self._capture: CaptureWriter | None = None
        if receiver.may_capture(source):
            self._capture = CaptureWriter()
            self._session.kept = []
        self._paused = False
        self._muted: frozenset[str] = frozenset()
        self._close_frame: tuple[int | None, str] = (None, "")  # the peer's
        self._ended_at = 0.0
        self._pending: list[str | bytes] = []
        self._pending_bytes = 0
        self._progress_at = 0.0
        self._batch_at = 0.0
        self._id: str | None = None  # our own of the stream, once it has started
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._hung_up: asyncio.Future[None] = self._loop.create_future()
        self._opening: asyncio.Task[None] | None = None
        self._backlog: list[Event] = []  # what happened while the folder was being made
        self._stream: OpenStream | None = None
        self._broken = False  # by a mistake of ours

    @property
    def _log(self) -> BoundLogger:
        """Made when there is something to say, which is seldom."""
        return log.bind(source=self._source) if self._id is None else log.bind(stream=self._id, source=self._source)

    async def run(self) -> None:
        """Serve the connection to its end. Files are final before the peer is told that it is over."""
        receiver = self._receiver
        receiver.registry.enter(self)
        receiver.sweep.add(self)
        receiver.sweep.soon(self)
        reader = None if self._wire is not None else asyncio.create_task(self._read())
        try:
            await self._ended
            await self._finish()
            if self._session.reason is EndReason.STOP and not self._broken:
                await asyncio.wait({self._hung_up}, timeout=receiver.config.limits.close_timeout_s)  # the peer closes
            if not self._hung_up.done():
                await self._close()
        finally:
            if reader is not None:
                reader.cancel()
            receiver.sweep.remove(self)
            receiver.registry.leave(self)

    def sweep(self, now: float) -> bool:
        """Hand on what arrived since the last sweep, and let time pass; whether to come again soon."""
        return self._hear(now) or (self._stream is None and self._may_start(now))

    def _hear(self, now: float) -> bool:
        """Read, hand on; whether there is more to be read already."""
        wire = self._wire
        try:
            if wire is None:
                batch, self._pending, self._pending_bytes = self._pending, [], 0
            else:
                batch = wire.read(now)
            if batch:
                at = round(now - self._accepted_at, 6)
                if at <= self._batch_at:  # each batch has a time of its own: see CaptureReader.read
                    at = round(self._batch_at + 1e-6, 6)
                self._batch_at = at
                self._take(self._receive(batch, at), at)
            if (not batch and not self._is_settled(now)) or now - self._progress_at >= PROGRESS_S:
                self._pass_time(now)
            if wire is not None and wire.end is not None and not self._hung_up.done():
                self._hang_up(wire.end)
        except Exception:
            self._mistake(now)
        return wire is not None and wire.hungry

    def _may_start(self, now: float) -> bool:
        """Whether the stream is likely to start in this moment."""
        return self._opening is None and self._session.reason is None and now - self._accepted_at < PROMPT_S

    def _is_settled(self, now: float) -> bool:
        """Whether a stream is quiet and nothing waits any more: that time passes need be said once in a while only."""
        quiet = self._wire is not None and self._wire.quiet and self._stream is not None
        return quiet and now - self._accepted_at - self._batch_at > 2 * HOLD_S

    def _pass_time(self, now: float) -> None:
        session, at = self._session, self._since_accepted(now)
        self._take(session.tick(at), at)
        if now - self._progress_at >= PROGRESS_S:
            self._progress_at = now
            self._receiver.metrics.received(self._source, session.kinds)
            session.kinds.clear()
            if self._stream is not None:
                self._stream.progress(session.counters)

    def end(self, reason: EndReason) -> None:
        """End the stream now: because the connection did, or because we stop."""
        now = self._loop.time()
        self._catch_up(now)  # what arrived before counts
        at = self._since_accepted(now)
        self._take(self._session.close(reason, at), at)

    def withhold(self, *, paused: bool | None = None, mute: str | None = None, unmute: str | None = None) -> None:
        """Pause or resume the stream, or one track of it: what arrives from here on is not heard, or is again."""
        now = self._loop.time()
        self._catch_up(now)  # what arrived before is not touched
        self._paused = self._paused if paused is None else paused
        self._muted = frozenset(track for track in (self._muted | {mute}) - {unmute} if track is not None)
        at = self._since_accepted(now)
        withheld = Pause(at, None if self._paused else tuple(sorted(self._muted)))
        events = self._session.withhold(withheld.tracks, at)
        if self._capture is not None and self._session.reason is None:
            self._capture.pause(withheld)
        self._take(events, at)
        self._log.info("stream_withheld", paused=self._paused, muted=sorted(self._muted), positions=self.positions)

    @property
    def facts(self) -> StreamFacts | None:
        """What is known of the stream, from when its folder is there until it has ended."""
        return None if self._stream is None or self._session.reason is not None else self._stream.facts

    @property
    def directory(self) -> Path | None:
        """The folder of the stream, once it is there."""
        return None if self._stream is None else self._stream.directory

    @property
    def withheld(self) -> tuple[bool, list[str]]:
        """Whether the stream is paused, and which tracks are muted."""
        return self._paused, sorted(self._muted)

    @property
    def positions(self) -> dict[str, tuple[int, int]]:
        """Where each track is: samples, and their rate."""
        return self._session.positions

    def _catch_up(self, now: float) -> None:
        """Read all that has arrived."""
        if self._wire is not None:
            self._wire.rouse()
        sweeps = 1
        while self._hear(now) and sweeps < CATCH_UP_SWEEPS:
            sweeps += 1

    def _receive(self, batch: list[str | bytes], at: float) -> Sequence[Event]:
        """Have the session read a batch, and the capture keep what it may of it, also if the reading breaks."""
        session = self._session
        if self._capture is None:
            return session.receive(batch, at)
        try:
            return session.receive(batch, at)
        finally:
            if session.kept:
                self._capture.take(at, session.kept)
                session.kept.clear()

    def _since_accepted(self, now: float) -> float:
        return max(round(now - self._accepted_at, 6), self._batch_at)

    async def _read(self) -> None:
        """Read until the connection is gone, where there is no wire."""
        websocket = self._websocket
        try:
            while True:
                message = await websocket.receive()
                if message["type"] == "websocket.disconnect":
                    self._hang_up(end_of(websocket.scope, message))
                    return
                data = message.get("text")
                if data is None:
                    data = message["bytes"]
                self._pending.append(data)
                self._pending_bytes += MESSAGE_BYTES + len(data)
                if self._pending_bytes > PENDING_BYTES:
                    self._hear(self._loop.time())
        except Exception:
            now = self._loop.time()
            self._hear(now)  # what arrived before counts here as well
            if not self._hung_up.done():
                self._hung_up.set_result(None)
            self._mistake(now)

    def _hang_up(self, how: ConnectionEnd) -> None:
        """The connection is gone, whoever was the first to close it."""
        self._hung_up.set_result(None)
        if self._session.reason is not None:
            return
        if how.reason is EndReason.CLOSE:
            self._close_frame = how.code, how.text
        elif how.reason is EndReason.ERROR and how.code is not None:
            self._session.error = ProtocolError(how.code, how.text)
        self.end(how.reason)

    def _take(self, events: Sequence[Event], at: float) -> None:
        if self._stream is not None and self._session.reason is None:  # nearly always
            if events:
                self._stream.publish(events)
            return
        if events and isinstance(events[0], Started):
            self._opening = asyncio.create_task(self._open(self._facts(events[0], at)))
        if self._session.reason is not None and not self._ended.done():
            self._ended_at = at
            if self._capture is not None:
                self._capture.end(End(at, self._session.reason, *self._last_word(self._session.reason)))
        if self._opening is not None:
            self._backlog += events
        elif self._stream is not None and events:
            self._stream.publish(events)
        if self._session.reason is not None and not self._ended.done():
            self._ended.set_result(None)

    def _facts(self, started: Started, at: float) -> StreamFacts:
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
            path_parameters={name: part for name, part in self._websocket.path_params.items() if name != PARAMETER},
            peer_address=peer_address(self._websocket),
            token=self._token,
            started=self._accepted + timedelta(seconds=at),
        )

    async def _open(self, facts: StreamFacts) -> None:
        self._id = facts.id
        if (live := self._receiver.registry.started(self, facts.stream_id)) > 1:
            self._log.warning("duplicate_stream_id", peer_stream=facts.stream_id, live=live)
        try:
            settings = self._session.settings
            self._stream = stream = await self._receiver.opener.open(
                facts, settings, self._header(facts), self._capture
            )
            if stream.capture is None:
                self._capture = self._session.kept = None
            backlog, self._backlog = self._backlog, []
            stream.publish(backlog)
        except RecordingNotMade as error:
            self._log.error("recording_not_made", problem=str(error))
            self._give_up(self._loop.time())
        except Exception:
            self._mistake(self._loop.time())
        finally:
            self._opening = None

    def _header(self, facts: StreamFacts) -> Header:
        """The first line of a capture."""
        return Header(
            version=VERSION,
            source=facts.source,
            path=self._receiver.config.sources[facts.source].path,
            headers=storable_headers(self._websocket.scope["headers"], self._websocket.path_params.get(PARAMETER, "")),
            resolution_ms=self._receiver.config.server.latency_ms,
            accepted=self._accepted,
            stream=facts.id,
            path_parameters=dict(facts.path_parameters),
            peer_address=facts.peer_address,
            token=facts.token,
            settings=msgspec.to_builtins(self._session.settings),
        )

    async def _finish(self) -> None:
        if self._opening is not None:
            await self._opening
        self._receiver.metrics.received(self._source, self._session.kinds)
        self._session.kinds.clear()
        if self._stream is not None and self._session.ended is not None:
            await self._stream.finish(self._session.ended, self._accepted + timedelta(seconds=self._ended_at))
        else:
            reason, error = self._session.reason, self._session.error
            self._log.info("connection_ended", reason=reason and reason.value, error=error and str(error))

    async def _close(self) -> None:
        with suppress(RuntimeError, WebSocketDisconnect):  # the peer was quicker
            await self._websocket.close(*self._farewell())

    def _farewell(self) -> tuple[int, str]:
        """What we say when it is us who close."""
        error = self._session.error
        if self._broken:
            return 1011, "internal error"
        if error is not None:
            return error.code, error.reason
        if self._session.reason is EndReason.DRAIN:
            return 1012, "service restart"
        return 1000, str(self._session.reason or "")

    def _last_word(self, reason: EndReason) -> tuple[int | None, str]:
        """What a capture's end has: the peer's close frame or ours. Of a broken WebSocket we have no verdict."""
        no_verdict = reason is EndReason.ERROR and self._session.error is None and not self._broken
        return self._close_frame if reason in PEERS_WORD or no_verdict else self._farewell()

    def _mistake(self, now: float) -> None:
        """An exception of our own: this stream ends, its files are finished, nobody else notices."""
        self._log.exception("internal_error")
        self._give_up(now)

    def _give_up(self, now: float) -> None:
        self._broken = True
        at = self._since_accepted(now)
        with suppress(Exception):
            self._take(self._session.close(EndReason.ERROR, at), at)
        if not self._ended.done():
            self._ended.set_result(None)
