"""The same calls through pipecat, as its examples do it: Twilio serializer, WebSocket transport, audio buffer, a WAV.

pipecat is no dependency of this project. An environment of its own has it:

    python -m venv ENVIRONMENT && ENVIRONMENT/bin/pip install "pipecat-ai[websocket]" uvicorn uvloop
    TOKEN=... ENVIRONMENT/bin/python benchmarks/pipecat_calls.py PORT FOLDER
"""

from __future__ import annotations

import hmac
import json
import os
import sys
import wave
from pathlib import Path

import uvicorn
from fastapi import FastAPI, WebSocket
from loguru import logger
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.audio.audio_buffer_processor import AudioBufferProcessor
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner

TOKEN = os.environ.get("TOKEN", "")
PORT, FOLDER = int(sys.argv[1]), Path(sys.argv[2])

logger.remove()
logger.add(sys.stderr, level="WARNING")
app = FastAPI()


@app.websocket("/stream")
async def stream(websocket: WebSocket) -> None:
    if not hmac.compare_digest(websocket.headers.get("authorization", "").encode(), f"Bearer {TOKEN}".encode()):
        await websocket.close()
        return
    await websocket.accept()
    await websocket.receive_text()  # connected
    start = json.loads(await websocket.receive_text())["start"]
    serializer = TwilioFrameSerializer(
        start["streamSid"], params=TwilioFrameSerializer.InputParams(auto_hang_up=False, sample_rate=8000)
    )
    params = FastAPIWebsocketParams(audio_in_enabled=True, serializer=serializer)
    transport = FastAPIWebsocketTransport(websocket, params)
    audio = AudioBufferProcessor(sample_rate=8000, num_channels=1)
    worker = PipelineWorker(
        Pipeline([transport.input(), audio]),
        params=PipelineParams(audio_in_sample_rate=8000, audio_out_sample_rate=8000),
        idle_timeout_secs=None,
    )

    @transport.event_handler("on_client_connected")
    async def begin(transport: object, websocket: object) -> None:
        await audio.start_recording()

    @transport.event_handler("on_client_disconnected")
    async def end(transport: object, websocket: object) -> None:
        await audio.stop_recording()
        await worker.cancel()

    @audio.event_handler("on_audio_data")
    async def write(processor: object, samples: bytes, rate: int, channels: int) -> None:
        with wave.open(str(FOLDER / f"{start['streamSid']}.wav"), "wb") as file:
            file.setnchannels(channels)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(samples)

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")
