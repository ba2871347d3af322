"""Two hundred ways around a bearer token, none of which leads in: each is answered before any upgrade."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

RIGHT = b"a-token-of-the-tests"
ANY_NUMBER = {"auth_failures_per_minute": 0}
LINE = b"GET /stream HTTP/1.1"
Case = tuple[str, bytes, list[bytes]]
"""What it is called, its request line, and its headers beside those of an upgrade."""


def bearer(token: bytes) -> bytes:
    return b"Authorization: Bearer " + token


def of_the_token() -> Iterator[bytes]:
    """What is nearly the token."""
    yield from (RIGHT[:end] for end in range(len(RIGHT)))
    yield from (RIGHT[start:] for start in range(1, len(RIGHT)))
    yield from (RIGHT[:place] + bytes([RIGHT[place] ^ 1]) + RIGHT[place + 1 :] for place in range(len(RIGHT)))
    yield from (RIGHT[:place] + RIGHT[place : place + 1].upper() + RIGHT[place + 1 :] for place in (0, 2, 8, 11, 15))
    yield from (
        RIGHT + more for more in (b"x", b"=", b"==", b",", b";", b"/", b"\\", b"%00", b"%20", b"%0d%0a", b"#", b"*")
    )
    yield from (
        less + RIGHT for less in (b"x", b"=", b",", b"%00", b"%20", b"*", b"Bearer", b"Bearer Bearer ", b"bearer:")
    )
    yield from (
        RIGHT * 2,
        RIGHT[::-1],
        RIGHT + b" " + RIGHT,
        RIGHT + b"," + RIGHT,
        b'"' + RIGHT + b'"',
        b"'" + RIGHT + b"'",
    )
    yield from (
        b"<" + RIGHT + b">",
        b"token=" + RIGHT,
        b'token="' + RIGHT + b'"',
        b"(" + RIGHT + b")",
        b"{" + RIGHT + b"}",
    )
    yield from (base64.b64encode(RIGHT), base64.b64encode(b":" + RIGHT), RIGHT.hex().encode())
    yield from (hashlib.sha256(RIGHT).hexdigest().encode(), base64.b64encode(hashlib.sha256(RIGHT).digest()))
    yield from (b"%61" + RIGHT[1:], urllib.parse.quote(RIGHT.replace(b"-", b"%2d")).encode(), RIGHT.replace(b"-", b"_"))
    yield from (
        RIGHT.replace(b"-", b""),
        RIGHT.replace(b"-", b" "),
        RIGHT.replace(b"-", b"--"),
        RIGHT.replace(b"o", b"0"),
    )
    yield from (
        b"main",
        b"default",
        b"RECEIVER_TOKEN",
        b"${RECEIVER_TOKEN}",
        b"null",
        b"None",
        b"undefined",
        b"true",
        b"0",
    )
    yield from (b"*", b".*", b"%", b"' OR '1'='1", b"../stream", b"[]", b"{}", b"\\x61" + RIGHT[1:], b"x" * 4000)
    yield from (b"a-token-of-the-test" + sign.encode() for sign in ("\u017f", "\uff53", "s\u0301", "\u0455"))
    yield from (RIGHT + sign for sign in (b"\x00", b"\xff", b"\x7f", b"\x01", b"\x0b", b"\xc2\xa0"))


def in_other_schemes() -> Iterator[bytes]:
    schemes = ["Basic", "Token", "Digest", "Negotiate", "ApiKey", "JWT", "OAuth", "MAC", "HOBA", "Bearer:", "Bearer,"]
    yield from (
        f"Authorization: {scheme} ".encode() + RIGHT for scheme in [*schemes, "Bear", "Bearers", "x-Bearer", "B"]
    )
    yield b"Authorization: " + RIGHT
    yield b"Authorization:" + RIGHT
    yield b"Authorization: Bearer" + RIGHT
    yield b"Authorization: Bearer=" + RIGHT
    yield b"Authorization: Bearer\t" + RIGHT
    yield b"Authorization: Bearer\x0b" + RIGHT
    yield b"Authorization: Bearer\xc2\xa0" + RIGHT
    yield b"Authorization: Basic " + base64.b64encode(b"Bearer:" + RIGHT)
    yield b"Authorization: Basic " + base64.b64encode(RIGHT + b":")
    yield from (b"Authorization:", b"Authorization: ", b"Authorization: Bearer", b"Authorization: Bearer ")


def in_other_headers() -> Iterator[bytes]:
    names = ["Proxy-Authorization", "X-Authorization", "X-Forwarded-Authorization", "X-Original-Authorization", "Auth"]
    names += [
        "Authorisation",
        "Authorization2",
        "Authorization_",
        "X-Api-Key",
        "X-Auth-Token",
        "X-Access-Token",
        "Token",
    ]
    names += [
        "WWW-Authenticate",
        "Sec-WebSocket-Protocol",
        "HTTP_AUTHORIZATION",
        "X-Twilio-Signature",
        "Bearer",
        "Cookie",
    ]
    yield from (f"{name}: Bearer ".encode() + RIGHT for name in names)
    yield b"Cookie: Authorization=Bearer%20" + RIGHT
    yield b"Cookie: token=" + RIGHT
    yield b"Sec-WebSocket-Protocol: bearer, " + RIGHT
    yield b"Authorization : Bearer " + RIGHT
    yield b" Authorization: Bearer " + RIGHT
    yield b"\tAuthorization: Bearer " + RIGHT
    yield b"X: x\r\n Authorization: Bearer " + RIGHT
    yield b"X: x\rAuthorization: Bearer " + RIGHT
    yield b"X: x\x00Authorization: Bearer " + RIGHT
    yield b"Authorization\x00: Bearer " + RIGHT
    yield b"Authorization: Bearer\r\n " + RIGHT


def believed_of_others() -> Iterator[bytes]:
    """What proxies say, from somebody who is none."""
    for value in ("127.0.0.1", "::1", "localhost", "10.0.0.1"):
        for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP", "True-Client-IP"):
            yield f"{name}: {'for=' if name == 'Forwarded' else ''}{value}".encode()
    yield from (b"X-Forwarded-User: main", b"Remote-User: main", b"X-Original-URL: /livez", b"X-Rewrite-URL: /livez")
    yield from (
        b"X-HTTP-Method-Override: OPTIONS",
        b"X-Authenticated: true",
        b"X-Forwarded-Proto: https",
        b"Via: 1.1 proxy",
    )


def requested_otherwise() -> Iterator[bytes]:
    """The token in the address, or another address of the same stream."""
    for query in (
        b"token",
        b"access_token",
        b"auth",
        b"authorization",
        b"Authorization",
        b"api_key",
        b"bearer",
        b"key",
    ):
        yield b"GET /stream?" + query + b"=" + RIGHT + b" HTTP/1.1"
    yield b"GET /stream?Authorization=Bearer%20" + RIGHT + b" HTTP/1.1"
    yield b"GET /stream;token=" + RIGHT + b" HTTP/1.1"
    yield b"GET /stream#" + RIGHT + b" HTTP/1.1"
    yield b"GET /stream/" + RIGHT + b" HTTP/1.1"
    yield b"GET http://main:" + RIGHT + b"@127.0.0.1/stream HTTP/1.1"
    yield b"GET http://127.0.0.1/stream HTTP/1.1"
    for path in (
        b"//stream",
        b"/./stream",
        b"/x/../stream",
        b"/livez/../stream",
        b"/%73tream",
        b"/stream/",
        b"/STREAM",
    ):
        yield b"GET " + path + b" HTTP/1.1"
    for path in (b"/stream%00", b"/stream%20", b"/stream%2f", b"/stream%3f", b"/stream?", b"/stream??", b"/stream\\"):
        yield b"GET " + path + b" HTTP/1.1"
    for method in (b"HEAD", b"OPTIONS", b"POST", b"CONNECT", b"get", b"TRACE"):
        yield method + b" /stream HTTP/1.1"
    yield from (b"GET /stream HTTP/1.0", b"GET /stream HTTP/2.0", b"GET /stream", b"GET  /stream HTTP/1.1")


def cases() -> Iterator[Case]:
    yield from ((f"token {token!r}", LINE, [bearer(token)]) for token in of_the_token())
    for headers in (in_other_schemes(), in_other_headers(), believed_of_others()):
        yield from ((f"header {header!r}", LINE, [header]) for header in headers)
    yield from ((f"request {line!r}", line, []) for line in requested_otherwise())
    right, wrong = bearer(RIGHT), bearer(b"wrong")
    for pair in (
        [right, right],
        [right, wrong],
        [wrong, right],
        [right, b"authorization: "],
        [b"AUTHORIZATION: x", right],
    ):
        yield f"pair {pair!r}", LINE, pair
    for body in (b"Content-Length: 5", b"Transfer-Encoding: chunked"):
        yield f"with a body {body!r}", LINE, [right, body]


async def first_line(address: str, line: bytes, headers: list[bytes]) -> bytes:
    """The status line of the answer, or nothing where the connection was closed without one."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    upgrade = [
        b"Host: " + address.encode(),
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
    ]
    upgrade.append(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    writer.write(b"\r\n".join([line, *upgrade, *headers]) + b"\r\n\r\n")
    try:
        async with asyncio.timeout(20):
            return await reader.readline()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def test_none_of_two_hundred_ways_around_a_token_leads_in(running: Callable[..., Any]) -> None:
    corpus = list({name: (name, line, headers) for name, line, headers in cases()}.values())
    assert len(corpus) >= 200

    async def main() -> None:
        async with running(limits=ANY_NUMBER) as server:
            for name, line, headers in corpus:
                answer = await first_line(server.public, line, headers)
                assert answer == b"" or answer.startswith(b"HTTP/1.1 4") or answer.startswith(b"HTTP/1.1 505"), (
                    name,
                    answer,
                )
            assert len(server.receiver.registry) == 0 and server.folders() == []
            assert (await first_line(server.public, LINE, [bearer(RIGHT)])).startswith(b"HTTP/1.1 101")

    asyncio.run(main())
