"""The handshake: whoever may not connect is told so by an HTTP status, before the upgrade."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from http.client import responses
from urllib.parse import quote

from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocket

from receiver.auth.attempts import Attempts
from receiver.auth.authenticator import Authenticator, Upgrade
from receiver.errors import AccessDenied

FAILURES = "auth_failures"
"""The reason of a refusal beyond the limit of failures."""


class Handshake:
    """Admits peers to one source.

    ``admit`` raises AccessDenied where there is no room for another stream; ``refused`` hears of every refusal, with
    our own reason for it, and whether it is one to tell about or only to count. ``origins`` are the pages of browsers
    that may connect; ``attempts`` are those of all sources.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        admit: Callable[[], None],
        refused: Callable[[AccessDenied, str, bool], None],
        *,
        origins: Collection[str] = (),
        attempts: Attempts | None = None,
    ) -> None:
        self._authenticator = authenticator
        self._admit = admit
        self._refused = refused
        self._origins = frozenset(origin.encode() for origin in origins)
        self._attempts = Attempts(0) if attempts is None else attempts

    async def admit(self, websocket: WebSocket) -> tuple[bool, str | None]:
        """Whether the peer was let in (and answered with 101), and the name of the token that let it.

        What a peer offers of subprotocols and extensions is not taken up.
        """
        upgrade = upgrade_of(websocket)
        tell = True
        try:
            try:
                self._check_origin(upgrade)
                token = self._authenticator.authenticate(upgrade, time.time())
            except AccessDenied as denied:
                excess = self._attempts.failed(peer_address(websocket), time.monotonic())
                if excess is None:
                    raise
                tell = excess.first
                raise AccessDenied(429, FAILURES, {"Retry-After": str(excess.retry_after_s)}) from denied
            # Who has no token learns nothing about how full we are.
            self._admit()
        except AccessDenied as denied:
            self._refused(denied, peer_address(websocket), tell)
            await deny(websocket, denied)
            return False, None
        await websocket.accept()
        return True, token

    def _check_origin(self, upgrade: Upgrade) -> None:
        """RFC 6455, section 10.2: a browser says which page asks, and sends what it has for us along."""
        for name, value in upgrade.headers:
            if name.lower() == b"origin" and value.lower() not in self._origins:
                raise AccessDenied(403, "origin")


def upgrade_of(websocket: WebSocket) -> Upgrade:
    """What an authenticator may know of a request."""
    scope = websocket.scope
    path = scope.get("raw_path") or quote(scope["path"]).encode()  # ASGI does not promise the first
    return Upgrade(scope["headers"], path, scope["query_string"], websocket.path_params)


async def deny(websocket: WebSocket, denied: AccessDenied) -> None:
    """Answer an upgrade with an HTTP status. Its words are the whole of what a refused peer is told."""
    body = responses.get(denied.status, "Refused") + "\n"
    await websocket.send_denial_response(PlainTextResponse(body, denied.status, denied.headers))


def peer_address(websocket: WebSocket) -> str:
    """The peer's address: as the server knows it, or behind trusted proxies."""
    return websocket.client.host if websocket.client else ""
