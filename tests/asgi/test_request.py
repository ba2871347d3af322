"""Until the upgrade, whatever a peer sends: an answer that it receives, in time, in bounds. Over raw sockets.

The numbers in the names of cases are those of the catalogue of bad input that this project answers row by row.
"""

import asyncio
import base64
import contextlib
import gc
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from http.client import responses
from typing import Any
from urllib.parse import urlsplit

import h11
import pytest
import uvicorn
import uvloop
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.h11_impl import H11Protocol

from receiver.asgi.edge import Edge
from receiver.asgi.request import HttpProtocol
from receiver.asgi.server import Side
from receiver.asgi.server import _serving as serving
from receiver.testing import run_receiver

TOKEN = "a-token-of-the-tests"
STOP = '{"event":"stop","sequenceNumber":"3"}'
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
VERSION = b"Sec-WebSocket-Version: 13"
OURS = {"content-length", "content-type", "date", "connection"}
SHORT = {"open_timeout_s": 0.3}

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run on both loops: their transports are not the same."""

    def run(main: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop if request.param == "uvloop" else None) as runner:
            runner.run(main)

    return run


def request(
    *more: bytes,
    first: bytes = b"GET /stream HTTP/1.1",
    host: bytes = b"Host: localhost",
    upgrade: tuple[bytes, ...] = (b"Connection: Upgrade", b"Upgrade: websocket", VERSION, KEY),
    behind: bytes = b"",
) -> bytes:
    """A handshake that would be let in, but for what is different."""
    lines = [first, host, *upgrade, b"Authorization: Bearer " + TOKEN.encode(), *more]
    return b"\r\n".join([line for line in lines if line]) + b"\r\n\r\n" + behind


def upgrade(key: bytes = KEY, version: bytes = VERSION) -> tuple[bytes, ...]:
    return b"Connection: Upgrade", b"Upgrade: websocket", version, key


def many(count: int, size: int = 1) -> tuple[bytes, ...]:
    return tuple(b"X-%d: " % number + b"x" * size for number in range(count))


@contextlib.asynccontextmanager
async def connected(address: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(20):
            yield reader, writer
    finally:
        writer.transport.abort()


async def answer(address: str, *pieces: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send the pieces, each in a segment of its own, and read to the end, or to the end of a 101."""
    async with connected(address) as (reader, writer):
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0)
        raw = await reader.readuntil(b"\r\n\r\n")
        if not raw.startswith(b"HTTP/1.1 101 "):
            raw += await reader.read()
    return parts(raw)


def parts(raw: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    assert first.startswith("HTTP/1.1 ")
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        name = name.lower()
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return int(first.split()[1]), fields, body


HELLO_OF_TLS = bytes.fromhex("16030100c4010000c00303") + bytes(range(60))
MASKED_FRAME = b"\x81\x85\x00\x00\x00\x00hello"
REFUSED = {
    "row-5-65-headers": (431, request(*many(59))),
    "row-5-a-thousand-headers": (431, request(*many(1000))),
    "row-5-a-line-above-8-KiB": (431, request(b"X: " + b"x" * 8190)),
    "row-5-a-line-without-end": (431, request()[:-2] + b"X: " + b"x" * 9000),
    "row-5-above-16-KiB": (431, request(*many(4, 4096))),
    "row-5-a-token-above-16-KiB": (431, request(b"Authorization: Bearer " + b"x" * 16_384)),
    "row-6-a-path-above-8-KiB": (414, request(first=b"GET /" + b"x" * 8192 + b" HTTP/1.1")),
    "row-6-a-request-line-without-end": (414, b"GET /" + b"x" * 9000),
    "row-7-tls": (400, HELLO_OF_TLS),
    "row-7-nul": (400, b"\0"),
    "row-7-words": (400, b"hello, is this the telephone?\r\n"),
    "row-7-binary-in-the-path": (400, b"GET /\xff"),
    "row-7-http-0.9": (400, b"GET /stream\r\n"),
    "row-7-an-empty-line": (400, b"\r\n" + request()),
    "row-7-bare-line-feeds": (400, request().replace(b"\r\n", b"\n")),
    "row-7-one-bare-line-feed": (400, request(b"X: a\nY: b")),
    "row-7-a-bare-carriage-return": (400, request(b"X: a\rY: b")),
    "row-7-a-folded-line": (400, request(b"X: a", b" b")),
    "row-7-no-colon": (400, request(b"X")),
    "row-7-no-name": (400, request(b": x")),
    "row-7-a-space-before-the-colon": (400, request(b"X : a")),
    "row-7-a-name-that-is-none": (400, request(b"X(y): a")),
    "row-7-delete-in-a-value": (400, request(b"X: a\x7fb")),
    "row-7-escape-in-a-value": (400, request(b"X: a\x1b[2Jb")),
    "row-7-nul-in-a-value": (400, request(b"X: a\0b")),
    "row-7-no-host": (400, request(host=b"")),
    "row-7-two-hosts": (400, request(b"Host: elsewhere")),
    "row-7-a-broken-chunk": (
        400,
        request(b"Transfer-Encoding: chunked", first=b"POST /livez HTTP/1.1", upgrade=(), behind=b"zz\r\n"),
    ),
    "row-8-no-upgrade": (426, request(upgrade=())),
    "row-8-connection-does-not-say-upgrade": (426, request(upgrade=(b"Upgrade: websocket", VERSION, KEY))),
    "row-8-upgrade-to-something-else": (426, request(upgrade=(b"Connection: Upgrade", b"Upgrade: h2c"))),
    "row-9-post": (405, request(first=b"POST /stream HTTP/1.1")),
    "row-9-put": (405, request(first=b"PUT /stream HTTP/1.1")),
    "row-9-in-small-letters": (405, request(first=b"get /stream HTTP/1.1")),
    "row-9-post-without-upgrade": (405, request(first=b"POST /stream HTTP/1.1", upgrade=())),
    "row-10-http-1.0": (505, request(first=b"GET /stream HTTP/1.0")),
    "row-10-http-2": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "row-11-no-key": (400, request(upgrade=upgrade(key=b""))),
    "row-11-an-empty-key": (400, request(upgrade=upgrade(key=b"Sec-WebSocket-Key:"))),
    "row-11-a-short-key": (400, request(upgrade=upgrade(key=b"Sec-WebSocket-Key: " + base64.b64encode(b"x" * 15)))),
    "row-11-a-long-key": (400, request(upgrade=upgrade(key=b"Sec-WebSocket-Key: " + base64.b64encode(b"x" * 17)))),
    "row-11-no-base64": (400, request(upgrade=upgrade(key=b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ!!"))),
    "row-11-two-keys": (400, request(KEY)),
    "row-12-version-8": (426, request(upgrade=upgrade(version=b"Sec-WebSocket-Version: 8"))),
    "row-12-version-14": (426, request(upgrade=upgrade(version=b"Sec-WebSocket-Version: 14"))),
    "row-12-several-versions": (426, request(upgrade=upgrade(version=b"Sec-WebSocket-Version: 13, 8"))),
    "row-12-no-version": (426, request(upgrade=upgrade(version=b""))),
    "row-12-two-versions": (400, request(VERSION)),
    "row-13-another-path": (404, request(first=b"GET /other HTTP/1.1")),
    "row-14-a-body": (400, request(b"Content-Length: 5", behind=b"hello")),
    "row-14-a-body-that-does-not-come": (400, request(b"Content-Length: 5")),
    "row-14-chunks": (400, request(b"Transfer-Encoding: chunked", behind=b"0\r\n\r\n")),
    "row-15-a-frame": (400, request(behind=MASKED_FRAME)),
    "row-15-another-request": (400, request(behind=request())),
    "row-18-two-authorizations": (400, request(b"Authorization: Bearer " + TOKEN.encode())),
}
WHOLE = {"row-7-a-broken-chunk", "row-15-a-frame", "row-15-another-request"}
"""In pieces, these are something else: the answer comes before what is wrong."""


@pytest.fixture(scope="module")
def uvloops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of one server for all that it refuses, and its token. It runs on uvloop."""
    with run_receiver(tmp_path_factory.mktemp("server")) as started:
        yield urlsplit(started.url).netloc, started.token


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_a_stream_gets_its_status_and_the_connection_ends(uvloops: tuple[str, str], case: str) -> None:
    status, sent = REFUSED[case]
    address, token = uvloops
    sent = sent.replace(TOKEN.encode(), token.encode())

    async def main() -> None:
        ways = [(sent,)]
        if case not in WHOLE:
            ways += [(sent[:40], sent[40:]), *([bytewise(sent)] if len(sent) < 1000 else [])]
        for pieces in ways:
            got, fields, body = await answer(address, *pieces)
            assert got == status and "close" in fields["connection"].split(", ")
            assert OURS <= set(fields) <= OURS | {"allow", "upgrade", "sec-websocket-version"}
            assert int(fields["content-length"]) == len(body)
            assert body.decode() == responses[status] + "\n" or status in (405, 426)

    asyncio.run(main())


def bytewise(sent: bytes) -> tuple[bytes, ...]:
    return tuple(sent[place : place + 1] for place in range(len(sent)))


def test_none_of_it_made_a_stream_or_a_trace_in_a_log(
    running: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with running() as server:
            for _, sent in REFUSED.values():
                await answer(server.public, sent)
            assert len(server.receiver.registry) == 0 and server.folders() == []
            assert (await answer(server.public, request()))[0] == 101
            assert (await answer(server.public, request(b"Content-Length: 0")))[0] == 101  # there is no body

    asyncio.run(main())
    said = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record for record in said if record.getMessage() != "Invalid HTTP request received."] == []


def test_no_log_has_a_token_or_a_payload_at_any_level(
    running: Callable[..., Any], hello: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    payload = base64.b64encode(b"\x55" * 160).decode()
    media = {"event": "media", "media": {"track": "inbound", "chunk": "1", "timestamp": "0", "payload": payload}}

    async def main() -> None:
        async with running() as server:
            for name in (
                "uvicorn",
                "uvicorn.error",
                "uvicorn.access",
                "uvicorn.asgi",
                "websockets",
                "websockets.server",
            ):
                caplog.set_level(1, name)  # below debug, where uvicorn traces
            for _, sent in REFUSED.values():
                await answer(server.public, sent)
            await answer(server.public, request(first=f"GET /stream?token={TOKEN} HTTP/1.1".encode()))
            await answer(server.public, request(first=f"GET /livez?token={TOKEN} HTTP/1.1".encode(), upgrade=()))
            async with server.dial() as ws:
                await hello(ws)
                await ws.send(json.dumps(media))
                await ws.send(STOP)

    # The client of this test is websockets as well, and says what it sends.
    client = logging.getLogger("websockets.client")
    client.setLevel(logging.WARNING)
    try:
        asyncio.run(main())
    finally:
        client.setLevel(logging.NOTSET)
    assert any(record.name.startswith("uvicorn") for record in caplog.records)
    assert TOKEN not in caplog.text and payload not in caplog.text


def test_row_9_and_row_12_say_what_would_have_been_right(running: Callable[..., Any]) -> None:
    async def main() -> None:
        async with running() as server:
            assert "GET" in (await answer(server.public, request(first=b"POST /stream HTTP/1.1")))[1]["allow"]
            version = b"Sec-WebSocket-Version: 8"
            assert (await answer(server.public, request(upgrade=upgrade(version=version))))[1][
                "sec-websocket-version"
            ] == "13"

    asyncio.run(main())


ADMITTED = {
    "row-5-64-headers": request(*many(58)),
    "row-5-almost-8-KiB": request(b"X: " + b"x" * 8180),
    "row-6-almost-8-KiB": request(first=b"GET /stream?" + b"x" * 8160 + b" HTTP/1.1"),
    "beyond-ascii-in-a-value": request(b"X: \xff \xc3\xbc"),
    "two-connection-headers": request(b"Connection: keep-alive"),
    "a-list-in-the-connection-header": request(
        upgrade=(b"Connection: keep-alive, UPGRADE", b"upgrade: WebSocket", VERSION, KEY)
    ),
    "row-23-an-extension": request(b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"),
    "row-23-an-unknown-extension": request(b"Sec-WebSocket-Extensions: x-audio-in-gold; carat=24"),
    "row-23-subprotocols": request(b"Sec-WebSocket-Protocol: audio.twilio.com, chat"),
}


@pytest.mark.parametrize("sent", ADMITTED.values(), ids=ADMITTED)
def test_what_is_within_bounds_is_let_in_however_it_is_split(running: Callable[..., Any], sent: bytes) -> None:
    async def main() -> None:
        async with running() as server:
            for pieces in ((sent,), tuple(sent[place : place + 700] for place in range(0, len(sent), 700))):
                status, fields, _ = await answer(server.public, *pieces)
                assert (status, fields["sec-websocket-accept"]) == (101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
                assert not {"sec-websocket-extensions", "sec-websocket-protocol", "server"} & set(fields)

    asyncio.run(main())


@pytest.mark.parametrize("size", [8_160, 8_192, 12_000, 15_000])
def test_row_17_a_token_too_long_to_be_one_is_a_wrong_one_and_no_matter_where_none_is_asked_for(
    running: Callable[..., Any], size: int
) -> None:
    async def main() -> None:
        token = b"Authorization: Bearer " + b"x" * size
        sent = request().replace(b"Authorization: Bearer " + TOKEN.encode(), token)
        async with running() as server:
            status, fields, body = await answer(server.public, sent)
            assert (status, fields["www-authenticate"], body) == (401, "Bearer", b"Unauthorized\n")
        async with running(sources={"default": {"auth": {"use": "none"}}}) as server:
            assert (await answer(server.public, sent))[0] == 101

    asyncio.run(main())


def test_row_1_and_row_4_who_says_nothing_or_too_little_is_closed_in_time(
    running: Callable[..., Any], run: Run
) -> None:
    async def until_closed(address: str, sent: bytes, *, slowly: bytes = b"") -> bytes:
        async with connected(address) as (reader, writer):
            writer.write(sent)

            async def more() -> None:
                with contextlib.suppress(ConnectionError):
                    while slowly:
                        await asyncio.sleep(0.02)
                        writer.write(slowly)

            talking = asyncio.create_task(more())
            try:
                return await reader.read()
            finally:
                talking.cancel()

    async def main() -> None:
        async with running(limits=SHORT) as server:
            assert await until_closed(server.public, b"") == b""
            for sent, slowly in (
                (b"G", b""),
                (request()[:30], b""),
                (request()[:-1], b""),
                (request()[:-2], b"X: a\r\n"),
                (b"G", b"E"),
                (request(b"Authorization: Bearer x")[:-4], b"x"),
            ):
                status, fields, body = parts(await until_closed(server.public, sent, slowly=slowly))
                assert (status, fields["connection"], body) == (408, "close", b"Request Timeout\n")

    run(main())


def test_the_deadline_of_the_handshake_is_none_of_a_stream(
    running: Callable[..., Any], hello: Callable[..., Any], run: Run
) -> None:
    async def main() -> None:
        async with running(limits=SHORT) as server:
            async with server.dial() as ws:
                await hello(ws)
                for _ in range(2):
                    async with connected(server.public) as (reader, _):
                        assert await reader.read() == b""  # its time was over, and it was later than ours
                await ws.send(STOP)
            while not list(server.root.glob("*/*/stream.json")):
                await asyncio.sleep(0.01)
            assert server.told()["end"]["reason"] == "stop"

    run(main())


def test_of_too_many_unfinished_handshakes_the_oldest_is_closed(running: Callable[..., Any], run: Run) -> None:
    async def main() -> None:
        async with (
            running(limits={"handshakes": 3, "open_timeout_s": 60}) as server,
            contextlib.AsyncExitStack() as all,
        ):
            waiting = [await all.enter_async_context(connected(server.public)) for _ in range(5)]
            for reader, _ in waiting[:2]:
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
            for reader, writer in waiting[2:]:
                writer.write(request())
                assert (await reader.readline()).startswith(b"HTTP/1.1 101 ")

    run(main())


def test_an_open_stream_takes_no_room_of_those_that_are_not(running: Callable[..., Any], run: Run) -> None:
    async def main() -> None:
        async with running(limits={"handshakes": 1, "open_timeout_s": 60}) as server:
            async with server.dial() as first, server.dial() as second:
                assert await first.ping() and await second.ping()
                assert (await answer(server.public, request()))[0] == 101
                assert await first.ping() and await second.ping()

    run(main())


@pytest.mark.parametrize("first", [b"GET /stream HTTP/1.1", b"POST /livez HTTP/1.1", b"POST /stream HTTP/1.1"])
def test_who_talks_on_receives_the_answer_all_the_same(running: Callable[..., Any], run: Run, first: bytes) -> None:
    async def main() -> None:
        async with running() as server:
            sent = request(b"Content-Length: 1000000", first=first, upgrade=() if b"livez" in first else upgrade())
            for _ in range(5):
                status, _, body = await answer(server.public, sent, b"x" * 100_000, b"x" * 50_000)
                assert status == (400 if first.startswith(b"GET") else 405) and body

    run(main())


def test_who_never_stops_talking_is_cut(running: Callable[..., Any], run: Run) -> None:
    async def main() -> None:
        async with running() as server, connected(server.public) as (reader, writer):
            writer.write(b"\0")
            await reader.readuntil(b"\r\n\r\n")
            with pytest.raises(ConnectionError):
                while True:
                    writer.write(b"x" * 65_536)
                    await writer.drain()

    run(main())


def test_who_does_not_hang_up_is_hung_up_on(running: Callable[..., Any], run: Run) -> None:
    async def main() -> None:
        async with running() as server, connected(server.public) as (reader, writer):
            writer.write(b"\0")
            assert b" 400 " in await reader.read()
            with pytest.raises(ConnectionError):
                while True:
                    await asyncio.sleep(0.05)
                    writer.write(b"x")
                    await writer.drain()

    run(main())


def test_a_connection_is_for_one_request(running: Callable[..., Any], run: Run) -> None:
    async def main() -> None:
        plain = request(first=b"GET /livez HTTP/1.1", upgrade=())
        async with running() as server:
            for address in (server.public, server.management):
                host = b"Host: " + address.encode()
                sent = plain.replace(b"Host: localhost", host)
                for pieces in ((sent,), (sent + sent,), (sent, sent)):
                    status, fields, body = await answer(address, *pieces)
                    assert (status, body, fields["connection"]) == (200, b"ok\n", "close")
                    assert "server" not in fields
            old = request(first=b"GET /livez HTTP/1.0", upgrade=())  # as some balancers ask
            assert (await answer(server.public, old))[2] == b"ok\n"

    run(main())


@contextlib.asynccontextmanager
async def listener(app: Any) -> AsyncIterator[str]:
    """A listener of ours with another application behind it: ours reads no request's body."""
    side = Side(Edge())
    async with serving(app, lambda: socket.create_server(("127.0.0.1", 0)), side) as (host, port):
        yield f"{host}:{port}"


def post(*more: bytes, behind: bytes = b"") -> bytes:
    return request(*more, first=b"POST / HTTP/1.1", upgrade=(), behind=behind)


def test_a_body_that_comes_behind_its_request_is_handed_on(run: Run) -> None:
    async def main() -> None:
        asked = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            body = (await receive())["body"]
            asked.set()
            body += (await receive())["body"]
            await send(
                {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]}
            )
            await send({"type": "http.response.body", "body": body})

        async with listener(app) as address, connected(address) as (reader, writer):
            writer.write(post(b"Content-Length: 10", behind=b"hello"))
            await asked.wait()
            writer.write(b"again")
            assert parts(await reader.read())[::2] == (200, b"helloagain")

    run(main())


def test_a_body_that_breaks_when_its_answer_has_begun_ends_the_connection_without_another(run: Run) -> None:
    async def main() -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
            await send({"type": "http.response.body", "body": b"some", "more_body": True})
            while (await receive())["type"] != "http.disconnect":
                pass
            left.set()

        left = asyncio.Event()
        async with listener(app) as address, connected(address) as (reader, writer):
            writer.write(post(b"Transfer-Encoding: chunked"))
            raw = await reader.readuntil(b"some")
            writer.write(b"zz\r\n")
            raw += await reader.read()
            assert raw.count(b"HTTP/1.1") == 1 and parts(raw)[::2] == (200, b"some")
            await left.wait()

    run(main())


@pytest.mark.parametrize("line", [b"Content-Length: five", b"Content-Length: 1\r\nContent-Length: 2"])
def test_what_only_h11_finds_wrong_gets_the_same_answer(running: Callable[..., Any], run: Run, line: bytes) -> None:
    async def main() -> None:
        async with running() as server:
            sent = request(line, first=b"POST /livez HTTP/1.1", upgrade=())
            status, fields, body = await answer(server.public, sent)
            assert (status, body, set(fields)) == (400, b"Bad Request\n", OURS)

    run(main())


def test_the_management_listener_is_no_websocket(running: Callable[..., Any]) -> None:
    async def main() -> None:
        async with running() as server:
            sent = request(first=b"GET /api/streams HTTP/1.1", host=b"Host: " + server.management.encode())
            assert (await answer(server.management, sent))[0] == 200
            assert (await answer(server.management, b"\0"))[0] == 400

    asyncio.run(main())


def test_refusals_before_a_source_is_known_are_counted(running: Callable[..., Any]) -> None:
    async def main() -> Any:
        async with running(limits=SHORT) as server:
            for _ in range(3):
                await answer(server.public, b"\0")
            await answer(server.public, request(VERSION))
            async with connected(server.public) as (reader, _):
                await reader.read()
            return (await asyncio.to_thread(server.receiver.metrics.render))[0].decode()

    figures = asyncio.run(main())
    for reason, count in (("request_unreadable", 3), ("websocket_version", 1), ("open_timeout", 1)):
        assert f'receiver_handshakes_refused_total{{reason="{reason}",source="other"}} {count}.0' in figures


def test_a_connection_that_is_lost_early_leaves_nothing(running: Callable[..., Any], run: Run) -> None:
    async def main() -> None:
        async with running() as server:
            before = set(asyncio.all_tasks())
            for sent in (b"", b"GET", request(), request(first=b"GET /livez HTTP/1.1", upgrade=()), b"\0"):
                async with connected(server.public) as (_, writer):
                    writer.write(sent)
            async with asyncio.timeout(20):
                while set(asyncio.all_tasks()) - before:
                    await asyncio.sleep(0.01)
            assert len(server.receiver.registry) == 0

    run(main())


# What this relies on, of libraries that move.


class Own(asyncio.Protocol):
    """A protocol that is not uvicorn's."""


@pytest.mark.parametrize("sent", [b"", b"GET", b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", b"no\r\n\r\n"])
def test_a_connection_that_is_over_waits_for_no_garbage_collection(
    running: Callable[..., Any], run: Run, sent: bytes
) -> None:
    def there() -> int:
        return sum(isinstance(thing, HttpProtocol) for thing in gc.get_objects())

    async def main() -> None:
        async with running() as server:
            gc.collect()
            gc.disable()
            try:
                async with connected(server.public) as (reader, writer):
                    while not there():
                        await asyncio.sleep(0.01)
                    writer.write(sent)
                    if sent.endswith(b"\n"):
                        assert await reader.read()
                async with asyncio.timeout(20):
                    while there():
                        await asyncio.sleep(0.01)
            finally:
                gc.enable()

    run(main())


def test_a_protocol_is_made_when_a_connection_is_accepted_before_any_bytes(run: Run) -> None:
    async def main() -> None:
        made = asyncio.Event()

        def make() -> asyncio.Protocol:
            made.set()
            return asyncio.Protocol()

        with socket.create_server(("127.0.0.1", 0)) as bound:
            server = await asyncio.get_running_loop().create_server(make, sock=bound)
            async with connected(f"127.0.0.1:{bound.getsockname()[1]}"):
                async with asyncio.timeout(20):
                    await made.wait()
            server.close()

    run(main())


def test_uvicorn_takes_classes_of_its_own_for_both_protocols() -> None:
    config = uvicorn.Config(lambda: None, http=Own, ws=Own, log_config=None)  # type: ignore[arg-type]
    config.load()
    assert config.http_protocol_class is Own and config.ws_protocol_class is Own  # type: ignore[comparison-overlap]


def test_uvicorn_starts_an_answer_in_a_task_that_has_not_run_when_the_request_was_read(run: Run) -> None:
    """Until then its headers and its transport can be changed."""
    told: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        told.append("ran")
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    class Protocol(H11Protocol):
        def handle_events(self) -> None:
            super().handle_events()
            if self.cycle is not None and not told:
                told.append("read")
                assert self.cycle.transport is self.transport
                self.cycle.default_headers = [CLOSE_HEADER]

    async def main() -> None:
        config = uvicorn.Config(app, http=Protocol, log_config=None, lifespan="off")  # type: ignore[arg-type]
        server = uvicorn.Server(config)
        with socket.create_server(("127.0.0.1", 0)) as bound:
            task = asyncio.create_task(server.serve(sockets=[bound]))
            while not server.started:
                await asyncio.sleep(0.01)
            got = await answer(f"127.0.0.1:{bound.getsockname()[1]}", request(upgrade=()))
            server.should_exit = True
            await task
        assert (got[0], got[1]["connection"], told) == (204, "close", ["read", "ran"])

    run(main())


def test_h11_finds_the_end_of_a_head_where_we_do() -> None:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(request(upgrade=(), behind=b"behind"))
    event = connection.next_event()
    assert isinstance(event, h11.Request) and event.method == b"GET"
    assert connection.trailing_data == (b"behind", False)
