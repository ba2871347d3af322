"""Pausing, muting and listing live streams by the API, over real sockets."""

from __future__ import annotations

import asyncio
import base64
import functools
import json
import textwrap
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest
import soundfile
from websockets.asyncio.client import ClientConnection

Test = Callable[..., Any]


def on_a_loop(test: Test) -> Test:
    """Run a test's coroutine."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        asyncio.run(test(*arguments, **named))

    return run


pytestmark = pytest.mark.blocks  # the sink of these tests writes a file

CALL = "76ac3c36-56da-4a3e-a0d6-b5f8df6da9ad"
EVERYTHING = """
    async def sink(stream, events):
        with open(stream.directory / "heard.txt", "w") as file:
            async for event in events:
                samples = getattr(event, "samples", None)
                print(repr(event), "" if samples is None else samples.tobytes().hex(), file=file)
"""


async def http(management: str, method: str, path: str, **headers: str) -> tuple[int, Any]:
    reader, writer = await asyncio.open_connection(*management.split(":"))
    fields = {"Host": "localhost", "Content-Length": "0", "Connection": "close", **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    writer.write(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode())
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body) if body.startswith(b"{") else body


class Peer:
    """A platform that counts its packets: 20 ms each, filled with one byte."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.sent = {"inbound": 0, "outbound": 0}

    async def say(self, code: int, packets: int, *tracks: str) -> None:
        for _ in range(packets):
            for track in tracks or ("inbound",):
                self.sent[track] += 1
                number = self.sent[track]
                body = {
                    "track": track,
                    "chunk": str(number),
                    "timestamp": str((number - 1) * 20),
                    "payload": base64.b64encode(bytes([code]) * 160).decode(),
                }
                await self.connection.send(json.dumps({"event": "media", "media": body}))

    async def press(self, digit: str) -> None:
        await self.connection.send(json.dumps({"event": "dtmf", "dtmf": {"digit": digit, "duration": 100}}))

    async def settle(self) -> None:
        """Wait until everything sent has been read: a pong comes after it, and the sweep within 60 ms."""
        await (await self.connection.ping())
        await asyncio.sleep(0.15)


@pytest.fixture
def recorder(tmp_path: Any) -> dict[str, Any]:
    (tmp_path / "everything.py").write_text(textwrap.dedent(EVERYTHING))
    return {"use": "./everything.py"}


@on_a_loop
async def test_nothing_of_a_paused_span_is_left_anywhere(
    running: Callable[..., Any],
    hello: Callable[..., Any],
    recorder: dict[str, Any],
    capture_logs: Callable[[], AbstractContextManager[list[dict[str, Any]]]],
) -> None:
    sinks = {"wav": {"use": "wav", "options": {"layout": "separate"}}, "everything": recorder}
    with capture_logs() as logs:
        async with running(
            captures={"enabled": True}, privacy={"digits": "keep"}, sinks=sinks, limits={"burst_s": 0}
        ) as server:
            async with server.dial() as connection:
                peer = Peer(connection)
                await hello(connection)
                await peer.say(0x11, 50)
                await peer.press("1")
                await peer.settle()
                _, listed = await http(server.management, "GET", "/api/streams")
                (stream,) = listed["streams"]
                assert stream["call_id"] == CALL
                assert stream["tracks"] == {"inbound": {"position": 8000, "rate": 8000, "seconds": 1.0}}

                status, paused = await http(server.management, "POST", f"/api/streams/{stream['id']}/pause")
                assert status == 200
                assert paused["streams"][0]["paused"]
                assert paused["streams"][0]["tracks"]["inbound"]["position"] == 8000
                await peer.say(0x22, 100)
                await peer.press("D")
                await connection.send(json.dumps({"event": "mark", "mark": {"name": "card-number"}}))
                await connection.send(json.dumps({"event": "card", "number": "card-number"}))
                await connection.send('{"event": "dtmf", "dtmf": card-number')
                await peer.settle()

                status, resumed = await http(server.management, "POST", f"/api/calls/{CALL}/resume")
                assert (status, resumed["streams"][0]["paused"]) == (200, False)
                await peer.say(0x33, 50)
                await peer.press("2")
                await connection.send(json.dumps({"event": "stop"}))
        told, (folder,) = server.told(), server.folders()

    # Two seconds were said in the pause; it took less by our clock, and nothing was believed to be belated.
    samples, _ = soundfile.read(folder / "inbound.wav", dtype="int16")
    quiet, heard = np.flatnonzero(samples == 0), np.flatnonzero(samples)
    assert len(heard) == 16000
    assert (told["tracks"]["inbound"]["gaps"]) == [{"start": 8000, "end": 24000, "cause": "paused"}]
    assert (quiet[0], quiet[-1], len(quiet)) == (8000, 23999, 16000)
    assert [digit["digit"] for digit in told["digits"]] == ["1", "2"]
    assert told["marks"] == []
    assert told["ignored"]["paused"] == 104
    counters = told["tracks"]["inbound"]["counters"]
    assert counters["received"] == counters["placed"] == 100

    kinds = [json.loads(line)[1:] for line in (folder / "capture.jsonl").read_text().splitlines()[1:]]
    sizes = [value for code, value in kinds if code == "p" and isinstance(value, int)]
    assert len(sizes) == 104
    assert [value for code, value in kinds if code == "p" and not isinstance(value, int)] == ["all", []]
    everywhere = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file()) + repr(logs).encode()
    said = bytes([0x22]) * 160
    for secret in (said[:40], base64.b64encode(said)[:40], b"card-number", b"'D'", b'"D"'):
        assert secret not in everywhere, secret
    assert bytes([0x33]) * 40 not in everywhere  # it is decoded, and in base64:
    assert base64.b64encode(bytes([0x33]) * 160) in everywhere


@on_a_loop
async def test_a_muted_track_is_silent_and_the_other_goes_on(
    running: Callable[..., Any], hello: Callable[..., Any], recorder: dict[str, Any]
) -> None:
    async with running(captures={"enabled": True}, sinks={"everything": recorder}, limits={"burst_s": 0}) as server:
        async with server.dial() as connection:
            peer = Peer(connection)
            await hello(connection, tracks=["inbound", "outbound"])
            await peer.say(0x11, 25, "inbound", "outbound")
            await peer.settle()
            path = f"/api/calls/{CALL}"
            status, answer = await http(server.management, "POST", f"{path}/mute?track=inbound")
            assert (status, answer["streams"][0]["muted"]) == (200, ["inbound"])
            await peer.say(0x22, 25, "inbound", "outbound")
            await peer.press("D")  # by the caller, for all that we know
            await peer.settle()
            status, answer = await http(server.management, "POST", f"{path}/unmute?track=inbound")
            assert (status, answer["streams"][0]["muted"]) == (200, [])
            await peer.say(0x33, 25, "inbound", "outbound")
            await connection.send(json.dumps({"event": "stop"}))
    told = server.told()
    assert told["tracks"]["inbound"]["gaps"] == [{"start": 4000, "end": 8000, "cause": "paused"}]
    assert told["tracks"]["outbound"]["gaps"] == []
    assert told["digits"] == []
    (folder,) = server.folders()
    heard = [line.split()[0] + line.split()[-1] for line in (folder / "heard.txt").read_text().splitlines()]
    assert not any("'D'" in line for line in (folder / "heard.txt").read_text().splitlines())
    assert sum(line.startswith("Frame") for line in heard) >= 3


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "says"),
    [
        ("POST", "/api/streams/01900000-0000-7000-8000-000000000000/pause", {}, 404, "no live stream"),
        ("POST", "/api/calls/nobody/pause", {}, 404, "no live stream"),
        ("POST", "/api/calls/CALL/stop", {}, 404, "no such action"),
        ("POST", "/api/calls/CALL/mute", {}, 400, "needs a track"),
        ("POST", "/api/calls/CALL/mute?track=left", {}, 404, "there is inbound"),
        ("POST", "/api/calls/CALL/pause?track=inbound", {}, 400, "whole stream"),
        ("POST", "/api/calls/CALL/pause", {"Origin": "https://evil.example"}, 403, "another origin"),
        ("POST", "/api/calls/CALL/pause", {"Sec_Fetch_Site": "cross-site"}, 403, "another origin"),
        ("GET", "/api/calls/CALL/pause", {}, 405, ""),
        ("POST", "/api/calls/CALL/pause", {"Host": "evil.example"}, 400, ""),
        ("POST", "/api/calls/CALL/pause", {"Origin": "http://["}, 403, "origin"),
        ("POST", "/api/calls/CALL/pause/", {}, 404, ""),
    ],
)
@on_a_loop
async def test_what_cannot_be_done_is_said(
    running: Callable[..., Any],
    hello: Callable[..., Any],
    method: str,
    path: str,
    headers: dict[str, str],
    status: int,
    says: str,
) -> None:
    async with running() as server, server.dial() as connection:
        await hello(connection)
        await Peer(connection).settle()
        answered, body = await http(server.management, method, path.replace("CALL", CALL), **headers)
        assert answered == status
        assert says in str(body)
        _, listed = await http(server.management, "GET", "/api/streams")
        assert [stream["paused"] for stream in listed["streams"]] == [False]


@on_a_loop
async def test_the_public_listener_has_no_api(running: Callable[..., Any]) -> None:
    async with running() as server:
        assert (await http(server.public, "GET", "/api/streams"))[0] == 404
