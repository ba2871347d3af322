"""The API of the management listener: which streams are live, and pausing them.

GET  /api/streams
POST /api/streams/{id}/pause        resume, mute?track=inbound, unmute?track=inbound
POST /api/calls/{call_id}/pause     the same for every live stream of a call
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from receiver.asgi.answers import is_foreign, problem
from receiver.asgi.connection import Connection
from receiver.recordings.stream_json import rfc3339

if TYPE_CHECKING:
    from receiver.asgi.receiver import Receiver

ACTIONS = ("pause", "resume", "mute", "unmute")


def api_routes(receiver: Receiver) -> list[BaseRoute]:
    """``/api/streams`` and what can be done to a stream."""

    async def streams(request: Request) -> Response:
        return JSONResponse({"streams": [_told(connection) for connection in receiver.live_streams()]})

    async def act(request: Request) -> Response:
        wanted, action = request.path_params, request.path_params["action"]
        if action not in ACTIONS:
            return problem(404, f"no such action: {', '.join(ACTIONS)}")
        if is_foreign(request):
            return problem(403, "a page of another origin may not ask for this")
        found = [
            connection
            for connection in receiver.live_streams()
            if (facts := connection.facts) is not None
            and (facts.id == wanted.get("id") or (facts.call_id is not None and facts.call_id == wanted.get("call_id")))
        ]
        if not found:
            return problem(404, "no live stream of this id")
        return _act(found, action, request.query_params.get("track"))

    return [
        Route("/api/streams", streams, methods=["GET"]),
        Route("/api/streams/{id}/{action}", act, methods=["POST"]),
        Route("/api/calls/{call_id}/{action}", act, methods=["POST"]),
    ]


def _act(connections: list[Connection], action: str, track: str | None) -> Response:
    if action in ("pause", "resume"):
        if track is not None:
            return problem(400, f"{action} is for the whole stream; mute and unmute take a track")
        for connection in connections:
            connection.withhold(paused=action == "pause")
    else:
        if track is None:
            return problem(400, f"{action} needs a track: ?track=inbound")
        concerned = [connection for connection in connections if track in connection.positions]
        if not concerned:
            tracks = sorted({name for connection in connections for name in connection.positions})
            return problem(404, f"no such track; there is {', '.join(tracks) or 'none'}")
        for connection in concerned:
            if action == "mute":
                connection.withhold(mute=track)
            else:
                connection.withhold(unmute=track)
    return JSONResponse({"streams": [_told(connection) for connection in connections]})


def _told(connection: Connection) -> dict[str, Any]:
    """A live stream, as the API has it."""
    facts = connection.facts
    paused, muted = connection.withheld
    told: dict[str, Any] = (
        {}
        if facts is None
        else {
            "id": facts.id,
            "source": facts.source,
            "call_id": facts.call_id,
            "stream_id": facts.stream_id,
            "started": rfc3339(facts.started),
            "directory": str(connection.directory),
        }
    )
    return told | {
        "paused": paused,
        "muted": muted,
        "tracks": {
            name: {"position": position, "rate": rate, "seconds": round(position / rate, 6)}
            for name, (position, rate) in connection.positions.items()
        },
    }
