"""The handshake: whoever may not connect is told so by an HTTP status, before the upgrade."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import quote

from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocket

from receiver.auth.authenticator import Authenticator, Upgrade
from receiver.errors import AccessDenied

WORDS = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 503: "Service Unavailable"}
"""The whole of what a refused peer is told."""


class Handshake:
    """Admits peers to one source.

    ``admit`` raises AccessDenied where there is no room for another stream; ``refused`` hears of every refusal, with
    our own reason for it.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        admit: Callable[[], None],
        refused: Callable[[AccessDenied, str], None],
    ) -> None:
        self._authenticator = authenticator
        self._admit = admit
        self._refused = refused

    async def admit(self, websocket: WebSocket) -> tuple[bool, str | None]:
        """Whether the peer was let in (and answered with 101), and the name of the token that let it."""
        try:
            # Who has no token learns nothing about how full we are.
            token = self._authenticator.authenticate(upgrade_of(websocket), time.time())
            self._admit()
        except AccessDenied as denied:
            self._refused(denied, peer_address(websocket))
            await deny(websocket, denied)
            return False, None
        await websocket.accept()
        return True, token


def upgrade_of(websocket: WebSocket) -> Upgrade:
    """What an authenticator may know of a request."""
    scope = websocket.scope
    path = scope.get("raw_path") or quote(scope["path"]).encode()  # ASGI does not promise the first
    return Upgrade(scope["headers"], path, scope["query_string"], websocket.path_params)


async def deny(websocket: WebSocket, denied: AccessDenied) -> None:
    """Answer an upgrade with an HTTP status."""
    body = WORDS.get(denied.status, "Refused") + "\n"
    await websocket.send_denial_response(PlainTextResponse(body, denied.status, denied.headers))


def peer_address(websocket: WebSocket) -> str:
    """The peer's address as the server knows it."""
    return websocket.client.host if websocket.client else ""
