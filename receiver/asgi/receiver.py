"""The composition root: everything is made here, and handed to whoever needs it.

A ``Receiver`` is an ASGI application. Served by our own server or mounted into somebody's application, it works inside
of ``async with receiver:``, since a mounted application's lifespan is never run by Starlette.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from types import TracebackType
from typing import Any, Self

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Match, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from receiver import files
from receiver.asgi.connection import Connection
from receiver.asgi.descriptors import streams_for_descriptors
from receiver.asgi.handshake import FAILURES, Handshake, deny
from receiver.asgi.health import health_routes
from receiver.asgi.sweep import Sweep
from receiver.asgi.unfinished import Unfinished
from receiver.asgi.watch import Watch
from receiver.auth import open_authenticator
from receiver.auth.attempts import Attempts
from receiver.auth.proxies import Proxies
from receiver.config import Config
from receiver.errors import AccessDenied, ConfigError
from receiver.events import EndReason
from receiver.logs import logger
from receiver.metrics import Metrics
from receiver.open_stream import OpenStream
from receiver.opener import Opener
from receiver.reading import session_settings
from receiver.recordings import recover, recover_folder
from receiver.recordings.erasing import Erased, Eraser
from receiver.recordings.retention import Retention
from receiver.records import Refused, StreamErased
from receiver.sessions.registry import Registry
from receiver.sessions.settings import SessionSettings
from receiver.sinks.hub import Hub
from receiver.syncing import Syncing
from receiver.tokens import credentials

log = logger("receiver")


class Receiver:
    """Receives streams as configured. Raises ConfigError where the configuration cannot work."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config = config or Config()
        self.metrics = Metrics(sources=config.sources, sinks=config.sinks)
        self.hub = Hub(config.sinks, base=config.base, feeds_bytes=config.limits.feeds_bytes)
        self.registry = Registry(config.limits.streams, room=self._room)
        self.sweep = Sweep(config.server.latency_ms, self._after_slice)
        self.recordings_directory = directory = config.base / config.recordings.directory
        self.opener = Opener(
            hub=self.hub,
            metrics=self.metrics,
            root=directory,
            template=config.recordings.path,
            captures=config.captures,
            mask_digits=config.privacy.digits == "mask",
            keep=self._keep,
            closing=lambda: self._closing,
            unfinished=lambda directory: self._unfinished.add(directory),
        )
        self._unfinished = Unfinished(lambda directory: recover_folder(directory, dict(self.hub.recoverers())))
        self._proxies = Proxies(config.server.trusted_proxies)
        self._attempts = Attempts(config.limits.auth_failures_per_minute)
        self._watch = Watch(directory, config.limits.free_bytes, self.hub, self.metrics)
        self._syncing = Syncing(directory, config.recordings.sync_ms / 1000)
        self.eraser = Eraser(directory, self._erased)
        self._retention = Retention(
            self.eraser,
            config.recordings.path,
            keep_days=config.recordings.keep_days,
            keep_free_bytes=config.recordings.keep_free_bytes,
        )
        self._entered = self._closing = False
        self.stopping = False
        """Not ready any more, though streams may still come: balancers are to notice first."""
        self._serving: set[asyncio.Task[Any]] = set()  # a task per admitted connection
        self._late: dict[asyncio.Task[None], OpenStream] = {}
        self._hurried = False
        self._settings = {name: session_settings(config, name) for name in config.sources}
        self._streams = self._stream_routes()
        upgrade = [Route(source.path, _upgrade_required) for source in config.sources.values()]
        self._app = Starlette(routes=[*upgrade, *health_routes(self)])
        self._app.router.redirect_slashes = False  # another path is an unknown path

    async def __aenter__(self) -> Self:
        """Open the plugins, finish what a crash left, begin to sweep. Once in the life of a Receiver."""
        if self._entered:
            raise RuntimeError("a Receiver is entered once: make another one")
        self._entered = True
        self._count_descriptors()
        files.configure(limit_bytes=self.config.limits.writer_bytes)
        try:
            await asyncio.to_thread(self.recordings_directory.mkdir, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError("recordings.directory", f"cannot be made: {error}") from None
        self.metrics.watch_streams_limit(lambda: self.registry.limit)
        self.metrics.watch_draining(lambda: self.registry.draining)
        await self.hub.__aenter__()
        try:
            recovered = await asyncio.to_thread(
                recover, self.recordings_directory, dict(self.hub.recoverers()), lambda: self.stopping
            )
        except BaseException:
            await self.hub.__aexit__(None, None, None)
            raise
        if recovered:
            log.info("recovered", streams=len(recovered), directory=str(self.recordings_directory))
        self.metrics.watch_plugins(self.hub.series())
        self.sweep.start()
        self._watch.start()
        self._syncing.start()
        self._unfinished.start()
        self._retention.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End what is live, let late sinks finish (each within its own limit), close the plugins."""
        self.registry.draining = True
        await self.end_all(EndReason.DRAIN)
        if self._late:
            await asyncio.wait(self._late)
        self._watch.stop()
        await self._unfinished.stop()
        await asyncio.to_thread(self._retention.stop)
        self.sweep.stop()
        await self.hub.__aexit__(kind, error, traceback)
        await asyncio.to_thread(files.shutdown)
        await asyncio.to_thread(self._syncing.stop)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the sources' paths, /livez and /readyz. Raises RuntimeError before ``async with receiver:``."""
        if not self._entered:
            raise RuntimeError("nothing is received outside of `async with receiver:`; a mounted one needs it too")
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        endpoint = self._endpoint_of(scope)
        if endpoint is None:
            await deny(WebSocket(scope, receive, send), AccessDenied(404, "path"))
        else:
            await endpoint(WebSocket(scope, receive, send))

    def settings_of(self, source: str) -> SessionSettings:
        """How streams of a source are read."""
        return self._settings[source]

    def may_capture(self, source: str) -> bool:
        """Whether what a connection sends has to be kept until its start message decides about that."""
        captures = self.config.captures
        asked = captures.enabled and (captures.sources is None or source in captures.sources)
        return asked or self.hub.may_need_history(source)

    def live_streams(self) -> list[Connection]:
        """The connections whose streams have started and not ended."""
        return [live for live in self.registry.live if isinstance(live, Connection) and live.facts is not None]

    def not_ready(self) -> str | None:
        """Why new streams should not be sent here, in a word, or None."""
        if self.stopping or self.registry.draining:
            return "stopping"
        if not self.hub.healthy():
            return "sinks"
        if self._watch.disk_failing:
            return "disk"
        rooms = [self._room(source) for source in self.config.sources]
        return rooms[0] if all(rooms) else None

    async def end_all(self, reason: EndReason) -> None:
        """End every live stream and wait until its files are final. What a disk does not take is not tried again."""
        self._closing = True
        self.registry.end_all(reason)
        if self._serving:
            await asyncio.wait(self._serving)

    def _keep(self, stream: OpenStream, late: Coroutine[Any, Any, None]) -> None:
        """Let the late sinks of a stream go on when its connection is over; the end of the process waits for them."""
        task = asyncio.create_task(late)
        self._late[task] = stream
        task.add_done_callback(self._late.pop)
        if self._hurried:
            stream.abandon()

    def hurry(self) -> None:
        """From now on wait for no sink that is late, nor for a disk."""
        self._hurried = self._closing = True
        for stream in self._late.values():
            stream.abandon()

    def refused(self, source: str, denied: AccessDenied, peer: str, tell: bool = True) -> None:
        """Count a refusal, and tell of it, unless there are so many that they are only counted."""
        self.metrics.refused(source, denied.reason)
        if denied.reason == FAILURES:
            if tell:
                log.warning("too_many_failures", source=source, peer=peer, retry_after_s=denied.headers["Retry-After"])
            return
        self.hub.records(Refused(source, denied.reason, denied.status, peer))
        log.warning("handshake_refused", source=source, reason=denied.reason, status=denied.status, peer=peer)

    def _erased(self, erased: Erased) -> None:
        """A stream's folder is gone; on any thread."""
        self.metrics.stream_erased(erased.reason)
        self.hub.records(StreamErased(erased.id, erased.source, erased.call_id, erased.directory, erased.reason))

    def _count_descriptors(self) -> None:
        """Here, because the process may have raised its limit since this was made."""
        room, asked = streams_for_descriptors(), self.registry.limit
        if room < asked:
            self.registry.limit = room
            log.warning("streams_limited_by_descriptors", streams=room, asked=asked, raise_with="ulimit -n")

    def _stream_routes(self) -> list[WebSocketRoute]:
        routes: list[WebSocketRoute] = []
        for name, source in self.config.sources.items():
            authenticator = open_authenticator(source.auth.use, credentials(self.config, name))
            if source.auth.use == "none":
                log.warning("source_without_authentication", source=name, path=source.path)
            handshake = Handshake(
                authenticator,
                partial(self.registry.admit, name),
                partial(self.refused, name),
                origins=source.origins,
                attempts=self._attempts,
            )
            routes.append(WebSocketRoute(source.path, self._endpoint(name, handshake)))
        return routes

    def _endpoint_of(self, scope: Scope) -> Any:
        """Who serves this path; without a framework's layers in between, which cost memory for as long as a call."""
        for route in self._streams:
            match, found = route.matches(scope)
            if match is Match.FULL:
                scope.update(found)
                return route.endpoint
        return None

    def _endpoint(self, name: str, handshake: Handshake) -> Any:
        async def endpoint(websocket: WebSocket) -> None:
            if self._proxies and websocket.client is not None:
                peer = self._proxies.client(websocket.client.host, websocket.scope["headers"])
                websocket.scope["client"] = (peer, websocket.client.port)
            admitted, token = await handshake.admit(websocket)
            if admitted:
                await self._serve(Connection(self, name, websocket, token))

        return endpoint

    async def _serve(self, connection: Connection) -> None:
        serving = asyncio.create_task(connection.run())
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)
        await asyncio.shield(serving)

    def _room(self, source: str) -> str | None:
        if self._watch.disk_refuses:
            return "disk"
        return None if self.hub.room_for_stream(source) else "threads"

    def _after_slice(self, late_s: float, waited_s: float) -> None:
        self.hub.flush()
        self.metrics.loop_lagged(max(0.0, late_s))
        self.metrics.delivered(waited_s)


def _upgrade_required(request: Request) -> Response:
    """An ordinary request on a stream path: RFC 9110, section 15.5.22."""
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    return PlainTextResponse("This is a WebSocket endpoint.\n", 426, headers)
