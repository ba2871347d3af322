"""Erasing by real processes: one that is killed in the middle of it, and two on one root."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

TOKEN = "a-token-of-the-tests"


class Process:
    """``receiver serve`` in a folder, and every line that it says."""

    def __init__(self, folder: Path, **variables: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RECEIVER")}
        environment |= {
            "RECEIVER_TOKEN": TOKEN,
            "RECEIVER__SERVER__HOST": "127.0.0.1",
            "RECEIVER__SERVER__PORT": "0",
            "RECEIVER__MANAGEMENT__PORT": "0",
            "RECEIVER__SERVER__SHUTDOWN_DELAY_S": "0",
        }
        command = [sys.executable, "-P", "-m", "receiver", "serve"]
        self.process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            env=environment | variables,
            cwd=folder,
        )
        self.said: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for text in lines:
                self.said.append(json.loads(text) if text.startswith("{") else {"event": text})

    def events(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.said if line["event"] == event]

    def listening(self) -> dict[str, Any]:
        until(lambda: self.events("listening"))
        return self.events("listening")[0]

    def delete(self, path: str) -> tuple[int, Any]:
        request = urllib.request.Request(f"{self.listening()['management']}{path}", method="DELETE")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        code = self.process.wait(timeout=30)
        self._reader.join()
        return code


@contextmanager
def serving(folder: Path, **variables: str) -> Iterator[Process]:
    process = Process(folder, **variables)
    try:
        yield process
    finally:
        if process.process.poll() is None:
            process.end(signal.SIGKILL)


def until(condition: Callable[[], object]) -> None:
    pause = threading.Event()
    while not condition():  # the test's own timeout is how long that may take
        pause.wait(0.001)


def stream(root: Path, name: str, files: int = 1) -> Path:
    """A folder as a stream of long ago has left it, as far as erasing wants to know."""
    folder = root / "2020-01-01" / name
    folder.mkdir(parents=True)
    told = {"id": name, "source": "default", "call_id": "CA1", "ended": "2020-01-01T08:00:00Z", "sinks": {}}
    (folder / "stream.json").write_text(json.dumps(told))
    (folder / "0").touch()
    for number in range(1, files):
        os.link(folder / "0", folder / str(number))
    return folder


def test_what_a_process_was_killed_over_is_erased_by_the_next_one(tmp_path: Path) -> None:
    root = tmp_path / "recordings"
    folder = stream(root, "0199-large", files=10_000)  # that takes a while, in which to be killed
    with serving(tmp_path) as process:
        process.listening()

        def ask() -> None:
            with pytest.raises((OSError, urllib.error.URLError)):
                process.delete("/api/calls/CA1")

        asking = threading.Thread(target=ask)
        asking.start()
        until(lambda: not folder.exists())
        process.end(signal.SIGKILL)
        asking.join()
        assert process.events("erase_asked")[0]["call"] == "CA1"
        assert process.events("stream_erased") == []
    (hidden,) = (root / ".erased").iterdir()
    assert (hidden / "stream.json").exists()
    with serving(tmp_path) as process:
        until(lambda: process.events("stream_erased"))
        [line] = process.events("stream_erased")
        assert (line["stream"], line["call"], line["reason"]) == ("0199-large", "CA1", "asked")
        assert process.delete("/api/calls/CA1")[0] == 404
        assert process.end(signal.SIGINT) == 0
        assert list(root.iterdir()) == []
        assert process.events("recovered") == []


def test_two_processes_on_one_root_erase_every_old_stream_once(tmp_path: Path) -> None:
    root = tmp_path / "recordings"
    names = [f"0199-{number}" for number in range(100)]
    for name in names:
        stream(root, name)
    (root / "2020-01-01" / "0199-7" / "cloud.pending").touch()
    with serving(tmp_path, RECEIVER__RECORDINGS__KEEP_DAYS="30") as one:
        with serving(tmp_path, RECEIVER__RECORDINGS__KEEP_DAYS="30") as two:
            until(lambda: len(one.events("stream_erased") + two.events("stream_erased")) == len(names) - 1)
            assert [path.name for path in (root / "2020-01-01").iterdir()] == ["0199-7"]
            assert (one.end(signal.SIGINT), two.end(signal.SIGINT)) == (0, 0)
            erased = [line["stream"] for process in (one, two) for line in process.events("stream_erased")]
            assert sorted(erased) == sorted(set(names) - {"0199-7"})
            assert one.events("folder_not_erased") + two.events("folder_not_erased") == []


def test_the_live_stream_of_another_process_is_not_erased(tmp_path: Path) -> None:
    start = {
        "streamSid": "s",
        "accountSid": "a",
        "callSid": "CA1",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    }
    media = {"track": "inbound", "chunk": "1", "timestamp": "0", "payload": base64.b64encode(bytes(160)).decode()}
    with serving(tmp_path, RECEIVER__RECORDINGS__KEEP_FREE_BYTES=str(2**60)) as one, serving(tmp_path) as two:
        url = one.listening()["public"].replace("http", "ws", 1) + "/stream"
        two.listening()

        async def call() -> None:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            async with connect(url, additional_headers=headers, proxy=None, compression=None) as connection:
                await connection.send(json.dumps({"event": "connected", "protocol": "Call", "version": "0.2.0"}))
                await connection.send(json.dumps({"event": "start", "sequenceNumber": "1", "start": start}))
                await connection.send(json.dumps({"event": "media", "media": media}))
                await asyncio.to_thread(until, lambda: one.events("stream_started"))
                name = one.events("stream_started")[0]["stream"]
                for path in ("/api/calls/CA1", f"/api/streams/{name}"):
                    status, answer = await asyncio.to_thread(two.delete, path)
                    assert (status, answer["kept"][0]["id"], answer["kept"][0]["why"]) == (409, name, "live")
                await asyncio.to_thread(until, lambda: one.events("nothing_to_erase"))
                await connection.send(json.dumps({"event": "stop"}))

        asyncio.run(call())
        until(lambda: one.events("stream_ended"))
        assert one.events("stream_ended")[0]["tracks"]["inbound"]["received"] == 1
        until(lambda: not list((tmp_path / "recordings").rglob("journal.jsonl")))
        status, answer = two.delete("/api/calls/CA1")
        assert (status, answer["files"]) == (200, 2)
