"""Whoever may not connect is answered by an HTTP status, before any 101, and learns nothing from the answer."""

import asyncio
import base64
import hashlib
import hmac
import io
import json
import logging
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from receiver import logs

TOKEN = "a-token-of-the-tests"
STOP = '{"event":"stop","sequenceNumber":"3"}'
BODY = b"Unauthorized\n"
ANY_NUMBER = {"auth_failures_per_minute": 0}
Headers = list[bytes]


async def ask(address: str, *headers: bytes, path: bytes = b"/stream", upgrade: bool = True) -> bytes:
    """The whole answer to a handshake, byte by byte; only its head where the connection is kept."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = [b"GET " + path + b" HTTP/1.1", b"Host: " + address.encode()]
    if upgrade:
        lines += [b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"]
        lines += [b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    else:
        lines += [b"Connection: close"]
    writer.write(b"\r\n".join([*lines, *headers]) + b"\r\n\r\n")
    try:
        async with asyncio.timeout(20):
            answer = await reader.readuntil(b"\r\n\r\n")
            if b" 101 " not in answer.partition(b"\r\n")[0]:
                answer += await reader.read()
    finally:
        writer.close()
    return answer


def parts(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    assert first.startswith("HTTP/1.1 ")
    return int(first.split()[1]), {line.split(":")[0].lower(): line.split(": ", 1)[1] for line in lines}, body


def bearer(token: bytes) -> bytes:
    return b"Authorization: Bearer " + token


RIGHT = TOKEN.encode()
REFUSED: dict[str, Headers] = {
    "row-16-missing": [],
    "row-17-empty": [b"Authorization:"],
    "row-17-scheme-alone": [b"Authorization: Bearer"],
    "row-17-wrong-token": [bearer(b"wrong")],
    "row-17-token-and-more": [bearer(RIGHT + b"x")],
    "row-17-part-of-the-token": [bearer(RIGHT[:-1])],
    "row-17-case-of-the-token": [bearer(RIGHT.upper())],
    "row-17-no-scheme": [b"Authorization: " + RIGHT],
    "row-17-basic": [b"Authorization: Basic " + RIGHT],
    "row-17-token-scheme": [b"Authorization: Token " + RIGHT],
    "row-17-two-tokens": [bearer(RIGHT + b", Bearer " + RIGHT)],
    "row-17-quoted": [bearer(b'"' + RIGHT + b'"')],
    "row-17-8-kib": [bearer(b"x" * 8000)],
    "row-17-proxy-authorization": [b"Proxy-Authorization: Bearer " + RIGHT],
}


def test_who_has_no_token_is_answered_with_401_and_always_the_same(running: Callable[..., Any]) -> None:
    async def main() -> None:
        async with running() as server:
            answers = {name: parts(await ask(server.public, *headers)) for name, headers in REFUSED.items()}
            for name, (status, fields, body) in answers.items():
                assert (name, status, fields.pop("www-authenticate"), body) == (name, 401, "Bearer", BODY)
                assert (name, set(fields)) == (name, {"content-length", "content-type", "date", "connection"})
            assert server.folders() == []
            assert len(server.receiver.registry) == 0

    asyncio.run(main())


IMPOSSIBLE = {
    "row-17-trailing-nul": RIGHT + b"\x00",
    "row-17-utf-8": RIGHT[:5] + "ü".encode() + RIGHT[6:],
    "row-17-latin-1": RIGHT + b"\xff",
    "row-17-delete": RIGHT + b"\x7f",
}


@pytest.mark.parametrize("size", [8 * 1024, 9_000, 12_000])
def test_row_17_a_token_longer_than_a_line_may_be_is_a_wrong_one(running: Callable[..., Any], size: int) -> None:
    async def main() -> None:
        async with running() as server:
            status, fields, body = parts(await ask(server.public, bearer(b"x" * size)))
            assert (status, fields["www-authenticate"], body) == (401, "Bearer", BODY)
            assert len(server.receiver.registry) == 0

    asyncio.run(main())


def test_a_token_that_no_header_may_hold_is_answered_and_never_let_in(running: Callable[..., Any]) -> None:
    async def main() -> None:
        async with running() as server:
            for name, value in IMPOSSIBLE.items():
                answer = await ask(server.public, bearer(value))
                assert parts(answer)[0] in (400, 401), name
                assert RIGHT not in answer and value not in answer, name
            assert len(server.receiver.registry) == 0

    asyncio.run(main())


def test_the_right_token_is_let_in_however_the_header_is_written(running: Callable[..., Any]) -> None:
    headers = [
        bearer(RIGHT),
        b"authorization: bearer " + RIGHT,
        b"AUTHORIZATION: BEARER   " + RIGHT,
        b"Authorization:Bearer " + RIGHT + b"  ",
    ]

    async def main() -> None:
        async with running() as server:
            for header in headers:
                status, fields, _ = parts(await ask(server.public, header))
                assert (status, fields["sec-websocket-accept"]) == (101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), header

    asyncio.run(main())


def test_row_18_two_authorization_headers_are_a_bad_request(running: Callable[..., Any]) -> None:
    pairs = [[bearer(RIGHT)] * 2, [bearer(RIGHT), bearer(b"wrong")], [bearer(b"wrong"), b"authorization: Basic x"]]

    async def main() -> None:
        async with running() as server:
            for headers in pairs:
                status, fields, body = parts(await ask(server.public, *headers))
                assert (status, body) == (400, b"Bad Request\n"), headers
                assert "sec-websocket-accept" not in fields

    asyncio.run(main())


def test_row_19_a_token_in_the_address_does_not_count(
    running: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with running() as server:
            for query in (b"?token=", b"?access_token=", b"?Authorization=Bearer%20", b"?"):
                status, fields, body = parts(await ask(server.public, path=b"/stream" + query + RIGHT))
                assert (status, fields["www-authenticate"], body) == (401, "Bearer", BODY), query

    asyncio.run(main())
    assert "handshake_refused" in caplog.text
    assert "completing handshake" not in caplog.text


def replaced(path: Path, text: str) -> None:
    """Replace a file as a secret's mount does."""
    new = path.with_suffix(".new")
    new.write_text(text)
    os.rename(new, path)


@pytest.mark.blocks  # a token's file is small and local, and read on the loop
def test_row_20_after_a_rotation_the_old_token_is_refused_and_the_next_let_in(
    running: Callable[..., Any], tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("the-first\n")
    auth = {"use": "bearer", "tokens": [{"name": "mounted", "file": str(file)}]}

    async def main() -> None:
        async with running(sources={"default": {"auth": auth}}) as server:
            assert parts(await ask(server.public, bearer(b"the-first")))[0] == 101
            assert parts(await ask(server.public, bearer(b"the-next")))[0] == 401
            replaced(file, "the-next\n")
            async with asyncio.timeout(20):
                while parts(await ask(server.public, bearer(b"the-first")))[0] != 401:
                    await asyncio.sleep(0.05)
            assert parts(await ask(server.public, bearer(b"the-next")))[0] == 101
            replaced(file, "")  # half written, or emptied by mistake: the last good one stays
            await asyncio.sleep(0.6)
            assert parts(await ask(server.public, bearer(b"the-next")))[0] == 101

    asyncio.run(main())


async def recorded(server: Any, count: int) -> list[dict[str, Any]]:
    """What is told of the streams, the oldest first."""
    async with asyncio.timeout(20):
        while len(found := list(server.root.glob("*/*/stream.json"))) < count:
            await asyncio.sleep(0.01)
    return [json.loads(path.read_text()) for path in sorted(found)]


@pytest.mark.blocks
def test_several_tokens_are_valid_at_once_and_a_stream_tells_which_it_was(
    running: Callable[..., Any], hello: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("from-a-file")
    tokens = [{"name": "main", "env": "RECEIVER_TOKEN"}, {"name": "next", "file": str(tmp_path / "token")}]

    async def main() -> list[dict[str, Any]]:
        async with running(sources={"default": {"auth": {"use": "bearer", "tokens": tokens}}}) as server:
            for count, token in enumerate((TOKEN, "from-a-file", TOKEN), 1):
                async with server.dial(token) as ws:
                    await hello(ws)
                    await ws.send(STOP)
                told = await recorded(server, count)
            return told

    told = asyncio.run(main())
    assert [each["token"] for each in told] == ["main", "next", "main"]
    assert "from-a-file" not in json.dumps(told) and TOKEN not in json.dumps(told)


def test_a_source_without_authentication_lets_everybody_in(
    running: Callable[..., Any], hello: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> list[dict[str, Any]]:
        async with running(sources={"default": {"auth": {"use": "none"}}}) as server:
            assert parts(await ask(server.public))[0] == 101
            async with server.dial("whatever") as ws:
                await hello(ws)
                await ws.send(STOP)
            return await recorded(server, 1)

    (told,) = asyncio.run(main())
    assert told["token"] is None
    assert "source_without_authentication" in caplog.text


@pytest.mark.blocks
def test_a_token_of_one_source_is_none_of_anothers(running: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "two").write_text("token-of-two")
    sources = {
        "one": {"path": "/one", "auth": {"use": "bearer", "tokens": [{"name": "one", "env": "RECEIVER_TOKEN"}]}},
        "two": {"path": "/two/{place}", "auth": {"use": "bearer", "tokens": [{"name": "two", "file": "two"}]}},
    }

    async def main() -> None:
        async with running(sources=sources) as server:
            assert parts(await ask(server.public, bearer(RIGHT), path=b"/one"))[0] == 101
            assert parts(await ask(server.public, bearer(RIGHT), path=b"/two/here"))[0] == 401
            assert parts(await ask(server.public, bearer(b"token-of-two"), path=b"/two/here"))[0] == 101
            assert parts(await ask(server.public, bearer(b"token-of-two"), path=b"/one"))[0] == 401

    asyncio.run(main())


INSIDE = {
    "default": {
        "path": "/calls/{token}/{tenant}",
        "auth": {"use": "path_token", "tokens": [{"name": "main", "env": "RECEIVER_TOKEN"}]},
    }
}
KEY = "0123456789abcdef0123456789abcdef"
PUBLIC = "wss://voice.example.com/below"


def signing(path: str = "/signed/{tenant}", **auth: Any) -> dict[str, Any]:
    auth = {"use": "twilio_signature", "key": {"file": "key"}, "public_url": PUBLIC, **auth}
    return {"default": {"path": path, "dialect": "twilio", "auth": auth}}


def signed(path: str, key: str = KEY, public_url: str = PUBLIC) -> bytes:
    """Twilio's header for a path, without our code."""
    digest = hmac.new(key.encode(), (public_url + path).encode(), hashlib.sha1).digest()
    return b"X-Twilio-Signature: " + base64.b64encode(digest)


FORBIDDEN = (403, b"Forbidden\n", {"content-length", "content-type", "date", "connection"})
WRONG_PATHS = [
    *(RIGHT[:end] for end in range(1, len(RIGHT))),
    *(RIGHT + extra for extra in (b"x", b"%00", b"%20", b"%2e", b"%ff", b"%", b";a=b", b"=", b"&")),
    *(extra + RIGHT for extra in (b"x", b"%00", b"%20", b"%2e", b"%ff", b"%", b";")),
    *(RIGHT.upper(), RIGHT[::-1], RIGHT * 2, RIGHT.replace(b"a", b"%2561"), b"{token}", b"%7Btoken%7D", b"main", b"*"),
    *(b"null", b"%C0%AE", b"x" * 4000, hashlib.sha256(RIGHT).hexdigest().encode(), b"Bearer%20" + RIGHT),
]
ELSEWHERE = [b"/calls/" + RIGHT, b"/calls//x", b"/calls/./" + RIGHT, b"/" + RIGHT + b"/x", b"/calls/x/" + RIGHT + b"/x"]


def test_a_token_in_the_path_is_let_in_and_every_other_is_answered_with_403_and_always_the_same(
    running: Callable[..., Any],
) -> None:
    async def main() -> None:
        async with running(sources=INSIDE, limits=ANY_NUMBER) as server:
            for wrong in WRONG_PATHS:
                status, fields, body = parts(await ask(server.public, path=b"/calls/" + wrong + b"/acme"))
                assert (status, body, set(fields)) == FORBIDDEN, wrong
            for headers in (
                [bearer(RIGHT)],
                [b"Cookie: token=" + RIGHT],
                [b"X-Original-URL: /calls/" + RIGHT + b"/acme"],
            ):
                answer = parts(await ask(server.public, *headers, path=b"/calls/x/acme?token=" + RIGHT))
                assert answer[0] == 403, headers
            for path in ELSEWHERE:
                assert parts(await ask(server.public, path=path))[0] in (403, 404), path
            assert len(server.receiver.registry) == 0
            for right in (RIGHT, b"%61" + RIGHT[1:]):  # RFC 3986, section 6.2.2.2: the same path
                assert parts(await ask(server.public, path=b"/calls/" + right + b"/acme"))[0] == 101

    asyncio.run(main())


BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def wrong_signatures() -> Iterator[Headers]:
    right = signed("/signed/acme")
    name, value = right.split(b": ")
    yield []
    for place in range(len(value)):
        yield [name + b": " + value[:place] + (b"A" if value[place : place + 1] != b"A" else b"B") + value[place + 1 :]]
    for spare in (1, 2, 3):  # bits that base64 has to spare
        yield [right[:-2] + BASE64[(at := BASE64.index(right[-2])) ^ spare : (at ^ spare) + 1] + b"="]
    yield from (
        [right[:-1]],
        [right + b"="],
        [right + b", " + value],
        [name + b":"],
        [name + b": \xff"],
        [name + b": x"],
    )
    yield from ([right, right], [right, name + b": x"], [name.lower() + b": x", right])
    yield from ([b"X-Signalwire-Signature: " + value], [b"Authorization: " + value], [bearer(KEY.encode())])
    for path in (
        "",
        "/",
        "/signed",
        "/signed/acm",
        "/signed/acmE",
        "/signed/acme?",
        "/signed/acme?a=1",
        "/signed/acme//",
    ):
        yield [signed(path)]
    for public_url in ("ws://voice.example.com/below", "wss://voice.example.com", "wss://evil.example/below", ""):
        yield [signed("/signed/acme", public_url=public_url), b"X-Forwarded-Host: evil.example"]
    for key in ("", KEY[:-1], KEY.upper(), f"{KEY}\n", "main", TOKEN):
        yield [signed("/signed/acme", key)]


@pytest.mark.blocks  # a key's file is small and local, and read on the loop
def test_a_signed_request_is_let_in_and_every_other_is_answered_with_403_and_always_the_same(
    running: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(KEY)

    async def main() -> None:
        async with running(sources=signing(), limits=ANY_NUMBER) as server:
            for headers in wrong_signatures():
                status, fields, body = parts(await ask(server.public, *headers, path=b"/signed/acme"))
                assert (status, body, set(fields)) == FORBIDDEN, headers
            for path in (b"/signed/other", b"/signed/acme?", b"/signed/acm?e=", b"/signed/acme?a=1", b"/signed/%61cme"):
                status = parts(await ask(server.public, signed("/signed/acme"), path=path))[0]
                assert status == (101 if path.endswith(b"?") else 403), path
            for path in (b"/signed", b"/signed/acme/", b"/below/signed/acme"):
                assert parts(await ask(server.public, signed("/signed/acme"), path=path))[0] == 404, path
            for path in ("/signed/acme", "/signed/a%20b", "/signed/acme?a=1&b=2"):
                assert parts(await ask(server.public, signed(path), path=path.encode()))[0] == 101, path

    asyncio.run(main())


def everything_in(folder: Path) -> str:
    files = (path for path in folder.rglob("*") if path.is_file())
    return "".join(f"{path}\n" + path.read_bytes().decode("latin-1") for path in files)


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What this process logs as ``receiver serve`` does at its most talkative, and the libraries beyond that."""
    root, told = logging.getLogger(), io.StringIO()
    names = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "websockets", "websockets.server", "asyncio")
    before = list(root.handlers), root.level, [(name, logging.getLogger(name).level) for name in names]
    logs.configure("debug", "json", told)
    yield told
    root.handlers[:], root.level = before[0], before[1]
    for name, level in before[2]:
        logging.getLogger(name).setLevel(level)
    structlog.reset_defaults()


@pytest.mark.blocks  # looks at the disk
@pytest.mark.parametrize("use", ["path_token", "twilio_signature"])
def test_no_secret_of_a_source_appears_anywhere(
    running: Callable[..., Any], hello: Callable[..., Any], tmp_path: Path, logged: io.StringIO, use: str
) -> None:
    secret, wrong = (TOKEN, "someone-elses-token") if use == "path_token" else (KEY, "f" * 32)
    (tmp_path / "key").write_text(KEY)

    def request(secret: str) -> tuple[str, dict[str, str]]:
        """A path and headers: the proxies in between have written the address into a few more."""
        path = f"/calls/{secret}/acme" if use == "path_token" else "/signed/acme"
        signature = signed(path, secret).decode().partition(": ")[2]
        address = f"https://voice.example.com{path}"
        proxies = {"X-Original-URI": path, "X-Forwarded-Uri": path, "Referer": address, "X-Rewrite-URL": address}
        return path, {**proxies, "X-Twilio-Signature": signature}

    async def main() -> tuple[dict[str, Any], str]:
        sources = INSIDE if use == "path_token" else signing()
        asyncio.get_running_loop().set_debug(True)
        async with running(sources=sources, captures={"enabled": True}) as server:
            for name in ("uvicorn.error", "uvicorn.access", "websockets.server"):
                logging.getLogger(name).setLevel(1)
            path, headers = request(secret)
            async with connect(f"ws://{server.public}{path}", additional_headers=headers, proxy=None) as ws:
                await hello(ws)
                while not list(server.root.rglob("journal.jsonl")):
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0)
                seen = everything_in(server.root)
                await ws.send(STOP)
            (told,) = await recorded(server, 1)
            refused, headers = request(wrong)
            with pytest.raises(InvalidStatus) as answer:
                await connect(f"ws://{server.public}{refused}", additional_headers=headers, proxy=None)
            seen += repr(answer.value.response)
            for asked in (path, refused):
                seen += (await ask(server.public, path=asked.encode(), upgrade=False)).decode()
                seen += (await ask(server.public, path=f"{asked}/more".encode())).decode()
            scraped = await asyncio.to_thread(urllib.request.urlopen, f"http://{server.management}/metrics", timeout=20)
            with scraped:
                seen += scraped.read().decode()
            return told, seen + everything_in(server.root)

    told, seen = asyncio.run(main())
    assert told["path_parameters"] == {"tenant": "acme"}
    assert told["token"] == ("main" if use == "path_token" else "key")
    assert "capture.jsonl" in seen and "handshake_refused" in logged.getvalue()
    for text in (secret, wrong, signed("/signed/acme").decode().partition(": ")[2]):
        assert text not in seen and text not in logged.getvalue()


def test_an_unknown_path_is_not_found_with_a_token_or_without(running: Callable[..., Any]) -> None:
    async def main() -> None:
        async with running() as server:
            for path in (b"/", b"/streams", b"/stream/x", b"/STREAM", b"/metrics", b"/stream%2f"):
                for headers in ([], [bearer(RIGHT)]):
                    status, _, body = parts(await ask(server.public, *headers, path=path))
                    assert (status, body) == (404, b"Not Found\n"), path
                assert parts(await ask(server.public, path=path, upgrade=False))[0] == 404, path

    asyncio.run(main())


def test_an_ordinary_request_on_a_streams_path_is_told_to_upgrade(running: Callable[..., Any]) -> None:
    async def main() -> None:
        async with running() as server:
            for headers in ([], [bearer(RIGHT)]):
                status, fields, _ = parts(await ask(server.public, *headers, upgrade=False))
                assert (status, fields["upgrade"]) == (426, "websocket")

    asyncio.run(main())


def test_beyond_the_limit_streams_are_refused_for_a_while_and_only_to_who_has_a_token(
    running: Callable[..., Any],
) -> None:
    async def main() -> None:
        async with running(limits={"streams": 1}) as server:
            async with server.dial():
                status, fields, body = parts(await ask(server.public, bearer(RIGHT)))
                assert (status, fields["retry-after"], body) == (503, "5", b"Service Unavailable\n")
                assert parts(await ask(server.public))[0] == 401  # who may not connect learns nothing
            async with asyncio.timeout(20):
                while parts(await ask(server.public, bearer(RIGHT)))[0] != 101:
                    await asyncio.sleep(0.01)

    asyncio.run(main())


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_while_draining_new_streams_are_refused_and_live_ones_go_on(
    running: Callable[..., Any], hello: Callable[..., Any]
) -> None:
    async def main() -> list[dict[str, Any]]:
        async with running() as server:
            async with server.dial() as ws:
                await hello(ws)
                server.receiver.registry.draining = True
                status, fields, _ = parts(await ask(server.public, bearer(RIGHT)))
                assert (status, fields["retry-after"]) == (503, "5")
                with pytest.raises(InvalidStatus) as refused:
                    async with server.dial():
                        pass
                assert refused.value.response.status_code == 503
                assert await asyncio.to_thread(status_of, f"http://{server.public}/readyz") == 503
                assert await asyncio.to_thread(status_of, f"http://{server.public}/livez") == 200
                await ws.send(STOP)
            return await recorded(server, 1)

    (told,) = asyncio.run(main())
    assert told["end"]["reason"] == "stop"


def test_refusals_are_counted_by_reason(running: Callable[..., Any]) -> None:
    async def main() -> str:
        async with running(limits={"streams": 1}) as server:
            for headers in ([], [bearer(b"wrong")], [b"Authorization: Basic x"], [bearer(RIGHT)] * 2):
                await ask(server.public, *headers)
            async with server.dial():
                await ask(server.public, bearer(RIGHT))

            def metrics() -> str:
                with urllib.request.urlopen(f"http://{server.management}/metrics", timeout=20) as answer:
                    text: str = answer.read().decode()
                return text

            return await asyncio.to_thread(metrics)

    counted = [
        line for line in asyncio.run(main()).splitlines() if line.startswith("receiver_handshakes_refused_total{")
    ]
    assert len([line for line in counted if line.endswith(" 1.0")]) == 5
