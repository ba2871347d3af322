"""Who may ask the private listener for what, over real sockets."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from receiver.errors import ConfigError

LOOK, ACT = "look-4711", "act-0815"


def ask(address: str, path: str, *tokens: str, method: str = "GET", host: str = "localhost") -> tuple[int, Any, str]:
    """Status, body and challenge. More than one token: so many ``Authorization`` headers."""
    request = urllib.request.Request(f"http://{address}{path}", method=method, headers={"Host": host})
    for token in tokens:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read().decode(), ""
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read()), error.headers.get("WWW-Authenticate", "")


@pytest.fixture
def guarded(running: Any, tmp_path: Path) -> Callable[..., Any]:
    (tmp_path / "look.txt").write_text(LOOK)
    (tmp_path / "act.txt").write_text(ACT)
    tokens = [
        {"name": "prometheus", "file": "look.txt", "scopes": ["read"]},
        {"name": "operator", "file": "act.txt", "scopes": ["read", "control"]},
    ]
    return lambda **tables: running(management={"port": 0, "host": "0.0.0.0", "auth": {"tokens": tokens}}, **tables)


def test_without_a_token_there_is_health_and_nothing_else(guarded: Any) -> None:
    async def run() -> None:
        async with guarded() as server:
            for path in ("/livez", "/readyz"):
                assert (await asyncio.to_thread(ask, server.management, path))[0] == 200
            for path in ("/metrics", "/api/streams", "/nothing", "/livez/", "//livez", "/livez%2f..%2fmetrics"):
                answer = await asyncio.to_thread(ask, server.management, path)
                assert answer == (401, {"error": "Unauthorized"}, "Bearer"), path

    asyncio.run(run())


@pytest.mark.parametrize("token", ["wrong", "", "Look-4711", f"{LOOK}0", LOOK[:-1]])
def test_every_wrong_token_gets_the_same_answer(guarded: Any, token: str, capture_logs: Any) -> None:
    async def run() -> None:
        async with guarded() as server:
            answer = await asyncio.to_thread(ask, server.management, "/metrics", token)
            assert answer == (401, {"error": "Unauthorized"}, "Bearer")

    with capture_logs() as logs:
        asyncio.run(run())
    [line] = [line for line in logs if line["event"] == "management_refused"]
    assert line["peer"] == "127.0.0.1" and line["path"] == "/metrics"
    assert not token or token not in json.dumps(line)


def test_a_token_is_good_for_its_scopes_alone(guarded: Any) -> None:
    async def run() -> None:
        async with guarded() as server:
            status, body, _ = await asyncio.to_thread(ask, server.management, "/metrics", LOOK)
            assert status == 200 and "receiver_streams" in body
            for method in ("POST", "DELETE", "PUT"):
                status, _, challenge = await asyncio.to_thread(
                    ask, server.management, "/api/streams/x/pause", LOOK, method=method
                )
                assert (status, challenge) == (403, 'Bearer error="insufficient_scope", scope="control"')
            assert (await asyncio.to_thread(ask, server.management, "/api/streams", ACT))[0] == 200
            status, body, _ = await asyncio.to_thread(
                ask, server.management, "/api/streams/x/pause", ACT, method="POST"
            )
            assert (status, body) == (404, {"error": "no live stream of this id"})

    asyncio.run(run())


def test_failures_are_limited_by_address_and_a_right_token_passes_all_the_same(guarded: Any, capture_logs: Any) -> None:
    async def run() -> None:
        async with guarded(limits={"auth_failures_per_minute": 2}) as server:
            statuses = [(await asyncio.to_thread(ask, server.management, "/metrics", "wrong"))[0] for _ in range(5)]
            assert statuses == [401, 401, 429, 429, 429]
            assert (await asyncio.to_thread(ask, server.management, "/metrics", LOOK))[0] == 200

    with capture_logs() as logs:
        asyncio.run(run())
    assert len([line for line in logs if line["event"] == "management_refused"]) == 3


def test_another_host_name_is_refused_also_with_a_token(guarded: Any) -> None:
    async def run() -> None:
        async with guarded() as server:
            request = urllib.request.Request(f"http://{server.management}/metrics")
            request.add_header("Authorization", f"Bearer {LOOK}")
            request.add_header("Host", "evil.example")
            with pytest.raises(urllib.error.HTTPError) as caught:
                await asyncio.to_thread(urllib.request.urlopen, request, timeout=10)
            caught.value.close()
            assert caught.value.code == 400

    asyncio.run(run())


def test_a_changed_file_is_the_token_from_then_on(guarded: Any, tmp_path: Path) -> None:
    async def run() -> None:
        async with guarded() as server:
            assert (await asyncio.to_thread(ask, server.management, "/metrics", LOOK))[0] == 200
            (tmp_path / "look.txt").write_text("another")
            while (await asyncio.to_thread(ask, server.management, "/metrics", "another"))[0] != 200:
                await asyncio.sleep(0.05)
            assert (await asyncio.to_thread(ask, server.management, "/metrics", LOOK))[0] == 401

    asyncio.run(run())


def test_a_token_that_is_missing_stops_the_start_before_anything_opens(running: Any, tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    (tmp_path / "mine.py").write_text(
        "from contextlib import asynccontextmanager\nfrom pathlib import Path\n"
        f"@asynccontextmanager\nasync def plugin():\n    Path({str(opened)!r}).touch()\n    yield lambda s, e: None\n"
    )
    tokens = [{"name": "prometheus", "file": "nowhere.txt", "scopes": ["read"]}]

    async def run() -> None:
        async with running(management={"port": 0, "auth": {"tokens": tokens}}, sinks={"mine": {"use": "./mine.py"}}):
            raise AssertionError("it has started")

    with pytest.raises(ConfigError) as caught:
        asyncio.run(run())
    assert caught.value.key == "management.auth.tokens.0"
    assert not opened.exists()
