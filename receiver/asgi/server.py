"""Two listeners, signals, and the drain: how a process starts, stops, and never cuts a call without being told to.

SIGTERM ─► not ready, still accepting (shutdown_delay_s) ─► refusing, live streams end (drain_timeout_s) ─► the rest
is ended with 1012, files final ─► exit 0
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import uvicorn

from receiver.asgi.descriptors import handshakes_for_descriptors, raise_descriptor_limit
from receiver.asgi.edge import Edge
from receiver.asgi.garbage import Garbage
from receiver.asgi.management import management_app
from receiver.asgi.opening import Openings
from receiver.asgi.protocol import WebSocketProtocol
from receiver.asgi.receiver import Receiver
from receiver.asgi.request import HttpProtocol
from receiver.asgi.tls import Certificate
from receiver.config import Config
from receiver.errors import ConfigError
from receiver.events import EndReason
from receiver.logs import logger

BACKLOG = 2048
"""Connections that may wait to be accepted: a storm of reconnects is larger than uvicorn's default leaves room for."""

CUT_OFF_S = 5.0
"""What requests and closing connections may take when everything else has ended."""

ACCEPTS = 8
"""Connections that are accepted in one turn of the loop. uvloop takes one of each listening socket, and a turn lasts as
long as a turn of the sweep: with a busy core that would be a hundred handshakes per second."""

log = logger("receiver.server")


@dataclass(frozen=True)
class Addresses:
    """Where the listeners are; ports are the real ones also where the configuration says 0."""

    public: tuple[str, int]
    management: tuple[str, int]


@dataclass(frozen=True)
class Side:
    """How one listener speaks: its limits, its WebSocket protocol if it has one, who counts refusals, its TLS."""

    edge: Edge = field(default_factory=Edge)
    websocket: Callable[..., asyncio.Protocol] | str = "none"
    refused: Callable[[str], None] = lambda reason: None
    tls: ssl.SSLContext | None = None
    accepts: int = 1  # in one turn of the loop


class _Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: stock ``serve`` raises the signal again and exits with -15.

    And with a limit to how long TLS may take, which uvicorn does not pass on.
    """

    def __init__(self, config: uvicorn.Config, side: Side) -> None:
        super().__init__(config)
        edge = side.edge
        self._accepts = side.accepts
        self._duplicates: list[socket.socket] = []
        self._stopping = asyncio.Event()
        timeouts = {"ssl_handshake_timeout": edge.open_timeout_s, "ssl_shutdown_timeout": edge.close_timeout_s}
        self._tls: dict[str, Any] = {"ssl": side.tls, **timeouts} if side.tls else {}

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        protocol: Any = self.config.http_protocol_class
        made = partial(protocol, config=self.config, server_state=self.server_state, app_state={})
        listened = sockets or []
        self._duplicates = [bound.dup() for bound in listened for _ in range(self._accepts - 1)]
        self.servers = [
            await loop.create_server(made, sock=bound, backlog=BACKLOG, **self._tls)
            for bound in (*listened, *self._duplicates)
        ]
        self.started = True

    def stop(self) -> None:
        """End ``serve``."""
        self.should_exit = True
        self._stopping.set()

    async def main_loop(self) -> None:
        """Wait for the end, and renew the ``Date`` of answers once a second; uvicorn looks ten times as often."""
        while not await self.on_tick(0):
            await _wait(self._stopping, 1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listeners and what is still connected: as uvicorn does, without its pauses of a tenth second."""
        for server in self.servers:
            server.close()
        for bound in (*(sockets or ()), *self._duplicates):
            bound.close()
        state = self.server_state
        for connection in list(state.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CUT_OFF_S):
                while state.connections or state.tasks:  # noqa: ASYNC110 - uvicorn's sets: nobody tells when they are empty
                    await asyncio.sleep(0.005)
        for task in state.tasks:
            log.warning("request_cut_off", after_s=CUT_OFF_S)
            task.cancel()


@asynccontextmanager
async def listening(receiver: Receiver) -> AsyncIterator[Addresses]:
    """Open both listeners. Plugins open before either is bound; management starts first and stops last.

    Raises ConfigError, naming the key, where an address or a certificate cannot be used.
    """
    server, management = receiver.config.server, receiver.config.management
    private_app = await asyncio.to_thread(management_app, receiver)  # reads tokens' files
    certificate = await asyncio.to_thread(_certificate, receiver.config)
    tls = certificate.context if certificate else None
    edge = edge_of(receiver.config)
    public_side = Side(edge, partial(WebSocketProtocol, edge=edge), partial(receiver.metrics.refused, ""), tls, ACCEPTS)
    async with (
        receiver,
        _watched(certificate),
        _serving(private_app, partial(_bind, management.host, management.port, "management.port"), Side()) as private,
        _serving(
            receiver,
            partial(_bind, server.host, server.port, "server.port", reuse_port=server.reuse_port),
            public_side,
        ) as public,
    ):
        yield Addresses(public, private)
        # Live streams end while both listeners still answer.
        receiver.registry.draining = True
        await receiver.end_all(EndReason.DRAIN)


def edge_of(config: Config) -> Edge:
    """The limits of the wire, as configured; handshakes no more than there are descriptors for."""
    limits = config.limits
    return Edge(
        open_timeout_s=limits.open_timeout_s,
        close_timeout_s=limits.close_timeout_s,
        ping_interval_s=config.server.ping_interval_s,
        dead_after_s=limits.dead_after_s,
        grace_s=max(Edge.grace_s, 3 * config.server.latency_ms / 1000),
        message_bytes=limits.message_bytes,
        fragments=limits.fragments,
        pings_per_s=limits.pings_per_s,
        header_bytes=limits.header_bytes,
        headers=limits.headers,
        handshakes=min(limits.handshakes, handshakes_for_descriptors()),
    )


def _certificate(config: Config) -> Certificate | None:
    tls = config.server.tls
    if tls.certificate is None or tls.key is None:
        return None
    return Certificate(config.base / tls.certificate, config.base / tls.key)


@asynccontextmanager
async def _watched(certificate: Certificate | None) -> AsyncIterator[None]:
    watch = asyncio.create_task(certificate.watch()) if certificate else None
    try:
        yield
    finally:
        if watch is not None:
            watch.cancel()


async def serve(
    receiver: Receiver,
    started: Callable[[Addresses], None] = lambda addresses: None,
    cut: asyncio.Event | None = None,
) -> None:
    """Run until SIGTERM or SIGINT, and drain. A second signal ends every stream at once; files are final all the same.

    ``started`` is told where the listeners are; ``cut``, once set, ends everything as a second signal does.
    """
    raise_descriptor_limit()
    loop = asyncio.get_running_loop()
    stop, force = asyncio.Event(), cut or asyncio.Event()
    patient = True

    def signalled(number: signal.Signals) -> None:
        nonlocal patient
        if stop.is_set():
            force.set()
            receiver.hurry()
            return
        patient = number is signal.SIGTERM and receiver.config.server.shutdown_delay_s > 0
        receiver.stopping = True
        receiver.registry.draining = not patient
        log.info("stopping", signal=number.name, live_streams=len(receiver.registry), again="ends them at once")
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled, number)
    garbage = Garbage(lambda: len(receiver.registry))
    try:
        async with contextlib.AsyncExitStack() as stack:
            signal_came = asyncio.create_task(_first(stop, force))
            starting = asyncio.create_task(stack.enter_async_context(listening(receiver)))
            await asyncio.wait({starting, signal_came}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                started(starting.result())
                garbage.start()
                await signal_came
                await _drain(receiver, force, patient=patient)
            else:  # nobody was served yet
                starting.cancel()
                await asyncio.wait({starting})
            signal_came.cancel()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        garbage.stop()
    log.info("stopped")


async def _drain(receiver: Receiver, force: asyncio.Event, *, patient: bool) -> None:
    server = receiver.config.server
    receiver.stopping = True
    if patient:
        await _wait(force, server.shutdown_delay_s)
    receiver.registry.draining = True
    deadline = asyncio.get_running_loop().time() + server.drain_timeout_s
    while len(receiver.registry) and not force.is_set() and asyncio.get_running_loop().time() < deadline:
        await _wait(force, 0.05)
    if live := len(receiver.registry):
        log.warning("ending_live_streams", live_streams=live)
    if force.is_set():
        receiver.hurry()


async def _first(*events: asyncio.Event) -> None:
    """Wait until one of the events is set."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


@asynccontextmanager
async def _serving(app: object, bind: Callable[[], socket.socket], side: Side) -> AsyncIterator[tuple[str, int]]:
    openings = Openings(side.edge.handshakes, side.edge.open_timeout_s)
    http = partial(HttpProtocol, edge=side.edge, openings=openings, refused=side.refused)
    with bind() as bound:
        server = _Server(
            uvicorn.Config(
                app,  # type: ignore[arg-type]  # an ASGI application of any kind
                http=http,  # type: ignore[arg-type]  # it calls what it names a class
                ws=side.websocket,  # type: ignore[arg-type]  # the same
                lifespan="off",
                log_config=None,
                log_level="warning",  # that it starts and stops is said by us
                access_log=False,
                server_header=False,
                proxy_headers=False,
            ),
            side,
        )
        task = asyncio.create_task(server.serve(sockets=[bound]))
        try:
            while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.001)
            if task.done():
                task.result()  # raises what it did not start for
            address = bound.getsockname()
            yield address[0], address[1]
        finally:
            server.stop()
            await task


def _bind(host: str, port: int, key: str, *, reuse_port: bool = False) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=reuse_port)
    except OSError as error:
        raise ConfigError(key, f"cannot listen on {host}:{port}: {error.strerror or error}") from None
