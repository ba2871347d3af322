"""Captures of real connections: what is asked for is kept, verbatim and to the end, and nothing else is."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import random
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import numpy as np
import pytest
import soundfile
from websockets.asyncio.client import ClientConnection
from websockets.sync.client import connect as connect_and_wait

import receiver
from receiver.captures.capture import Batch, End, Entry
from receiver.captures.playback import Playback
from receiver.captures.reader import CaptureReader, NoHeader
from receiver.events import Digit, Ended, EndReason, Event, Frame, Gap
from receiver.recordings import recover

SCHEMA = jsonschema.Draft202012Validator(
    json.loads((Path(receiver.__file__).parent / "capture.schema.json").read_text())
)
BEARER = {"use": "bearer", "tokens": [{"name": "main", "env": "RECEIVER_TOKEN"}]}
ON = {"enabled": True}
PACKETS = 20
STOP = '{"event":"stop","sequenceNumber":"999"}'

Test = Callable[..., Any]
Logs = Callable[[], AbstractContextManager[list[dict[str, Any]]]]


def on_a_loop(test: Test) -> Test:
    """Run a test's coroutine."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        asyncio.run(test(*arguments, **named))

    return run


def media(number: int, code: int | None = None) -> str:
    payload = base64.b64encode(bytes([number % 256 if code is None else code]) * 160).decode()
    body = {"track": "inbound", "chunk": str(number), "timestamp": str((number - 1) * 20), "payload": payload}
    return json.dumps({"event": "media", "sequenceNumber": str(number + 1), "media": body})


async def talk(connection: ClientConnection, hello: Callable[..., Any], **start: Any) -> None:
    await hello(connection, **start)
    for number in range(1, PACKETS + 1):
        await connection.send(media(number))


async def final(server: Any, streams: int = 1) -> None:
    """Wait until nothing is live, and so many streams are told of and have no journal left."""
    async with asyncio.timeout(20):
        while len(server.receiver.registry) or len(list(server.root.glob("*/*/stream.json"))) < streams:
            await asyncio.sleep(0.01)
        while list(server.root.glob("*/*/journal.jsonl")):
            await asyncio.sleep(0.01)


async def received(server: Any, count: int) -> Path:
    """Wait until so many messages are in the only capture."""
    async with asyncio.timeout(20):
        while True:
            for path in server.root.glob("*/*/capture.jsonl"):
                with contextlib.suppress(NoHeader):
                    if len(messages(path)) >= count:
                        return Path(path)
            await asyncio.sleep(0.01)


def entries(path: Path) -> list[Entry]:
    with CaptureReader(path) as reader:
        return list(reader)


def messages(path: Path) -> list[Any]:
    return [one for entry in entries(path) if isinstance(entry, Batch) for one in entry.data]


def check(server: Any) -> Path:
    """The only capture: each line as the schema has it, listed with its size and checksum."""
    (folder,) = server.folders()
    path = Path(folder / "capture.jsonl")
    text = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    for line in text.splitlines():
        SCHEMA.validate(json.loads(line))
    (listed,) = (file for file in server.told()["files"] if file["path"] == "capture.jsonl")
    assert (listed["kind"], listed["media_type"], listed["sink"]) == ("capture", "application/jsonl", "captures")
    assert (listed["bytes"], listed["sha256"]) == (len(text), hashlib.sha256(text).hexdigest())
    return path


def played(path: Path) -> list[Event]:
    with CaptureReader(path) as reader:
        return [event for events in Playback(reader) for event in events]


@on_a_loop
async def test_nothing_is_kept_that_was_not_asked_for(running: Any, hello: Any) -> None:
    async with running() as server:
        async with server.dial() as connection:
            await talk(connection, hello)
            await connection.send(STOP)
        await final(server)
        (folder,) = server.folders()
        assert sorted(path.name for path in folder.iterdir()) == ["inbound.wav", "stream.json"]


@on_a_loop
async def test_what_arrives_is_kept_character_by_character(running: Any) -> None:
    said: list[str | bytes] = [
        '{"event":"connected","protocol":"Call","version":"0.2.0"}',
        ' { "event" : "start", "start": {"streamSid": "s", "callSid": "c", "tracks": ["inbound"], '
        '"customParameters": {"ü": "\\u00fc\u2028", "n": 1.0e+2}, "mediaFormat": {"encoding": "audio/x-mulaw", '
        '"sampleRate": 8000, "channels": 1}}}\t',
        media(1),
        '{"event":"media"\n}',
        "no json \x00",
        b"\x00\xff",
        "",
        '{"event":"weather","a":1,"a":NaN}',
        media(2),
        '{"event":"mark","mark":{"name":"a"}}',
    ]
    async with running(captures=ON) as server:
        async with server.dial() as connection:
            for one in said:
                await connection.send(one)
            await connection.close(4321, "so long")
        await final(server)
        path = check(server)
        assert messages(path) == said
        *_, end = entries(path)
        assert isinstance(end, End)
        assert (end.reason, end.code, end.text) == (EndReason.CLOSE, 4321, "so long")
        *_, ended = played(path)
        assert isinstance(ended, Ended)
        told = server.told()
        assert told["end"]["reason"] == ended.reason == "close"
        assert told["ignored"] == ended.ignored
        assert told["tracks"]["inbound"]["counters"]["placed"] == ended.tracks["inbound"].placed == 2


@on_a_loop
async def test_the_header_says_where_it_is_from_and_has_no_secret(running: Any, hello: Any) -> None:
    sources = {"calls": {"path": "/stream", "auth": BEARER, "dialect": "signalwire", "counters": "ignore"}}
    async with running(captures=ON, sources=sources, server={"latency_ms": 40}) as server:
        headers = {"X-Api-Key": "s3cr3t", "Cookie": "s3cr3t", "X-Request-Id": "7"}
        token = "a-token-of-the-tests"
        async with server.dial() as first:
            await first.close()
        connecting = server.dial()
        connecting.additional_headers = {"Authorization": f"Bearer {token}", **headers}
        async with connecting as connection:
            await talk(connection, hello)
            await connection.send(STOP)
        await final(server)
        path = check(server)
        assert "s3cr3t" not in path.read_text()
        assert token not in path.read_text()
        with CaptureReader(path) as reader:
            header = reader.header
        told = server.told()
        assert (header.source, header.path, header.token) == ("calls", "/stream", "main")
        assert (header.resolution_ms, header.stream) == (40, told["id"])
        assert dict(header.headers)["x-request-id"] == "7"
        assert header.settings["dialect"] == "signalwire"
        assert header.settings["counters"] is False
        assert header.accepted is not None


@on_a_loop
async def test_sources_and_parameters_choose(running: Any, hello: Any) -> None:
    sources = {"a": {"path": "/stream", "auth": BEARER}, "b": {"path": "/other", "auth": BEARER}}
    captures = {"enabled": True, "sources": ["a"], "when": {"capture": "yes"}}
    async with running(captures=captures, sources=sources) as server:
        for number, (path, said) in enumerate([("/stream", "yes"), ("/stream", "no"), ("/other", "yes")], 1):
            other = dataclasses.replace(server, url=server.url.replace("/stream", path))
            async with other.dial() as connection:
                await talk(connection, hello, customParameters={"capture": said})
                await connection.send(STOP)
            await final(server, number)
        assert [(folder / "capture.jsonl").exists() for folder in server.folders()] == [True, False, False]


@pytest.mark.parametrize("kept", [False, True])
def test_keys_are_masked_unless_they_are_to_be_kept(running: Any, hello: Any, kept: bool) -> None:
    pressed = '{"event":"dtmf","sequenceNumber":"30","dtmf":{"digit":"#","duration":250,"track":"inbound_track"}}'

    async def main() -> None:
        async with running(captures=ON, privacy={"digits": "keep"} if kept else {}) as server:
            async with server.dial() as connection:
                await talk(connection, hello)
                await connection.send(pressed)
                await connection.send(STOP)
            await final(server)
            path = check(server)
            (found,) = (one for one in messages(path) if "dtmf" in str(one))
            assert (found == pressed) is kept
            assert json.loads(found)["dtmf"]["digit"] == ("#" if kept else "X")
            assert [entry["digit"] for entry in server.told()["digits"]] == ["#" if kept else "X"]

    asyncio.run(main())


async def stop(connection: ClientConnection, server: Any) -> None:
    await connection.send(STOP)
    await connection.wait_closed()


async def close(connection: ClientConnection, server: Any) -> None:
    await connection.close(1000, "done")


async def fin(connection: ClientConnection, server: Any) -> None:
    await received(server, PACKETS + 2)
    connection.transport.get_extra_info("socket").shutdown(socket.SHUT_WR)


async def rst(connection: ClientConnection, server: Any) -> None:
    await received(server, PACKETS + 2)
    raw = connection.transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.transport.abort()


async def idle(connection: ClientConnection, server: Any) -> None:
    await connection.wait_closed()


async def drain(connection: ClientConnection, server: Any) -> None:
    await received(server, PACKETS + 2)
    await server.receiver.end_all(EndReason.DRAIN)


async def too_much(connection: ClientConnection, server: Any) -> None:
    for _ in range(60):
        await connection.send("nonsense")
    await connection.wait_closed()


async def broken(connection: ClientConnection, server: Any) -> None:
    await connection.send(b"\xff" * 20, text=True)  # not UTF-8
    await connection.wait_closed()


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (broken, (EndReason.ERROR, 1007, "text that is not UTF-8")),
        (stop, (EndReason.STOP, 1000, "stop")),
        (close, (EndReason.CLOSE, 1000, "done")),
        (fin, (EndReason.FIN, None, "")),
        (rst, (EndReason.RESET, None, "")),
        (idle, (EndReason.IDLE, 1000, "idle")),
        (drain, (EndReason.DRAIN, 1012, "service restart")),
        (too_much, (EndReason.ERROR, 1008, "more than 50 bad messages in 10 s")),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_the_last_line_says_how_it_ended(
    running: Any, hello: Any, how: Callable[..., Any], expected: tuple[Any, ...]
) -> None:
    async def main() -> None:
        limits = {"close_timeout_s": 0.1} | ({"idle_timeout_s": 0.3} if how is idle else {})
        async with running(captures=ON, limits=limits) as server:
            async with server.dial() as connection:
                await talk(connection, hello)
                await how(connection, server)
                await final(server)
            path = check(server)
            *_, end = entries(path)
            assert isinstance(end, End)
            assert (end.reason, end.code, end.text) == expected
            *_, ended = played(path)
            assert isinstance(ended, Ended)
            told = server.told()
            assert (ended.reason, ended.error) == (told["end"]["reason"], told["end"]["error"])
            assert ended.tracks["inbound"].placed == told["tracks"]["inbound"]["counters"]["placed"] == PACKETS

    asyncio.run(main())


@on_a_loop
async def test_a_stream_over_before_its_folder_is_there_is_captured_whole(running: Any, hello: Any) -> None:
    async with running(captures=ON) as server:
        async with server.dial() as connection:
            await hello(connection)
            await connection.send(media(1))
            await connection.send(STOP)
        await final(server)
        path = check(server)
        assert len(messages(path)) == 4
        assert isinstance(entries(path)[-1], End)


@on_a_loop
async def test_a_connection_without_a_stream_leaves_nothing(running: Any, hello: Any) -> None:
    async with running(captures=ON) as server:
        async with server.dial() as connection:
            await connection.send('{"event":"connected"}')
        await final(server, 0)
        assert server.folders() == []


@pytest.mark.blocks  # its sink looks at the disk
@on_a_loop
async def test_a_full_disk_ends_the_capture_and_not_the_stream(
    running: Any, hello: Any, capture_logs: Logs, tmp_path: Path
) -> None:
    (tmp_path / "count.py").write_text(
        "async def sink(stream, events):\n"
        "    heard = sum([len(event.samples) async for event in events if hasattr(event, 'samples')])\n"
        "    stream.annotate('heard', start=0, end=1, rate=8000, data=heard)\n"
    )
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with capture_logs() as logs:
        async with running(captures=ON, sinks={"count": {"use": "./count.py"}}) as server:
            async with server.dial() as connection:
                await hello(connection)
                resource.setrlimit(resource.RLIMIT_FSIZE, (15_000, limits[1]))
                try:
                    for number in range(1, 101):
                        await connection.send(media(number))
                    await connection.send(STOP)
                    async with asyncio.timeout(20):
                        while not any(entry["event"] == "capture_not_written" for entry in logs):
                            await asyncio.sleep(0.01)
                finally:
                    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            await final(server)
            told = server.told()
            assert told["end"]["reason"] == "stop"
            assert [entry["data"] for entry in told["annotations"]] == [16_000]
            found = messages(server.folders()[0] / "capture.jsonl")
            assert found[2:] == [media(number) for number in range(1, len(found) - 1)]
    (said,) = (entry for entry in logs if entry["event"] == "capture_not_written")
    assert "capture.jsonl" in said["problem"]


def test_a_killed_receiver_leaves_a_capture_that_is_good_to_its_last_whole_line(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[server]\nhost = "127.0.0.1"\nport = 0\n[management]\nport = 0\n[captures]\nenabled = true\n'
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RECEIVER")}
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "receiver", "serve"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | {"RECEIVER_TOKEN": "secret"},
        cwd=tmp_path,
    ) as process:
        try:
            assert process.stderr is not None
            said = next(entry for text in process.stderr if (entry := json.loads(text))["event"] == "listening")
            address = said["public"].replace("http", "ws", 1) + "/stream"
            sent: list[tuple[float, str]] = []
            options: dict[str, Any] = {"additional_headers": {"Authorization": "Bearer secret"}, "compression": None}
            # Its end is what this is about: how the client takes that is not.
            with contextlib.suppress(Exception), connect_and_wait(address, proxy=None, **options) as connection:
                format_ = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
                start = {"streamSid": "s", "callSid": "c", "tracks": ["inbound"], "mediaFormat": format_}
                for text in ('{"event":"connected"}', json.dumps({"event": "start", "start": start})):
                    connection.send(text)
                for number in range(1, 101):
                    connection.send(text := media(number))
                    sent.append((time.monotonic(), text))
                    time.sleep(0.02)
                killed = time.monotonic()
                process.send_signal(signal.SIGKILL)
            process.wait()
            assert len(sent) == 100
        finally:
            process.kill()
    (path,) = tmp_path.glob("recordings/*/*/capture.jsonl")
    found = messages(path)[2:]
    assert found == [text for _, text in sent[: len(found)]]
    late = [killed - at for at, _ in sent[len(found) :]]
    # 60 ms for the sweep and 50 for the writer, of a machine that has time: this one may be busy.
    assert max(late, default=0.0) < 1.5, (len(found), late)
    for line in path.read_bytes().split(b"\n")[:-1]:
        SCHEMA.validate(json.loads(line))

    frames = [event for event in played(path) if isinstance(event, Frame)]
    assert sum(len(frame.samples) for frame in frames) == 160 * len(found)
    (path.parent / "spill.jsonl").write_bytes(path.read_bytes())
    assert recover(tmp_path / "recordings", {}) == [path.parent]
    told = json.loads((path.parent / "stream.json").read_text())
    assert told["end"]["reason"] == "crash"
    (listed,) = (file for file in told["files"] if file["path"] == "capture.jsonl")
    assert listed["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not (path.parent / "spill.jsonl").exists()
    assert re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", path.parents[1].name)


@on_a_loop
async def test_played_back_a_real_stream_becomes_what_its_files_say(running: Any, hello: Any) -> None:
    """Losses, silences, restarts and pauses, at times that no test chose."""
    chance = random.Random(7)
    sinks = {"wav": {"use": "wav", "options": {"layout": "separate"}}}
    async with running(captures=ON, privacy={"digits": "keep"}, sinks=sinks, server={"latency_ms": 20}) as server:
        async with server.dial() as connection:
            await hello(connection)
            number, behind = 0, list[str]()
            for step in range(120):
                number += chance.choice([1] * 8 + [2, 5, -number if step > 60 else 1])
                text = media(max(number, 1), step)
                if chance.random() < 0.1:
                    behind.append(text)
                    continue
                await connection.send(text)
                if behind and chance.random() < 0.5:
                    await connection.send(behind.pop())
                if chance.random() < 0.1:
                    await connection.send(json.dumps({"event": "dtmf", "dtmf": {"digit": str(step % 10)}}))
                if step in (40, 100) and (live := server.receiver.live_streams()):
                    live[0].withhold(paused=step == 40)
                if step == 90:
                    live[0].withhold(paused=False, mute="inbound")
                if step == 95:
                    live[0].withhold(unmute="inbound")
                await asyncio.sleep(1.3 if step in (20, 80) else chance.random() * 0.02)
            await connection.send(STOP)
        await final(server)
        told, path = server.told(), check(server)
        audio = np.zeros(told["tracks"]["inbound"]["counters"]["length"], np.int16)
        gaps, digits = [], []
        for event in played(path):
            if isinstance(event, Frame):
                audio[event.start : event.end] = event.samples
            if isinstance(event, Gap):
                gaps.append({"start": event.start, "end": event.end, "cause": event.cause})
            if isinstance(event, Digit):
                digits.append((event.digit, event.position))
        assert np.array_equal(audio, soundfile.read(path.with_name("inbound.wav"), dtype="int16")[0])
        assert _merged(gaps) == _merged(told["tracks"]["inbound"]["gaps"])
        assert {"lost", "paused"} <= {gap["cause"] for gap in gaps}
        assert digits == [(entry["digit"], entry["position"]) for entry in told["digits"]]
        ended = played(path)[-1]
        assert isinstance(ended, Ended)
        assert ended.ignored == told["ignored"]
        counters = told["tracks"]["inbound"]["counters"]
        assert msgspec.to_builtins(ended.tracks["inbound"]) == counters


def _merged(gaps: list[dict[str, Any]]) -> list[list[Any]]:
    spans: list[list[Any]] = []
    for gap in gaps:
        if spans and spans[-1][1:] == [gap["start"], str(gap["cause"])]:
            spans[-1][1] = gap["end"]
        else:
            spans.append([gap["start"], gap["end"], str(gap["cause"])])
    return spans
