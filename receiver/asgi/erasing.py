"""Erasing what is recorded, by the API of the management listener.

DELETE /api/streams/{id}
DELETE /api/calls/{call_id}     every stream of a call
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from receiver.asgi.answers import is_foreign, problem
from receiver.logs import logger
from receiver.recordings.asked import WHY, Kept, Outcome, erase_asked
from receiver.recordings.erasing import Erased

if TYPE_CHECKING:
    from receiver.asgi.receiver import Receiver

TOKEN = "receiver.token"  # noqa: S105 - where a request's scope has the name of its token, if it needed one

log = logger("receiver.management")


def erase_routes(receiver: Receiver) -> list[BaseRoute]:
    """``DELETE`` of a stream, and of a call."""
    turn = asyncio.Lock()  # one after the other: each may have to read every folder

    async def erase(request: Request) -> Response:
        if is_foreign(request):
            return problem(403, "a page of another origin may not ask for this")
        by, peer = request.scope.get(TOKEN), request.client.host if request.client else ""
        stream_id, call_id = request.path_params.get("id"), request.path_params.get("call_id")
        log.info("erase_asked", stream=stream_id, call=call_id, by=by, peer=peer)
        live = [
            Kept(facts.id, facts.call_id, str(connection.directory), "live")
            for connection in receiver.live_streams()
            if (facts := connection.facts) is not None
            and (facts.id == stream_id or (call_id is not None and facts.call_id == call_id))
        ]
        asked = partial(erase_asked, stream_id=stream_id, call_id=call_id, by=by, live=[kept.id for kept in live])
        async with turn:
            outcome = await asyncio.to_thread(asked, receiver.eraser, receiver.config.recordings.path)
        outcome.kept[:0] = live
        return _answer(outcome, "stream of this id" if call_id is None else "stream of this call")

    return [
        Route("/api/streams/{id}", erase, methods=["DELETE"]),
        Route("/api/calls/{call_id}", erase, methods=["DELETE"]),
    ]


def _answer(outcome: Outcome, what: str) -> Response:
    if not outcome.erased and not outcome.kept:
        return problem(404, f"there is no {what}")
    answer = {
        "erased": [_erased(erased) for erased in outcome.erased],
        "files": sum(erased.files for erased in outcome.erased),
        "bytes": sum(erased.bytes for erased in outcome.erased),
        "kept": [_kept(kept) for kept in outcome.kept],
    }
    if not outcome.kept:
        return JSONResponse(answer)
    reasons = dict.fromkeys(WHY[kept.why] for kept in outcome.kept)
    answer = {"error": f"not everything was erased: {', '.join(reasons)}", **answer}
    return JSONResponse(answer, 500 if any(kept.why == "failed" for kept in outcome.kept) else 409)


def _erased(erased: Erased) -> dict[str, Any]:
    return {
        "id": erased.id,
        "call_id": erased.call_id,
        "directory": str(erased.directory),
        "files": erased.files,
        "bytes": erased.bytes,
    }


def _kept(kept: Kept) -> dict[str, Any]:
    said: dict[str, Any] = {"id": kept.id, "call_id": kept.call_id, "directory": kept.directory, "why": kept.why}
    if kept.sinks:
        said["sinks"] = list(kept.sinks)
    return said | ({} if kept.problem is None else {"problem": kept.problem})
