"""Captures of a made-up call, and a real receiver to play them to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from receiver.asgi.receiver import Receiver
from receiver.asgi.server import listening
from receiver.captures.capture import VERSION, Batch, End, Header, encode_batch, encode_end, encode_header
from receiver.config import Config
from receiver.events import EndReason
from receiver.simulate import Call, messages

TOKEN = "a-token-of-the-tests"
IDS = {"stream_id": "7d56cc11-536d-4a45-b4fb-ed3d55be843b", "call_id": "76ac3c36-56da-4a3e-a0d6-b5f8df6da9ad"}


@dataclass(frozen=True)
class Receiving:
    """A running receiver."""

    url: str
    root: Path
    receiver: Receiver

    async def told(self, streams: int = 1) -> list[dict[str, Any]]:
        """Every ``stream.json``, in the order of the streams' ids, once there are so many."""
        while len(found := sorted(self.root.glob("*/*/stream.json"))) < streams:
            await asyncio.sleep(0.01)
        return [json.loads(path.read_text()) for path in found]


RunReceiver = Callable[..., AbstractAsyncContextManager[Receiving]]


@pytest.fixture
def receiving(tmp_path: Path) -> RunReceiver:
    """``async with receiving(limits={…}) as server``; without a limit on how far audio may be ahead of the clock."""

    @asynccontextmanager
    async def run(**tables: dict[str, Any]) -> AsyncIterator[Receiving]:
        table: dict[str, Any] = {
            "server": {"host": "127.0.0.1", "port": 0, "shutdown_delay_s": 0},
            "management": {"port": 0},
            "recordings": {"directory": str(tmp_path / "recordings")},
            "limits": {"burst_s": 0},
            "sinks": {},
        }
        for name, changes in tables.items():
            table[name] = {**table.get(name, {}), **changes}
        receiver = Receiver(
            Config.model_validate(table, context={"environ": {"RECEIVER_TOKEN": TOKEN}, "base": tmp_path})
        )
        async with listening(receiver) as addresses:
            yield Receiving(f"ws://127.0.0.1:{addresses.public[1]}/stream", tmp_path / "recordings", receiver)

    return run


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[..., Path]:
    """``recorded(seconds=4)``: a capture of a call with two tracks, as a receiver would have read it."""

    def make(
        name: str = "a", *, seconds: float = 4.0, every_ms: int = 60, end: End | None = None, **options: Any
    ) -> Path:
        folder = tmp_path / "captured" / name
        folder.mkdir(parents=True)
        samples = (np.arange(round(8000 * seconds)) * 7 % 20_000).astype(np.int16)
        soundfile.write(tmp_path / "a.wav", samples, 8000)
        call = Call(**{"inbound": tmp_path / "a.wav", "outbound": tmp_path / "a.wav", **IDS, **options})
        batches: dict[float, list[Any]] = {}
        for due, text in messages(call):
            batches.setdefault((round(due * 1000) // every_ms + 1) * every_ms / 1000, []).append(text)
        return write(
            folder / "capture.jsonl",
            [Batch(at, said) for at, said in batches.items()],
            end=end or End(max(batches), EndReason.STOP, 1000, "stop"),
            resolution_ms=every_ms,
        )

    return make


def write(path: Path, batches: Sequence[Batch], *, end: End | None = None, resolution_ms: int = 60) -> Path:
    """A capture of these batches."""
    lines = [encode_header(Header(version=VERSION, resolution_ms=resolution_ms))]
    lines += [encode_batch(batch) for batch in batches]
    path.write_bytes(b"".join(lines) + (encode_end(end) if end else b""))
    return path


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """``written(batches, end=…)``: a capture of these batches."""

    def make(batches: Sequence[Batch], *, end: End | None = None, resolution_ms: int = 60) -> Path:
        return write(tmp_path / "capture.jsonl", batches, end=end, resolution_ms=resolution_ms)

    return make
