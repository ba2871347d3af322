"""Whoever may not connect is told so by a status before the upgrade, and learns nothing else."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect, unix_connect
from websockets.exceptions import InvalidStatus

from receiver.asgi.handshake import deny, peer_address, upgrade_of
from receiver.asgi.protocol import WebSocketProtocol
from receiver.errors import AccessDenied

OURS = {"content-type", "content-length", "connection", "date"}


async def refusal(dialling: connect) -> tuple[int, dict[str, str], bytes]:
    with pytest.raises(InvalidStatus) as refused:
        async with dialling:
            pass
    response = refused.value.response
    headers = {name.lower(): value for name, value in response.headers.raw_items()}
    return response.status_code, headers, bytes(response.body or b"")


@asynccontextmanager
async def serving(endpoint: Callable[[WebSocket], Any], bound: socket.socket, app: Any = None) -> AsyncIterator[None]:
    app = app or Starlette(routes=[WebSocketRoute("/", endpoint)])
    config = uvicorn.Config(app, ws=WebSocketProtocol, http="h11", log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[bound]))
    while not server.started:
        assert not task.done(), await task
        await asyncio.sleep(0.01)
    yield
    server.should_exit = True
    await task


def test_who_has_no_token_gets_401_with_the_scheme_and_one_word(running: Any) -> None:
    async def run() -> None:
        async with running() as server:
            status, headers, body = await refusal(server.dial(token="wrong"))
            assert (status, body) == (401, b"Unauthorized\n")
            assert headers["www-authenticate"] == "Bearer"
            assert set(headers) <= OURS | {"www-authenticate"}

    asyncio.run(run())


@pytest.mark.parametrize("why", ["draining", "streams", "disk"])
def test_who_has_no_token_learns_nothing_about_how_full_we_are(running: Any, why: str) -> None:
    async def run() -> None:
        async with running() as roomy:
            before = await refusal(roomy.dial(token="wrong"))
        async with running(limits={"streams": 1, "free_bytes": 2**62 if why == "disk" else 0}) as server:
            held = None
            if why == "draining":
                server.receiver.registry.draining = True
            elif why == "streams":
                held = await server.dial()
            while why == "disk" and server.receiver.not_ready() != "disk":
                await asyncio.sleep(0.01)
            stranger, known = await refusal(server.dial(token="wrong")), await refusal(server.dial())
            if held is not None:
                await held.close()
            assert known[0] == 503 and known[2] == b"Service Unavailable\n"
            assert known[1]["retry-after"] == "5"
            assert set(known[1]) <= OURS | {"retry-after"}
            for answer in (before, stranger):
                answer[1].pop("date", None)
            assert stranger == before

    asyncio.run(run())


def test_a_path_nobody_serves_and_a_request_that_makes_no_sense_have_their_words(running: Any) -> None:
    async def run() -> None:
        async with running() as server:

            async def ask(path: str, headers: list[tuple[str, str]]) -> tuple[int, bytes]:
                dialling = connect(f"ws://{server.public}{path}", additional_headers=headers, proxy=None)
                status, _, body = await refusal(dialling)
                return status, body

            assert await ask("/other", []) == (404, b"Not Found\n")
            twice = [("Authorization", "Bearer a"), ("Authorization", "Bearer b")]
            assert await ask("/stream", twice) == (400, b"Bad Request\n")

    asyncio.run(run())


def test_every_refusal_is_told_to_us_with_our_reason(running: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with running() as server:
            await refusal(server.dial(token="a-strangers-secret"))
            await refusal(connect(server.url, proxy=None))
            server.receiver.registry.draining = True
            await refusal(server.dial())

    asyncio.run(run())
    said: list[Any] = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    refused = [line for line in said if line["event"] == "handshake_refused"]
    assert [(line["status"], line["source"], line["peer"]) for line in refused] == [
        (401, "default", "127.0.0.1"),
        (401, "default", "127.0.0.1"),
        (503, "default", "127.0.0.1"),
    ]
    assert refused[2]["reason"] == "draining"
    assert "a-strangers-secret" not in str(said)


def test_a_status_without_a_word_of_its_own_is_refused_in_general() -> None:
    async def endpoint(websocket: WebSocket) -> None:
        await deny(websocket, AccessDenied(499, "secret-reason", {"X-Hint": "later"}))

    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as bound:
            async with serving(endpoint, bound):
                url = f"ws://127.0.0.1:{bound.getsockname()[1]}/"
                status, headers, body = await refusal(connect(url, proxy=None))
        assert (status, body, headers["x-hint"]) == (499, b"Refused\n", "later")

    asyncio.run(run())


@pytest.mark.parametrize("raw", [True, False])
def test_an_authenticator_is_told_the_path_as_it_was_sent_with_the_prefix_of_a_mount(raw: bool) -> None:
    async def endpoint(websocket: WebSocket) -> None:
        upgrade = upgrade_of(websocket)
        await websocket.accept()
        told = {"path": upgrade.path.decode(), "query": upgrade.query.decode(), "parameters": dict(upgrade.parameters)}
        await websocket.send_json({**told, "headers": [name.decode() for name, _ in upgrade.headers]})
        await websocket.close()

    mounted = Starlette(routes=[Mount("/below/{tenant}", routes=[WebSocketRoute("/calls/{token}", endpoint)])])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await mounted({name: value for name, value in scope.items() if raw or name != "raw_path"}, receive, send)

    async def run() -> dict[str, Any]:
        with socket.create_server(("127.0.0.1", 0)) as bound:
            async with serving(endpoint, bound, app):
                url = f"ws://127.0.0.1:{bound.getsockname()[1]}/below/acme/calls/a%20%7eb?x=%20&y"
                async with connect(url, additional_headers={"X-One": "1"}, proxy=None) as connection:
                    told: dict[str, Any] = json.loads(await connection.recv())
        return told

    told = asyncio.run(run())
    assert told["path"] == ("/below/acme/calls/a%20%7eb" if raw else "/below/acme/calls/a%20~b")
    assert told["query"] == "x=%20&y"
    assert told["parameters"] == {"tenant": "acme", "token": "a ~b"}
    assert "x-one" in told["headers"]


ORIGINS = {"default": {"auth": {"use": "none"}, "origins": ["https://app.example.com"]}}


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://app.example.com", 101),
        ("HTTPS://App.Example.com", 101),
        ("https://app.example.com:8443", 403),
        ("https://app.example.com.evil.example", 403),
        ("http://app.example.com", 403),
        ("https://evil.example", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_row_21_a_page_connects_where_it_is_asked_to(running: Any, origin: str, status: int) -> None:
    async def run() -> None:
        async with running(sources=ORIGINS) as server:
            dialling = connect(server.url, additional_headers={"Origin": origin}, proxy=None)
            if status == 101:
                await (await dialling).close()
            else:
                assert (await refusal(dialling))[::2] == (status, b"Forbidden\n")

    asyncio.run(run())


def test_row_21_without_a_list_no_page_connects_not_even_with_a_token(running: Any) -> None:
    async def run() -> None:
        async with running() as server:
            for origin in ("https://app.example.com", "null"):
                headers = {"Origin": origin, "Authorization": "Bearer a-token-of-the-tests"}
                assert (await refusal(connect(server.url, additional_headers=headers, proxy=None)))[0] == 403

    asyncio.run(run())


def events(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    said: list[Any] = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    return [line for line in said if line["event"] == event]


def test_row_26_many_failures_are_refused_and_logged_once_and_a_right_token_is_let_in_all_the_same(
    running: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> str:
        async with running(limits={"auth_failures_per_minute": 3}) as server:
            for number in range(10):
                status, headers, body = await refusal(server.dial(token="wrong"))
                if number < 3:
                    assert (status, headers["www-authenticate"]) == (401, "Bearer")
                else:
                    assert (status, body) == (429, b"Too Many Requests\n")
                    assert 0 < int(headers["retry-after"]) <= 60
                    assert "www-authenticate" not in headers
            async with server.dial():
                assert (await refusal(server.dial(token="wrong")))[0] == 429
            return (await asyncio.to_thread(server.receiver.metrics.render))[0].decode()

    figures = asyncio.run(run())
    assert 'receiver_handshakes_refused_total{reason="auth_failures",source="default"} 8.0' in figures
    assert len(events(caplog, "handshake_refused")) == 3
    (told,) = events(caplog, "too_many_failures")
    assert told["peer"] == "127.0.0.1"


def test_row_22_and_row_26_behind_a_trusted_proxy_every_client_counts_by_itself(
    running: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async def fail(server: Any, client: str) -> int:
            headers = {"X-Forwarded-For": client, "Authorization": "Bearer wrong"}
            return (await refusal(connect(server.url, additional_headers=headers, proxy=None)))[0]

        limits = {"auth_failures_per_minute": 1}
        async with running(limits=limits, server={"trusted_proxies": ["127.0.0.0/8"]}) as server:
            assert [await fail(server, client) for client in ("192.0.2.1", "192.0.2.2", "192.0.2.1")] == [401, 401, 429]
            assert await fail(server, "192.0.2.3, 192.0.2.1") == 429  # it cannot make up another
        async with running(limits=limits) as server:
            assert [await fail(server, client) for client in ("192.0.2.1", "192.0.2.2")] == [401, 429]

    asyncio.run(run())
    assert [line["peer"] for line in events(caplog, "handshake_refused")] == ["192.0.2.1", "192.0.2.2", "127.0.0.1"]


@pytest.mark.parametrize(("trusted", "expected"), [(["127.0.0.1"], "192.0.2.1"), ([], "127.0.0.1")])
def test_row_22_a_stream_says_who_the_peer_is_by_the_word_of_trusted_proxies(
    running: Any, hello: Any, trusted: list[str], expected: str
) -> None:
    async def run() -> None:
        async with running(
            server={"trusted_proxies": trusted}, sources={"default": {"auth": {"use": "none"}}}
        ) as server:
            headers = {"X-Forwarded-For": "203.0.113.9, 192.0.2.1"}
            async with connect(server.url, additional_headers=headers, proxy=None) as connection:
                await hello(connection)
                await connection.send('{"event":"stop","sequenceNumber":"3"}')
            while not list(server.root.glob("*/*/stream.json")):
                await asyncio.sleep(0.01)
            assert server.told()["peer_address"] == expected

    asyncio.run(run())


def test_a_peer_without_an_address_has_an_empty_one(tmp_path: Path) -> None:
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(f"<{peer_address(websocket)}>")
        await websocket.close()

    async def run() -> None:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(tmp_path / "s"))
            bound.listen()
            async with serving(endpoint, bound), unix_connect(str(tmp_path / "s"), "ws://localhost/") as connection:
                assert await connection.recv() == "<>"

    asyncio.run(run())
