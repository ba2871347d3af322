"""Streams inside of a FastAPI application: one received by hand, others recorded by a mounted receiver.

    RECEIVER_TOKEN=secret uvicorn --app-dir examples fastapi_app:app --ws-per-message-deflate false

``/listen`` gives the events of each stream to our own code. ``/recorder/stream`` does what ``receiver serve`` does: it
writes recordings below ``recordings/``. Both want the token as ``Authorization: Bearer``.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, WebSocket

import receiver
from receiver.events import Digit, Ended, Frame, Gap, Started

recorder = receiver.Receiver()  # the defaults; receiver.load_config(path, os.environ) reads a file
calls: dict[str, dict[str, Any]] = {}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with recorder:  # nobody runs the lifespan of a mounted application: this does
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/recorder", recorder)


@app.get("/calls")
async def list_calls() -> dict[str, dict[str, Any]]:
    return calls


@app.websocket("/listen")
async def listen(websocket: WebSocket) -> None:
    if not await receiver.authenticate(websocket, os.environ["RECEIVER_TOKEN"]):
        return  # answered with 401
    call: dict[str, Any] = {"heard_s": 0.0, "missing_s": 0.0, "digits": "", "end": None}
    async for event in receiver.receive(websocket):
        match event:
            case Started():
                calls[event.stream_id] = call
                call["from"] = event.parameters.get("from")
            case Frame():  # event.samples: int16, at position event.start of event.track
                call["heard_s"] += len(event.samples) / event.rate
            case Gap():
                call["missing_s"] += (event.end - event.start) / event.rate
            case Digit():
                call["digits"] += event.digit
            case Ended():
                call["end"] = event.reason.value
