"""Health: is the process alive, and should new streams be sent to it?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

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
