"""Few descriptors: fewer streams, and a process that outlives their end."""

import asyncio
import contextlib
import json
import os
import resource
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from receiver.asgi.descriptors import (
    PER_STREAM,
    handshakes_for_descriptors,
    raise_descriptor_limit,
    streams_for_descriptors,
)

TOKEN = "a-token-of-the-tests"
START = {
    "streamSid": "a-stream",
    "callSid": "a-call",
    "tracks": ["inbound"],
    "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
}


@contextlib.contextmanager
def soft_limit(value: int) -> Any:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (value, before[1]))
    try:
        yield before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_streams_get_four_fifths_of_the_descriptors_and_handshakes_a_tenth() -> None:
    with soft_limit(1000):
        assert streams_for_descriptors() == 800 // PER_STREAM
        assert handshakes_for_descriptors() in (99, 100)


def test_there_is_room_for_one_in_any_case() -> None:
    with soft_limit(256):
        streams, handshakes = streams_for_descriptors(), handshakes_for_descriptors()
    assert streams >= 1 and handshakes >= 1


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    with soft_limit(512) as hard:
        raise_descriptor_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)


def test_the_lower_limit_is_said_and_in_the_metrics(running: Any, capture_logs: Any) -> None:
    async def main() -> str:
        async with running() as server:
            return (await asyncio.to_thread(server.receiver.metrics.render))[0].decode()

    with soft_limit(350), capture_logs() as said:
        figures = asyncio.run(main())
    assert "receiver_streams_limit 40.0" in figures
    (told,) = [line for line in said if line["event"] == "streams_limited_by_descriptors"]
    assert (told["streams"], told["asked"]) == (40, 1000)


@contextlib.asynccontextmanager
async def serving(root: Path, descriptors: int) -> Any:
    """``receiver serve`` in a process that has only so many; its public address, and its standard error."""
    (root / "config.toml").write_text(
        '[server]\nhost = "127.0.0.1"\nport = 0\nshutdown_delay_s = 0\n[management]\nport = 0\n'
        "[limits]\nopen_timeout_s = 60\nhandshakes = 1000\n"
    )
    program = (
        "import resource, sys; from receiver.cli import main\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({descriptors}, {descriptors}))\n"
        "sys.argv = ['receiver', 'serve', '-c', 'config.toml']; main()"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "RECEIVER_TOKEN": TOKEN},
        cwd=root,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(30):
            while (said := json.loads(await process.stderr.readline()))["event"] != "listening":
                pass
        yield process, said["public"].removeprefix("http://")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]  # else its destructor warns


async def alive(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answered = await reader.read()
            writer.transport.abort()
    except (OSError, TimeoutError):
        return False
    return b" 200 " in answered


@pytest.mark.blocks  # reads what was recorded
def test_row_24_beyond_the_descriptors_streams_are_refused_and_those_that_are_live_go_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path, 128) as (process, address), contextlib.AsyncExitStack() as live:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            opened = []
            with pytest.raises(InvalidStatus) as refused:
                while True:
                    dialling = connect(f"ws://{address}/stream", additional_headers=headers, proxy=None)
                    opened.append(await live.enter_async_context(dialling))
            assert refused.value.response.status_code == 503
            assert refused.value.response.headers["Retry-After"] == "5"
            assert len(opened) == int(0.8 * 128 / PER_STREAM)
            for connection in opened:
                await connection.send(json.dumps({"event": "start", "start": START}))
            while len(list(tmp_path.glob("recordings/*/*/journal.jsonl"))) < len(opened):
                await asyncio.sleep(0.01)
            assert await alive(address)
            for connection in opened:
                await connection.send('{"event":"stop"}')
            while len(list(tmp_path.glob("recordings/*/*/stream.json"))) < len(opened):
                await asyncio.sleep(0.01)
            assert process.returncode is None

    asyncio.run(main())


@pytest.mark.blocks
def test_a_process_without_any_descriptor_left_lives_on_and_accepts_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path, 128) as (process, address):
            host, _, port = address.rpartition(":")
            assert await alive(address)
            taken = len(os.listdir(f"/proc/{process.pid}/fd"))
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (taken + 1, 128))
            silent = [socket.create_connection((host, int(port)), timeout=5) for _ in range(20)]
            assert not await alive(address)
            for peer in silent:
                peer.close()
            async with asyncio.timeout(20):
                while not await alive(address):
                    await asyncio.sleep(0.05)
            assert process.returncode is None

    asyncio.run(main())
