"""Receiving a stream inside somebody's own FastAPI or Starlette endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from receiver.asgi.protocol import end_of
from receiver.auth.bearer import authenticate_bearer
from receiver.events import Event
from receiver.sessions.session import Session
from receiver.sessions.settings import SessionSettings

TICK_S = 0.25
"""How often time passes while nothing arrives."""


async def receive(
    websocket: WebSocket, *, dialect: str | None = None, settings: SessionSettings | None = None
) -> AsyncIterator[Event]:
    """Receive one stream: its events, from Started to Ended.

    Accepts the WebSocket if nobody has, and closes it in the end with the code that the dialect asks for. Whoever may
    connect is the caller's to decide: see ``authenticate``. A connection that ends before a stream has started yields
    nothing. Leaving the loop early leaves the WebSocket open.
    """
    loop = asyncio.get_running_loop()
    if websocket.application_state is WebSocketState.CONNECTING:
        await websocket.accept()
    session = Session(dialect, at=loop.time(), settings=settings)
    reading = asyncio.ensure_future(websocket.receive())
    try:
        while session.reason is None:
            await asyncio.wait({reading}, timeout=TICK_S)
            now = loop.time()
            happened = session.tick(now)
            if reading.done():
                message = reading.result()
                if message["type"] == "websocket.disconnect":
                    happened += session.close(end_of(websocket.scope, message).reason, now)
                else:
                    data = message.get("text")
                    happened += session.receive([message["bytes"] if data is None else data], now)
                    reading = asyncio.ensure_future(websocket.receive())
            for event in happened:
                yield event
    finally:
        reading.cancel()
    if websocket.client_state is WebSocketState.CONNECTED:
        error = session.error
        with suppress(RuntimeError, WebSocketDisconnect):  # the peer was quicker
            await websocket.close(*((error.code, error.reason) if error else (1000, str(session.reason))))


async def authenticate(websocket: WebSocket, *tokens: str) -> bool:
    """Whether the peer presents one of ``tokens`` as a bearer token; if not, it has been answered with 401.

    Call it before the WebSocket is accepted. Tokens are compared in constant time.

    Raises ValueError for an empty token, which is what an unset variable looks like.
    """
    if authenticate_bearer(websocket.scope["headers"], tokens):
        return True
    refusal = PlainTextResponse("Unauthorized\n", 401, {"WWW-Authenticate": "Bearer"})
    await websocket.send_denial_response(refusal)
    return False
