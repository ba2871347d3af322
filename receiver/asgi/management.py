"""The private listener: health, figures and the API, for those who may ask."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from http.client import responses
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Asgi

from receiver.asgi.api import api_routes
from receiver.asgi.erasing import TOKEN, erase_routes
from receiver.asgi.handshake import FAILURES
from receiver.asgi.health import health_routes
from receiver.auth.attempts import Attempts
from receiver.auth.authenticator import Upgrade
from receiver.auth.bearer import Bearer
from receiver.errors import AccessDenied
from receiver.logs import logger
from receiver.management import Scope
from receiver.tokens import management_tokens

if TYPE_CHECKING:
    from receiver.asgi.receiver import Receiver

OPEN_PATHS = frozenset({"/livez", "/readyz"})
"""For who starts and stops containers: they say nothing about anybody, and the public listener has them too."""

log = logger("receiver.management")


def management_app(receiver: Receiver) -> Starlette:
    """Health, ``/metrics`` and the API, for the host names and the tokens of the configuration alone.

    Raises ConfigError, naming the key, where a token has no good value to start with.
    """

    async def metrics(request: Request) -> Response:
        # In a thread: the free space of a disk is asked for, and a disk may hang.
        body, content_type = await asyncio.to_thread(receiver.metrics.render)
        return Response(body, headers={"Content-Type": content_type})

    hosts = list(receiver.config.management.allowed_hosts)
    middleware = [Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)]
    config = receiver.config
    if tokens := config.management.auth.tokens:
        bearer = Bearer(management_tokens(config))  # here, as middleware is made when the first request comes
        scopes = {token.name: token.scopes for token in tokens}
        attempts = Attempts(config.limits.auth_failures_per_minute)
        middleware.append(Middleware(Guard, bearer=bearer, scopes=scopes, attempts=attempts))
    app = Starlette(
        routes=[*health_routes(receiver), Route("/metrics", metrics), *api_routes(receiver), *erase_routes(receiver)],
        middleware=middleware,
    )
    app.router.redirect_slashes = False  # a pause that was only redirected would look like one
    return app


class Guard:
    """Asks everybody for a token, and for the scope that the request needs."""

    def __init__(
        self, app: ASGIApp, *, bearer: Bearer, scopes: Mapping[str, Collection[Scope]], attempts: Attempts
    ) -> None:
        self._app = app
        self._bearer = bearer
        self._scopes = scopes
        self._attempts = attempts

    async def __call__(self, scope: Asgi, receive: Receive, send: Send) -> None:
        """Answer who may not; the application answers the others."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        try:
            scope[TOKEN] = self._check(scope)
        except AccessDenied as denied:
            problem = JSONResponse({"error": responses[denied.status]}, denied.status, denied.headers)
            await problem(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _check(self, scope: Asgi) -> str:
        """The name of the token that lets this request in."""
        peer = scope["client"][0] if scope.get("client") else ""
        needed = needed_scope(scope["method"])
        try:
            name = self._bearer.authenticate(Upgrade(scope["headers"], scope["raw_path"], b""), time.time())
        except AccessDenied as denied:
            excess = self._attempts.failed(peer, time.monotonic())
            if excess is None or excess.first:
                log.warning("management_refused", reason=denied.reason, peer=peer, path=scope["path"])
            if excess is None:
                raise
            raise AccessDenied(429, FAILURES, {"Retry-After": str(excess.retry_after_s)}) from denied
        if needed not in self._scopes[name]:
            log.warning("management_refused", reason="scope", needed=needed, token=name, peer=peer, path=scope["path"])
            # RFC 6750, section 3.1
            challenge = f'Bearer error="insufficient_scope", scope="{needed}"'
            raise AccessDenied(403, "insufficient_scope", {"WWW-Authenticate": challenge})
        return name


def needed_scope(method: str) -> Scope:
    """What a token has to be good for. What only looks, reads; anything else controls."""
    return "read" if method in ("GET", "HEAD") else "control"
