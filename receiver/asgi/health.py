"""Health: is the process alive, and should new streams be sent to it?"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from receiver.asgi.api import api_routes

if TYPE_CHECKING:
    from receiver.asgi.receiver import Receiver


def health_routes(receiver: Receiver) -> list[BaseRoute]:
    """``/livez`` (200 while the loop turns) and ``/readyz`` (200, or 503 and a word that says why not)."""

    async def livez(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        reason = receiver.not_ready()
        if reason is None:
            return JSONResponse({"ready": True})
        return JSONResponse({"ready": False, "reason": reason}, 503)

    return [Route("/livez", livez), Route("/readyz", readyz)]


def management_app(receiver: Receiver) -> Starlette:
    """The private listener: health, ``/metrics`` and the API, for the host names of the configuration alone."""

    async def metrics(request: Request) -> Response:
        # In a thread: the free space of a disk is asked for, and a disk may hang.
        body, content_type = await asyncio.to_thread(receiver.metrics.render)
        return Response(body, headers={"Content-Type": content_type})

    hosts = list(receiver.config.management.allowed_hosts)
    app = Starlette(
        routes=[*health_routes(receiver), Route("/metrics", metrics), *api_routes(receiver)],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)],
    )
    app.router.redirect_slashes = False  # a pause that was only redirected would look like one
    return app
