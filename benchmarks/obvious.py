"""The same job in Python, the obvious way: what a careful developer writes in an afternoon.

uvicorn as it comes, Starlette, json, base64, audioop; a task per stream, a WAV per track when the stream is over.

    TOKEN=... python benchmarks/obvious.py PORT FOLDER
"""

from __future__ import annotations

import audioop
import base64
import hmac
import json
import os
import sys
import wave
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

TOKEN = os.environ.get("TOKEN", "")
PORT, FOLDER = int(sys.argv[1]), Path(sys.argv[2])


async def stream(websocket: WebSocket) -> None:
    if not hmac.compare_digest(websocket.headers.get("authorization", "").encode(), f"Bearer {TOKEN}".encode()):
        await websocket.close()
        return
    await websocket.accept()
    name = None
    tracks: dict[str, bytearray] = {}
    try:
        while True:
            message = json.loads(await websocket.receive_text())
            if message["event"] == "start":
                name = message["start"]["streamSid"]
            elif message["event"] == "media":
                media = message["media"]
                # Whatever is no base64 is skipped: that is the obvious way.
                samples = audioop.ulaw2lin(base64.b64decode(media["payload"]), 2)  # nosemgrep: base64-read-leniently
                tracks.setdefault(media["track"], bytearray()).extend(samples)
            elif message["event"] == "stop":
                break
        await websocket.close()
    except WebSocketDisconnect:
        pass
    for track, samples in tracks.items():
        with wave.open(str(FOLDER / f"{name}-{track}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(samples)


if __name__ == "__main__":
    app = Starlette(routes=[WebSocketRoute("/stream", stream)])
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")
