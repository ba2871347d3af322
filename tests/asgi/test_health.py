"""Health: alive is one thing, ready for another stream is another, and both listeners say which."""

import asyncio
import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

PLAIN = "def sink(stream, events):\n    for event in events:\n        pass\n"
BROKEN = "async def sink(stream, events):\n    raise ValueError('no use')\n"


def get(address: str, path: str, host: str | None = None) -> tuple[int, str, str]:
    """Status, content type, body."""
    request = urllib.request.Request(f"http://{address}{path}", headers={"Host": host or address})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


async def fetch(address: str, path: str, host: str | None = None) -> tuple[int, str, str]:
    return await asyncio.to_thread(get, address, path, host)


async def readiness(server: Any, reason: str | None) -> None:
    """Wait for this answer on the private listener; the public one then gives the same."""
    expected = (200, {"ready": True}) if reason is None else (503, {"ready": False, "reason": reason})
    async with asyncio.timeout(30):
        while True:
            status, kind, body = await fetch(server.management, "/readyz")
            assert kind == "application/json"
            if (status, json.loads(body)) == expected:
                break
            await asyncio.sleep(0.02)
    assert await fetch(server.public, "/readyz") == (status, kind, body)
    assert await fetch(server.public, "/livez") == (200, "text/plain; charset=utf-8", "ok\n")


def test_while_it_stops_it_is_alive_and_not_ready(running: Any) -> None:
    async def run() -> None:
        async with running() as server:
            await readiness(server, None)
            server.receiver.stopping = True
            await readiness(server, "stopping")
            server.receiver.stopping = False
            server.receiver.registry.draining = True
            await readiness(server, "stopping")

    asyncio.run(run())


def test_a_disk_without_the_space_asked_for(running: Any) -> None:
    async def run() -> None:
        async with running(limits={"free_bytes": 2**62}) as server:
            await readiness(server, "disk")

    asyncio.run(run())


@pytest.mark.blocks  # the folder is taken away by the test itself
def test_a_recordings_folder_that_is_gone_is_made_again(running: Any, hello: Any) -> None:
    async def run() -> None:
        async with running() as server:
            os.rmdir(server.root)
            await asyncio.sleep(1.5)  # the disk is looked at once a second
            await readiness(server, None)
            async with server.dial() as connection:
                await hello(connection)
                async with asyncio.timeout(20):
                    while not server.folders():
                        await asyncio.sleep(0.01)

    asyncio.run(run())


def test_no_thread_left_for_a_plain_sink(running: Any, hello: Any, tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(PLAIN)

    async def run() -> None:
        async with running(sinks={"plain": {"use": "./plain.py", "threads": 1}}) as server:
            await readiness(server, None)
            async with server.dial() as connection:
                await hello(connection)
                await readiness(server, "threads")
            await readiness(server, None)

    asyncio.run(run())


def test_a_stream_all_of_whose_sinks_have_failed(running: Any, hello: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)

    async def run() -> None:
        async with running(sinks={"broken": {"use": "./broken.py"}}) as server, server.dial() as connection:
            await hello(connection)
            await readiness(server, "sinks")
            server.receiver.stopping = True
            await readiness(server, "stopping")  # of several reasons, the one that will not pass

    asyncio.run(run())


def test_metrics_are_prometheus_text_with_every_configured_name(running: Any) -> None:
    async def run() -> None:
        async with running() as server:
            status, kind, body = await fetch(server.management, "/metrics")
            assert status == 200 and kind.startswith("text/plain; version=0.0.4")
            assert 'receiver_streams{source="default"} 0.0' in body
            assert "receiver_draining 0.0" in body
            disk = next(line for line in body.splitlines() if line.startswith("receiver_disk_free_bytes{"))
            assert float(disk.split()[-1]) > 0
            server.receiver.registry.draining = True
            assert "receiver_draining 1.0" in (await fetch(server.management, "/metrics"))[2]

    asyncio.run(run())


def test_the_private_listener_answers_to_its_names_alone(running: Any) -> None:
    async def run() -> None:
        async with running(management={"allowed_hosts": ["metrics.internal"]}) as server:
            for path in ("/metrics", "/livez", "/readyz"):
                assert (await fetch(server.management, path, host="metrics.internal"))[0] == 200
                assert (await fetch(server.management, path, host="metrics.internal:8081"))[0] == 200
                for host in ("evil.example", "127.0.0.1", "www.metrics.internal"):
                    assert (await fetch(server.management, path, host=host))[0] == 400
            assert (await fetch(server.public, "/livez", host="anything.example"))[0] == 200

    asyncio.run(run())
