"""A stream whose disk does not take what it has to write: tried again, and given up in time."""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from receiver import disk, files, opener
from receiver.asgi import unfinished


def media(number: int) -> str:
    body = {
        "track": "inbound",
        "chunk": str(number),
        "timestamp": str((number - 1) * 20),
        "payload": base64.b64encode(bytes(160)).decode(),
    }
    return json.dumps({"event": "media", "sequenceNumber": str(number + 1), "media": body})


STOP = '{"event":"stop","sequenceNumber":"3"}'


@contextmanager
def nothing_can_be_written() -> Iterator[None]:
    """No file of this process may have a byte; Python ignores the signal that comes with it."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(disk, "RETRY_S", 0.05)
    files.configure()
    yield
    files.configure()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def said(caplog: pytest.LogCaptureFixture, event: str) -> list[Any]:
    return [record.msg for record in caplog.records if isinstance(record.msg, dict) and record.msg["event"] == event]


def stream_json(server: Any) -> Any:
    (folder,) = server.folders()
    return json.loads((folder / "stream.json").read_text())


def test_a_folder_that_cannot_be_made_is_made_later_and_nothing_of_the_call_is_missing(
    running: Any, hello: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    async def run() -> None:
        async with running() as server, server.dial() as ws:
            with nothing_can_be_written():
                await hello(ws)
                await ws.send(media(1))
                await until(lambda: len(said(caplog, "recording_delayed")) > 1)
                assert server.receiver.not_ready() == "disk"
            await until(lambda: said(caplog, "stream_started"))
            await ws.send(media(2))
            await ws.send(STOP)
            await ws.wait_closed()
            assert ws.close_code == 1000
            assert stream_json(server)["tracks"]["inbound"]["counters"]["samples"] == 320

    asyncio.run(run())


def test_a_folder_that_cannot_be_made_at_all_ends_the_stream_in_time(
    running: Any, hello: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(opener, "FOLDER_S", 0.2)

    async def run() -> None:
        async with running() as server, server.dial() as ws:
            with nothing_can_be_written():
                await hello(ws)
                await ws.wait_closed()
            assert ws.close_code == 1011

    asyncio.run(run())
    assert len(said(caplog, "recording_not_made")) == 1


def test_the_end_of_the_process_waits_for_no_disk(running: Any, hello: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    async def run() -> None:
        async with running() as server, server.dial() as ws:
            with nothing_can_be_written():
                await hello(ws)
                await until(lambda: said(caplog, "recording_delayed"))
                server.receiver.hurry()
                await ws.wait_closed()

    asyncio.run(run())
    assert len(said(caplog, "recording_not_made")) == 1


def test_a_journal_that_breaks_in_the_middle_is_there_again_and_whole(
    running: Any, hello: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    async def run() -> None:
        async with running(sinks={}) as server, server.dial() as ws:
            await hello(ws)
            await until(lambda: said(caplog, "stream_started"))
            with nothing_can_be_written():
                await ws.send(media(1))
                await until(lambda: said(caplog, "journal_interrupted"))
            await until(lambda: said(caplog, "journal_resumed"))
            (folder,) = server.folders()
            lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
            assert "facts" in lines[0] and "progress" in lines[1]
            await ws.send(STOP)
            await ws.wait_closed()

    asyncio.run(run())
    assert not said(caplog, "journal_not_written")


def test_a_stream_json_that_is_not_taken_is_written_when_the_disk_takes_it(
    running: Any, hello: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    async def run() -> None:
        async with running(sinks={}) as server, server.dial() as ws:
            await hello(ws)
            await ws.send(media(1))
            await until(lambda: said(caplog, "stream_started"))
            with nothing_can_be_written():
                await ws.send(STOP)
                await until(lambda: said(caplog, "stream_json_failed"))
                await asyncio.sleep(0.2)
            (folder,) = server.folders()
            await until(lambda: (folder / "stream.json").exists() and not (folder / "journal.jsonl").exists())
            assert stream_json(server)["end"]["reason"] == "stop"

    asyncio.run(run())
    assert len(said(caplog, "stream_json_failed")) <= 2  # not at every attempt


@pytest.mark.parametrize("call", ["open", "unlink"])
def test_what_cannot_be_let_go_is_when_the_disk_lets_it(
    running: Any, hello: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The folder cannot be opened to remove the journal, or what spilled cannot be removed."""
    caplog.set_level("INFO")
    monkeypatch.setattr(unfinished, "DELAYS_S", (0.05,))
    monkeypatch.setattr(unfinished, "LOOK_S", 0.05)
    monkeypatch.setattr(disk, "TROUBLE_S", 0.05)
    works = getattr(os, call)

    def is_last(path: Any) -> bool:
        if call == "unlink":
            return str(path).endswith("spill.jsonl")
        names = {
            name: os.path.exists(f"{path}/{name}") for name in ("journal.jsonl", "stream.json", "stream.json.part")
        }
        return list(names.values()) == [True, True, False]  # else stream.json is being written

    def fails_once(path: Any, *more: Any, **named: Any) -> Any:
        if is_last(path):
            monkeypatch.setattr(os, call, works)
            raise OSError(errno.EIO, "Input/output error", path)
        return works(path, *more, **named)

    async def run() -> None:
        async with running(sinks={"wav": {"use": "wav", "overflow": "spill"}}) as server, server.dial() as ws:
            await hello(ws)
            await ws.send(media(1))
            await until(lambda: said(caplog, "stream_started"))
            monkeypatch.setattr(os, call, fails_once)
            await ws.send(STOP)
            await until(lambda: said(caplog, "finished_after_all"))
            (folder,) = server.folders()
            assert not (folder / "journal.jsonl").exists() and not (folder / "spill.jsonl").exists()
            assert stream_json(server)["end"]["reason"] == "stop"

    asyncio.run(run())
    assert len(said(caplog, "journal_not_removed")) == 1


def test_what_is_not_taken_before_the_end_is_the_next_starts(
    running: Any, hello: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    async def run() -> Path:
        async with running(sinks={}) as server, server.dial() as ws:
            await hello(ws)
            await ws.send(media(1))
            await until(lambda: said(caplog, "stream_started"))
            with nothing_can_be_written():
                await ws.send(STOP)
                await until(lambda: said(caplog, "stream_json_failed"))
                server.receiver.hurry()
                await until(lambda: not len(server.receiver.registry))
                await asyncio.sleep(0.2)
            root: Path = server.root
        return root

    root = asyncio.run(run())
    (folder,) = root.glob("*/*")
    assert (folder / "journal.jsonl").exists() and not (folder / "stream.json").exists()

    async def again() -> None:
        async with running(recordings={"directory": str(root)}):
            pass

    asyncio.run(again())
    assert json.loads((folder / "stream.json").read_text())["end"]["reason"] in ("stop", "crash")
