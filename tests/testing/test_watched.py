from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from receiver.asgi.server import listening
from receiver.config import Config
from receiver.simulate import Call, speak
from receiver.testing.watched import HEADER, Watch, WatchedReceiver


def call(tmp_path: Path, **options: Any) -> Call:
    soundfile.write(tmp_path / "call.wav", np.zeros(800, np.int16), 8000)
    return Call(inbound=tmp_path / "call.wav", **options)


def receiver(tmp_path: Path) -> WatchedReceiver:
    table = {
        "server": {"host": "127.0.0.1", "port": 0},
        "management": {"port": 0},
        "sources": {"default": {"auth": {"use": "none"}}},
        "sinks": {},
        "recordings": {"directory": str(tmp_path / "recordings")},
    }
    return WatchedReceiver(Config.model_validate(table))


def test_a_watch_sees_its_own_connection_and_no_other(tmp_path: Path) -> None:
    said = call(tmp_path, call_id="the-same", stream_id="the-same")

    async def run() -> list[Watch]:
        watched = receiver(tmp_path)
        async with listening(watched) as addresses:
            url = f"ws://127.0.0.1:{addresses.public[1]}/stream"
            with watched.watching() as first, watched.watching() as second, watched.watching() as unused:
                await speak(said, url=url, speed=math.inf)
                keys = ([(HEADER, watch.key)] for watch in (first, second))
                await asyncio.gather(*(speak(said, url=url, headers=headers, speed=math.inf) for headers in keys))
                await asyncio.gather(first.over(), second.over())
            assert not unused._left.is_set()
            await speak(said, url=url, headers=[(HEADER, first.key)], speed=math.inf)  # no one watches any more
            return [first, second, unused]

    first, second, unused = asyncio.run(run())
    assert first.stream is not None and second.stream is not None and unused.stream is None
    assert first.stream.directory != second.stream.directory
    assert len(list((tmp_path / "recordings").glob("*/*/stream.json"))) == 4
    for watch in (first, second):
        assert watch.stream is not None and (watch.stream.directory / "stream.json").exists()


def test_a_connection_that_is_refused_is_over_without_a_stream(tmp_path: Path) -> None:
    said = call(tmp_path)

    async def run() -> Watch:
        watched = receiver(tmp_path)
        async with listening(watched) as addresses:
            with watched.watching() as watch:
                url = f"ws://127.0.0.1:{addresses.public[1]}/elsewhere"
                outcome = await speak(said, url=url, headers=[(HEADER, watch.key)], speed=math.inf)
                assert outcome.status == 404
                await watch.over()
        return watch

    assert asyncio.run(run()).stream is None
