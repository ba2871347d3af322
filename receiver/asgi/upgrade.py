"""The upgrade: a WebSocket handshake's request as an ASGI scope, and the answer that refuses it."""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from http.client import responses
from typing import Any
from urllib.parse import unquote

from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from websockets.datastructures import Headers
from websockets.http11 import Request, Response


def scope_of(request: Request, transport: asyncio.Transport, state: dict[str, Any]) -> dict[str, Any]:
    """The scope of a connection: ASGI's specification of WebSockets, version 2.4."""
    path, _, query = request.path.partition("?")
    offered = request.headers.get_all("Sec-WebSocket-Protocol")
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "wss" if is_ssl(transport) else "ws",
        "server": get_local_addr(transport),
        "client": get_remote_addr(transport),
        "root_path": "",
        "path": unquote(path),
        "raw_path": path.encode("ascii"),
        "query_string": query.encode("ascii"),
        "headers": [(name.lower().encode(), text.encode("latin-1")) for name, text in request.headers.raw_items()],
        "subprotocols": [name.strip() for header in offered for name in header.split(",")],
        "state": state.copy(),
        "extensions": {"websocket.http.response": {}},
    }


def refusal(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> Response:
    """What a peer is told that is not let in."""
    said = Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers])
    for name, value in (
        ("Date", formatdate(usegmt=True)),
        ("Connection", "close"),
        ("Content-Length", str(len(body))),
        ("Content-Type", "text/plain; charset=utf-8"),
    ):
        said.setdefault(name, value)
    return Response(status, responses.get(status, ""), said, body)
