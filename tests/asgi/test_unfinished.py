"""What a disk kept from being finished is finished while the server runs."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from receiver import disk, files
from receiver.asgi import unfinished
from receiver.asgi.unfinished import Unfinished


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfinished, "DELAYS_S", (0.01, 0.02, 0.03))
    monkeypatch.setattr(unfinished, "LOOK_S", 0.01)
    files.configure()


def test_a_folder_is_tried_again_and_not_for_ever(tmp_path: Path) -> None:
    tried: list[Path] = []

    def finish(directory: Path) -> bool:
        tried.append(directory)
        return directory.name == "good" and tried.count(directory) == 2

    async def run() -> None:
        left = Unfinished(finish)
        await left.stop()  # nothing has begun
        left.start()
        left.add(tmp_path / "bad")
        left.add(tmp_path / "good")
        await until(lambda: len(tried) == 5)
        await asyncio.sleep(0.1)
        await left.stop()

    asyncio.run(run())
    assert (tried.count(tmp_path / "bad"), tried.count(tmp_path / "good")) == (3, 2)


def test_nothing_is_tried_while_the_disk_fails(tmp_path: Path) -> None:
    tried: list[Path] = []

    async def run() -> None:
        left = Unfinished(lambda directory: bool(tried.append(directory)) or True)
        left.start()
        disk.failed(OSError(28, "No space left on device"))
        left.add(tmp_path)
        await asyncio.sleep(0.1)
        assert tried == []
        files.configure()
        await until(lambda: tried)
        await left.stop()

    asyncio.run(run())


def test_the_end_waits_for_the_folder_that_is_being_finished(tmp_path: Path) -> None:
    begun, go = threading.Event(), threading.Event()

    def finish(directory: Path) -> bool:
        begun.set()
        return go.wait(20)

    async def run() -> None:
        left = Unfinished(finish)
        left.start()
        left.add(tmp_path)
        await until(begun.is_set)
        stopping = asyncio.create_task(left.stop())
        await asyncio.sleep(0.05)
        assert not stopping.done()
        go.set()
        await stopping

    asyncio.run(run())


def test_a_recording_that_could_not_be_finished_is_finished_without_a_restart(
    running: Any, hello: Any, tmp_path: Path
) -> None:
    (tmp_path / "failing.py").write_text(
        "async def sink(stream, events):\n"
        "    async for event in events: pass\n"
        "    raise OSError(5, 'Input/output error')\n"
    )

    async def run() -> None:
        async with running(sinks={"wav": {"use": "wav"}, "failing": {"use": str(tmp_path / "failing.py")}}) as server:
            async with server.dial() as ws:
                await hello(ws)
                await ws.send('{"event":"stop","sequenceNumber":"2"}')
                await ws.wait_closed()
            (folder,) = server.folders()
            await until(lambda: (folder / "stream.json").exists() and not (folder / "journal.jsonl").exists())
            assert json.loads((folder / "stream.json").read_text())["sinks"]["failing"]["status"] == "failed"

    asyncio.run(run())
