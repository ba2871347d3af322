"""A sink's loop: whatever is done to it, it is done to one sink, and never for good to the process."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import soundfile
from websockets.asyncio.client import connect

from receiver.sinks.sink_loop import SinkLoop

LONG = 20.0  # seconds, for what must happen and takes as long as the machine needs


class Bell:
    """A reader that counts how often it was woken."""

    def __init__(self) -> None:
        self.dirty = False
        self.woken = 0

    def wake(self) -> None:
        """Once more."""
        self.woken += 1


async def nothing() -> None:
    """A sink without anything to close."""


@pytest.mark.blocks
def test_beside_a_sink_that_blocks_its_loop_the_others_hear_everything_while_it_does(tmp_path: Path, town: Any) -> None:
    async def run() -> None:
        sinks = {"bad": "blocking", "good": "everything", "plain": "plain_everything"}
        async with town.hub_of(**{name: town.use(use) for name, use in sinks.items()}) as hub:
            listeners = town.open_stream(hub, tmp_path)
            await town.until(town.there.is_set)
            await town.publish(hub, listeners, 500)
            await town.until(lambda: {listeners.results()[name].status for name in ("good", "plain")} == {"ok"})
            assert not town.go.is_set()
            assert listeners.results()["bad"].status == "running"
            hub.attach(listeners, "late", town.everything)  # one of a new name has a loop of its own as well
            await town.until(lambda: listeners.results()["late"].status == "ok")
            hub.attach(listeners, "good", town.everything)  # and one of a known name has that of the other
            town.go.set()
            assert await listeners.finished(LONG)

    asyncio.run(run())
    for name in ("bad", "good", "plain"):
        assert town.samples(town.seen[name]) == 80_000


@pytest.mark.parametrize("name", ["stopping", "exiting_later"])
def test_a_sink_that_stops_its_loop_or_exits_from_it_stops_nothing(tmp_path: Path, town: Any, name: str) -> None:
    async def run() -> None:
        async with town.hub_of(bad=town.use(name), good=town.use("everything")) as hub:
            for _ in range(2):
                listeners = town.open_stream(hub, tmp_path)
                await town.publish(hub, listeners)
                assert await listeners.finished(LONG)
                assert {result.status for result in listeners.results().values()} == {"ok"}

    asyncio.run(run())
    assert town.samples(town.seen["good"]) == town.samples(town.seen["bad"]) == 16_000


def test_a_task_that_exits_is_logged(tmp_path: Path, town: Any, capture_logs: Any) -> None:
    async def run() -> None:
        async with town.hub_of(bad=town.use("exiting_later")) as hub:
            listeners = town.open_stream(hub, tmp_path)
            await town.publish(hub, listeners)
            assert await listeners.finished(LONG)

    with capture_logs() as logs:
        asyncio.run(run())
    (line,) = [line for line in logs if line["event"] == "sink_task_failed"]
    assert (line["sink"], line["error"]) == ("bad", "SystemExit: 4")


@pytest.mark.blocks
def test_a_blocked_loop_is_said_once_each_time_and_is_no_healthy_sink(
    tmp_path: Path, town: Any, capture_logs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.sinks.sink_loop.BLOCKED_S", 0.05)

    async def run() -> None:
        async with town.hub_of(bad=town.use("blocking"), good=town.use("leaving", when={"good": "yes"})) as hub:
            for _ in range(2):
                town.go.clear()
                town.there.clear()
                alone = town.open_stream(hub, tmp_path)
                await town.until(town.there.is_set)
                beside = town.open_stream(hub, tmp_path, good="yes")
                alone.publish([town.frame(0)])
                hub.flush()
                await town.until(lambda stream=alone: not stream.healthy)
                assert not hub.healthy()
                assert beside.healthy  # it has another sink
                hub.flush()
                hub.flush()
                town.go.set()
                await town.until(hub.healthy)
                for listeners in (alone, beside):
                    listeners.publish([town.ended(160)])
                    assert await listeners.finished(LONG)

    with capture_logs() as logs:
        asyncio.run(run())
    assert [line["sink"] for line in logs if line["event"] == "sink_blocked"] == ["bad", "bad"]


@pytest.mark.blocks
def test_a_ring_wakes_all_who_were_marked_and_none_is_sent_behind_one_on_its_way() -> None:
    async def run() -> None:
        loop, bells, gate = SinkLoop("mine"), [Bell(), Bell()], threading.Event()
        sent: list[object] = []
        send = loop.call
        loop.call = lambda function: sent.append(function) or send(function)  # type: ignore[assignment,func-returns-value]
        loop.ring()
        assert sent == []  # nobody is to be woken
        send(lambda: gate.wait(LONG))
        for _ in range(3):
            for bell in (*bells, *bells):
                loop.mark_dirty(bell)
            loop.ring()
        assert len(sent) == 1
        gate.set()
        while any(bell.dirty for bell in bells):
            await asyncio.sleep(0.002)
        loop.mark_dirty(bells[0])
        loop.ring()
        assert await loop.end(nothing, LONG)
        assert [bell.woken for bell in bells] == [2, 1]

    asyncio.run(run())


def test_a_loop_that_has_ended_takes_nothing_and_may_be_ended_again() -> None:
    async def run() -> None:
        loop, bell = SinkLoop("mine"), Bell()
        assert await loop.end(nothing, LONG)
        assert await loop.end(nothing, LONG)
        assert not loop.call(bell.wake)
        loop.mark_dirty(bell)
        loop.ring()
        assert (bell.woken, loop.blocked) == (0, False)

    asyncio.run(run())


@pytest.mark.blocks
@pytest.mark.parametrize("kind", ["already", "in closing"])
def test_a_loop_that_is_stuck_is_left_behind(kind: str, capture_logs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.sinks.sink_loop.STUCK_S", 0.1 if kind == "already" else LONG)
    gate = threading.Event()

    async def close() -> None:
        gate.wait(LONG)

    async def run() -> None:
        loop = SinkLoop("mine")
        if kind == "already":
            loop.call(lambda: gate.wait(LONG))
        assert not await loop.end(close, 0.1)
        gate.set()
        while any(thread.name == "loop of sink mine" for thread in threading.enumerate()):
            await asyncio.sleep(0.002)  # it ends when it can

    with capture_logs() as logs:
        asyncio.run(run())
    assert [(line["event"], line["sink"]) for line in logs] == [("sink_loop_left_behind", "mine")]


BLOCKING = """
import time

async def sink(stream, events):
    async for event in events:
        print("blocked", flush=True)
        time.sleep(3600)
"""

CONFIG = """
[server]
port = 0
shutdown_delay_s = 0
[management]
port = 0
[limits]
burst_s = 0
[recordings]
path = "{call_id}"
[sinks.wav]
use = "wav"
[sources.default.auth]
use = "none"
"""


def packet(number: int) -> str:
    media = {"track": "inbound", "chunk": str(number), "timestamp": str(20 * (number - 1))}
    media["payload"] = base64.b64encode(bytes(160)).decode()
    return json.dumps({"event": "media", "media": media})


def test_a_process_with_a_sink_that_blocks_for_good_records_on_and_ends_at_the_second_signal(tmp_path: Path) -> None:
    (tmp_path / "blocking.py").write_text(BLOCKING)
    (tmp_path / "config.toml").write_text(CONFIG)
    start = {
        "streamSid": "s",
        "callSid": "call",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    }

    async def run() -> float:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "receiver", "serve", "-c", "config.toml", "--sink", "./blocking.py"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=tmp_path,
        )
        assert process.stdout is not None and process.stderr is not None
        try:
            async with asyncio.timeout(40):
                said: dict[str, Any] = {}
                while said.get("event") != "listening":
                    said = json.loads(await process.stderr.readline())
                async with connect(said["public"].replace("http", "ws", 1) + "/stream", proxy=None) as peer:
                    await peer.send('{"event":"connected","protocol":"Call","version":"1.0.0"}')
                    await peer.send(json.dumps({"event": "start", "sequenceNumber": "1", "start": start}))
                    for number in range(1, 101):
                        await peer.send(packet(number))
                    assert await process.stdout.readline() == b"blocked\n"
                    process.send_signal(signal.SIGTERM)
                    while said.get("event") != "stopping":
                        said = json.loads(await process.stderr.readline())
                    process.send_signal(signal.SIGTERM)
                    signalled = time.monotonic()
                    rest = await process.stderr.read()
                    assert await process.wait() == 0, rest
                    took = time.monotonic() - signalled
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            for pipe in (process.stdout, process.stderr):
                pipe._transport.close()  # type: ignore[attr-defined]  # else its destructor warns
        events = [json.loads(line)["event"] for line in rest.splitlines()]
        assert "sink_left_behind" in events and "sink_loop_left_behind" in events
        return took

    took = asyncio.run(run())
    assert took < 30  # less than 10 on any machine that does nothing else; the sink's own 60 are not waited for
    samples, rate = soundfile.read(tmp_path / "recordings" / "call" / "inbound.wav", dtype="int16")
    assert (len(samples), rate) == (16_000, 8000)
