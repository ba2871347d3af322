"""An application that sends back what it receives, behind the public listener of the receiver as it is configured.

``/receive`` reads with ASGI's ``receive()``; ``/wire`` takes the socket over and reads it once in a while, as the
receiver itself does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from receiver.asgi import server
from receiver.asgi.protocol import WebSocketProtocol
from receiver.asgi.wire import wire_of
from receiver.config import DEFAULT_TOKEN, Config

PATHS = ("/receive", "/wire")
PERIOD_S = 0.005
"""How often a wire is read: the shortest ``latency_ms`` that there is, so that hundreds of cases do not take long."""


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Accept, and send back every message until the end."""
    await receive()
    await send({"type": "websocket.accept"})
    if scope["path"] == "/wire":
        await echo_wire(scope, send)
        return
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


async def echo_wire(scope: Any, send: Any) -> None:
    """The same, in batches. Raises RuntimeError where the server does not give its sockets away."""
    wire = wire_of(scope)
    if wire is None:
        raise RuntimeError("there is no wire to take over")
    loop = asyncio.get_running_loop()
    while True:
        for data in wire.read(loop.time()):
            await send({"type": "websocket.send", "text" if isinstance(data, str) else "bytes": data})
        if wire.end is not None:
            return
        if not wire.hungry:
            await asyncio.sleep(PERIOD_S)


@asynccontextmanager
async def echoing() -> AsyncIterator[str]:
    """Listen on a free port of the loopback, with the limits of a server whose configuration is empty; its address."""
    config = Config.model_validate({}, context={"environ": {DEFAULT_TOKEN: "not-asked-for-here"}, "base": Path()})
    edge = server.edge_of(config)
    side = server.Side(edge, partial(WebSocketProtocol, edge=edge))
    async with server._serving(echo, partial(server._bind, "127.0.0.1", 0, "server.port"), side) as (host, port):
        yield f"ws://{host}:{port}"
