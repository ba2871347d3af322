from __future__ import annotations

import asyncio
import contextlib
import json
import math
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from receiver.simulate import Call, CallError, Key, Outcome, messages, speak
from receiver.simulate import connection as dialling
from receiver.simulate.connection import dial, hang_up, target
from receiver.simulate.script import Ending

Handler = Callable[[ServerConnection], Awaitable[None]]


class Listener:
    """A real WebSocket server that keeps what it was told."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.headers: dict[str, str] = {}
        self.close: tuple[int | None, str | None] = (None, None)

    async def __call__(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.headers = {name.lower(): value for name, value in connection.request.headers.raw_items()}
        async for message in connection:
            assert isinstance(message, str)
            self.heard.append(message)
        self.close = (connection.close_code, connection.close_reason)


@contextlib.asynccontextmanager
async def listening(handler: Handler, **options: Any) -> AsyncIterator[str]:
    async with serve(handler, "127.0.0.1", 0, **options) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/stream"


def make(call: Call, handler: Handler, *, options: dict[str, Any] | None = None, **arguments: Any) -> Outcome:
    async def main() -> Outcome:
        async with listening(handler, **(options or {})) as url:
            return await speak(call, url=url, **{"speed": math.inf} | arguments)

    return asyncio.run(asyncio.wait_for(main(), 30))


@pytest.fixture
def call(tmp_path: Path) -> Call:
    samples = (np.arange(8000 * 2) * 7 % 20_000).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", samples, 8000)
    return Call(
        inbound=tmp_path / "a.wav",
        outbound=tmp_path / "a.wav",
        stream_id="s",
        call_id="c",
        account_id="a",
        keys=(Key("5", 1.0),),
    )


@pytest.mark.parametrize("dialect", ["signalwire", "twilio"])
def test_a_server_hears_every_message_in_order_and_a_close(call: Call, dialect: str) -> None:
    listener = Listener()
    asked = Call(inbound=call.inbound, dialect=dialect, stream_id="s", call_id="c", account_id="a")
    outcome = make(asked, listener)
    assert listener.heard == [text for _, text in messages(asked)]
    assert listener.close == (1000, "")
    assert (outcome.ok, outcome.status, outcome.close_code, outcome.messages) == (True, 101, 1000, 103)
    assert outcome.characters == sum(map(len, listener.heard))
    assert outcome.messages_per_s > 0 and outcome.worst_late_s == 0


def test_the_token_and_headers_go_with_the_handshake(call: Call) -> None:
    listener = Listener()
    make(call, listener, token="s3cret", headers=[("X-Trace", "a: b")])
    assert listener.headers["authorization"] == "Bearer s3cret"
    assert listener.headers["x-trace"] == "a: b"
    assert "sec-websocket-extensions" not in listener.headers


def test_a_given_authorization_header_stands_alone(call: Call) -> None:
    listener = Listener()
    make(call, listener, token="s3cret", headers=[("authorization", "Basic eA==")])
    assert listener.headers["authorization"] == "Basic eA=="


def test_paced_messages_are_never_early(call: Call) -> None:
    arrived: list[tuple[float, float]] = []

    async def handler(connection: ServerConnection) -> None:
        clock = asyncio.get_running_loop().time
        begun = clock()  # nothing has been sent yet; the first message itself may be held up on its way
        async for message in connection:
            body = json.loads(message)
            if body["event"] == "media":
                arrived.append((clock() - begun, int(body["media"]["timestamp"]) / 1000))

    outcome = make(call, handler, speed=4)
    assert len(arrived) == 200
    # Every one is due by the call's beginning, not by the message before.
    assert all(after >= position / 4 for after, position in arrived)
    assert outcome.seconds >= 0.5 and outcome.worst_late_s > 0


def test_a_loop_that_was_held_up_catches_up_instead_of_drifting(call: Call) -> None:
    def progress(position_s: float, sent: int) -> None:
        if sent == 50:
            asyncio.get_running_loop().call_soon(hold.append, position_s)
            deadline = asyncio.get_running_loop().time() + 0.2
            while asyncio.get_running_loop().time() < deadline:
                pass

    hold: list[float] = []
    outcome = make(call, Listener(), speed=4, progress=progress)
    assert hold and outcome.complete
    assert outcome.worst_late_s >= 0.15  # seen, and said


def test_progress_begins_when_connected_and_ends_with_the_stop(call: Call) -> None:
    seen: list[tuple[float, int]] = []
    make(call, Listener(), progress=lambda position_s, sent: seen.append((position_s, sent)))
    assert seen[0] == (0, 0) and seen[-1] == (2, 204)
    assert seen == sorted(seen)


def test_a_refusal_is_told_with_its_status_and_body(call: Call) -> None:
    def refuse(connection: ServerConnection, request: Request) -> Response:
        return connection.respond(HTTPStatus.UNAUTHORIZED, "go away\x1b[31m\n")

    outcome = make(call, Listener(), options={"process_request": refuse})
    assert (outcome.status, outcome.body, outcome.ok, outcome.messages) == (401, "go away\ufffd[31m\n", False, 0)


def test_a_redirect_is_an_answer_and_not_followed(call: Call) -> None:
    def redirect(connection: ServerConnection, request: Request) -> Response:
        response = connection.respond(HTTPStatus.FOUND, "")
        response.headers["Location"] = "/elsewhere"
        return response

    outcome = make(call, Listener(), options={"process_request": redirect})
    assert (outcome.status, outcome.ok) == (302, False)


def test_a_server_that_closes_before_the_end_is_a_failure_with_its_reason(call: Call) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.close(4415, "codec not supported\x07")

    outcome = make(call, handler, speed=1)
    assert (outcome.close_code, outcome.close_reason) == (4415, "codec not supported\ufffd")
    assert (outcome.ok, outcome.complete) == (False, False)
    assert "before the call did" in outcome.error and outcome.error.isprintable()


def test_a_connection_that_breaks_is_a_failure(call: Call) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.recv()
        connection.transport.abort()

    outcome = make(call, handler, speed=1)
    assert (outcome.ok, outcome.complete, outcome.close_code) == (False, False, 1006)
    assert outcome.error


def test_what_a_server_says_is_counted(call: Call) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send("hello")
        await connection.send(b"\0")
        async for _ in connection:
            pass

    assert make(call, handler).received == 2


def test_nobody_listening_is_a_failure_that_says_so(call: Call) -> None:
    outcome = asyncio.run(speak(call, url="ws://127.0.0.1:1/"))
    assert (outcome.status, outcome.ok, outcome.messages_per_s) == (None, False, 0)
    assert outcome.error


def test_a_server_without_tls_is_a_failure_for_wss(call: Call) -> None:
    async def main() -> Outcome:
        async with listening(Listener()) as url:
            return await speak(call, url=url.replace("ws://", "wss://"))

    outcome = asyncio.run(asyncio.wait_for(main(), 30))
    assert outcome.status is None and outcome.error


@pytest.mark.system
@pytest.mark.parametrize("vouched", [True, False])
def test_wss_wants_a_certificate_that_somebody_vouches_for(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vouched: bool
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate]
    subprocess.run([*command, *subject], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    if vouched:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    listener = Listener()

    async def main() -> Outcome:
        async with listening(listener, ssl=context) as url:
            return await speak(call, url=url.replace("ws://", "wss://"), speed=math.inf)

    outcome = asyncio.run(asyncio.wait_for(main(), 30))
    assert outcome.ok is vouched
    assert vouched or "CERTIFICATE_VERIFY_FAILED" in outcome.error
    assert len(listener.heard) == (204 if vouched else 0)


def test_an_unusable_proxy_is_named_without_its_password(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "gopher://user:s3cret@proxy.invalid:1")
    outcome = asyncio.run(speak(call, url="wss://receiver.invalid/"))
    assert "proxy" in outcome.error and "s3cret" not in outcome.error


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"url": "http://127.0.0.1/s3cret"}, "the URL must be ws"),
        ({"url": "ws://127.0.0.1:port/s3cret"}, "the URL must be ws"),
        ({"token": "s3cret\r\nX: y"}, "header Authorization: only printable ASCII"),
        ({"headers": [("X Y", "s3cret")]}, "header 'X Y': not a header's name"),
        ({"headers": [("X", "s3cret\n")]}, "header X: only printable ASCII"),
        ({"speed": 0}, "speed 0: must be above 0"),
        ({"speed": math.nan}, "speed nan"),
    ],
)
def test_wrong_use_is_told_before_anything_is_sent_and_without_a_secret(
    call: Call, arguments: dict[str, Any], problem: str
) -> None:
    with pytest.raises(CallError, match=problem) as raised:
        asyncio.run(speak(call, **{"url": "ws://127.0.0.1:1/"} | arguments))
    assert "s3cret" not in str(raised.value)


def test_a_file_that_breaks_off_in_the_call_closes_the_connection(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, np.random.default_rng(1).integers(-9999, 9999, 160_000, np.int16), 8000)
    listener = Listener()

    def progress(position_s: float, sent: int) -> None:
        if sent == 0:
            path.write_bytes(path.read_bytes()[:200])

    with pytest.raises(CallError, match=r"a\.flac"):
        make(Call(inbound=path), listener, progress=progress)


def test_a_server_that_has_stopped_reading_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialling, "UNREAD_S", 0.1)

    async def deaf(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await connection.wait_closed()

    async def main() -> int | None:
        async with listening(deaf, close_timeout=0.1) as url:
            connection = await dial(target(url), Outcome())
            assert connection is not None
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    while True:
                        await connection.send(bytes(60_000))
            await hang_up(connection, Ending())
            return connection.close_code

    assert asyncio.run(asyncio.wait_for(main(), 30)) == 1006
