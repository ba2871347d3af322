"""``receiver serve`` after hundreds of connections of every kind: it holds what it held before."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

TOKEN = "a-token-of-the-tests"
HUNDRED = 100
AT_ONCE = 20
WITHIN_S = 20
FREE = "receiver_disk_free_bytes"
ONCE = 10
"""Threads and descriptors that are made when first needed, and stay. There are more connections of each kind."""
NOISE_BYTES = 3 * 2**20
"""What the allocator may do by itself. A hundred streams that stay take ten times as much."""

LIMITS = "burst_s = 0\nstart_timeout_s = 0.3\nopen_timeout_s = 0.3\nclose_timeout_s = 0.3\nauth_failures_per_minute = 0"
CONFIG = f"""
[server]
host = "127.0.0.1"
port = 0
latency_ms = 20
[management]
port = 0
[limits]
{LIMITS}
[captures]
enabled = true
[sinks.wav]
use = "wav"
[sinks.fails]
use = "./fails.py"
[sinks.plain]
use = "./plain.py"
overflow = "spill"
"""
FAILS = "async def sink(stream, events):\n    async for event in events:\n        raise ValueError('no')\n"
PLAIN = "def sink(stream, events):\n    for event in events:\n        pass\n"

START = {
    "event": "start",
    "sequenceNumber": "1",
    "start": {
        "streamSid": "7d56cc11-536d-4a45-b4fb-ed3d55be843b",
        "accountSid": "b08dacad-2f6c-4de1-93d6-cc732e0c69c5",
        "callSid": "76ac3c36-56da-4a3e-a0d6-b5f8df6da9ad",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    },
}
MEDIA = {"event": "media", "media": {"track": "inbound", "chunk": "1", "timestamp": "0", "payload": "/" * 212 + "8="}}
KINDS = ("stop", "close", "fin", "reset", "frame", "messages", "no start", "refused", "request", "half", "nothing")


@dataclass(frozen=True)
class Held:
    """What a process holds."""

    descriptors: int
    threads: int
    gauges: frozenset[str]  # those that are not 0

    def within(self, base: Held) -> bool:
        """Whether that is no more than ``base``."""
        more = max(self.descriptors - base.descriptors, self.threads - base.threads)
        return more <= ONCE and self.gauges == base.gauges


@dataclass(frozen=True)
class Served:
    """A server in a process of its own."""

    pid: int
    public: str
    management: str

    def held(self) -> Held:
        """What it holds now."""
        with urllib.request.urlopen(f"http://{self.management}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        gauges = {line.split()[2] for line in lines if line.startswith("# TYPE receiver_") and line.endswith(" gauge")}
        samples = (line.rsplit(" ", 1) for line in lines if line.split("{")[0].split(" ")[0] in gauges - {FREE})
        kept = frozenset(f"{name} {value}" for name, value in samples if float(value))
        return Held(len(os.listdir(f"/proc/{self.pid}/fd")), len(os.listdir(f"/proc/{self.pid}/task")), kept)

    def rss(self) -> int:
        """Its memory, in bytes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    def settled(self, base: Held) -> Held:
        """What it holds once that is no more than before, or once time is over."""
        deadline = time.monotonic() + WITHIN_S
        while not (now := self.held()).within(base) and time.monotonic() < deadline:
            time.sleep(0.1)
        return now


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "config.toml").write_text(CONFIG)
    (tmp_path / "fails.py").write_text(FAILS)
    (tmp_path / "plain.py").write_text(PLAIN)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RECEIVER")}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "receiver", "serve"],
            stderr=log,
            env={**environment, "RECEIVER_TOKEN": TOKEN},
            cwd=tmp_path,
        )
    with process:
        try:
            said = listening(tmp_path / "log")
            yield Served(process.pid, said["public"].split("//")[1], said["management"].split("//")[1])
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def listening(log: Path) -> dict[str, str]:
    """What the server says when it is ready."""
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        for line in log.read_text().splitlines():
            said: dict[str, str] = json.loads(line)
            if said["event"] == "listening":
                return said
        time.sleep(0.05)
    raise AssertionError(log.read_text())


async def open_and_end(served: Served, kind: str) -> None:
    """One connection."""
    if kind in ("request", "half", "nothing"):
        reader, writer = await asyncio.open_connection(*served.public.split(":"))
        writer.write({"request": b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n", "half": b"GET /", "nothing": b""}[kind])
        if kind == "request":
            await reader.read()
        writer.close()
        return
    token = "another" if kind == "refused" else TOKEN
    with contextlib.suppress(ConnectionClosed, InvalidStatus):
        async with connect(
            f"ws://{served.public}/stream",
            additional_headers={"Authorization": f"Bearer {token}"},
            compression=None,
            proxy=None,
            close_timeout=0.5,
        ) as connection:
            if kind == "no start":
                await connection.wait_closed()
                return
            for message in ({"event": "connected"}, START, MEDIA):
                await connection.send(json.dumps(message))
            await asyncio.sleep(0.1)  # so that there is a stream, mostly
            if kind == "stop":
                await connection.send('{"event": "stop"}')
            elif kind == "fin":
                connection.transport.write_eof()
            elif kind == "reset":
                opened = connection.transport.get_extra_info("socket")
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.transport.abort()
            elif kind == "frame":
                connection.transport.write(b"\xff\x00")
            elif kind == "messages":
                for _ in range(60):
                    await connection.send(b"binary")


async def hundred(served: Served) -> None:
    """Connections of all kinds, some at a time."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(kind: str) -> None:
        async with room:
            await open_and_end(served, kind)

    await asyncio.gather(*(one(kind) for kind in islice(cycle(KINDS), HUNDRED)))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what a process holds is read from /proc")
def test_nothing_is_held_after_hundreds_of_connections(served: Served) -> None:
    empty = served.held()
    asyncio.run(hundred(served))  # pools of threads grow when they are needed
    deadline = time.monotonic() + WITHIN_S
    while (base := served.held()).gauges != empty.gauges and time.monotonic() < deadline:
        time.sleep(0.1)
    sizes = []
    for _ in range(3):
        asyncio.run(hundred(served))
        held = served.settled(base)
        assert held.within(base), (base, held)
        sizes.append(served.rss())
    assert sizes[2] < sizes[1] + NOISE_BYTES
