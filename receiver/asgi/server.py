"""Two listeners, signals, and the drain: how a process starts, stops, and never cuts a call without being told to.

SIGTERM ─► not ready, still accepting (shutdown_delay_s) ─► refusing, live streams end (drain_timeout_s) ─► the rest
is ended with 1012, files final ─► exit 0
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import uvicorn

from receiver.asgi.health import management_app
from receiver.asgi.protocol import WebSocketProtocol
from receiver.asgi.receiver import Receiver
from receiver.errors import ConfigError
from receiver.events import EndReason
from receiver.logs import logger

BACKLOG = 2048
"""Connections that may wait to be accepted: a storm of reconnects is larger than uvicorn's default leaves room for."""

PING_INTERVAL_S = 20.0
"""Pings keep proxies from closing a quiet stream. A missing pong closes nothing: audio may flow all the same."""

log = logger("receiver.server")


@dataclass(frozen=True)
class Addresses:
    """Where the listeners are; ports are the real ones also where the configuration says 0."""

    public: tuple[str, int]
    management: tuple[str, int]


class _Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: stock ``serve`` raises the signal again and exits with -15."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def listening(receiver: Receiver) -> AsyncIterator[Addresses]:
    """Open both listeners. Plugins open before either is bound; management starts first and stops last."""
    server, management = receiver.config.server, receiver.config.management
    async with (
        receiver,
        _serving(management_app(receiver), management.host, management.port, "management.port") as private,
        _serving(receiver, server.host, server.port, "server.port", receiver.config.limits.message_bytes) as public,
    ):
        yield Addresses(public, private)
        # Live streams end while both listeners still answer.
        receiver.registry.draining = True
        await receiver.end_all(EndReason.DRAIN)


async def serve(
    receiver: Receiver,
    started: Callable[[Addresses], None] = lambda addresses: None,
    cut: asyncio.Event | None = None,
) -> None:
    """Run until SIGTERM or SIGINT, and drain. A second signal ends every stream at once; files are final all the same.

    ``started`` is told where the listeners are; ``cut``, once set, ends everything as a second signal does.
    """
    _raise_descriptor_limit()
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
    try:
        async with contextlib.AsyncExitStack() as stack:
            signal_came = asyncio.create_task(_first(stop, force))
            starting = asyncio.create_task(stack.enter_async_context(listening(receiver)))
            await asyncio.wait({starting, signal_came}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                started(starting.result())
                await signal_came
                await _drain(receiver, force, patient=patient)
            else:  # nobody was served yet
                starting.cancel()
                await asyncio.wait({starting})
            signal_came.cancel()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
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


def _raise_descriptor_limit() -> None:
    """A stream takes a socket and a file per track, and the usual soft limit of 1,024 is soon there."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


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
async def _serving(
    app: object, host: str, port: int, key: str, message_bytes: int = 65_536
) -> AsyncIterator[tuple[str, int]]:
    with _bind(host, port, key) as bound:
        server = _Server(
            uvicorn.Config(
                app,  # type: ignore[arg-type]  # an ASGI application of any kind
                ws=WebSocketProtocol,
                ws_max_size=message_bytes,
                ws_per_message_deflate=False,  # a 200 KiB read can hold 100 MiB of messages
                ws_ping_interval=PING_INTERVAL_S,
                ws_ping_timeout=None,  # a peer that sends audio and no pongs is not cut
                http="h11",  # bounds the size of headers; the other one does not
                lifespan="off",
                log_config=None,
                log_level="warning",  # that it starts and stops is said by us
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                timeout_graceful_shutdown=5,
            )
        )
        task = asyncio.create_task(server.serve(sockets=[bound]))
        try:
            while not server.started:
                if task.done():
                    await task
                    raise ConfigError(key, "the server did not start")
                await asyncio.sleep(0.001)
            address = bound.getsockname()
            yield address[0], address[1]
        finally:
            server.should_exit = True
            await task


def _bind(host: str, port: int, key: str) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(key, f"cannot listen on {host}:{port}: {error.strerror or error}") from None
