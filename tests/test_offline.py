"""A capture through sinks offline: the same, byte for byte, as when it was live."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from receiver.asgi.receiver import Receiver
from receiver.asgi.server import listening
from receiver.audio import Encoding
from receiver.config import Config
from receiver.events import EndReason
from receiver.offline import Offline, Processed
from receiver.simulate import SPEECH, Call, Key, messages

WAV = {"wav": {"use": "wav"}}
Said = list[tuple[float, str]]


def config(base: Path, **tables: Any) -> Config:
    table = {
        "server": {"host": "127.0.0.1", "port": 0, "shutdown_delay_s": 0, "latency_ms": 20},
        "management": {"port": 0},
        "limits": {"burst_s": 0},
        "captures": {"enabled": True},
        "sources": {"default": {"auth": {"use": "none"}}},
        "sinks": WAV,
        **tables,
    }
    return Config.model_validate(table, context={"base": base, "environ": {}})


def live(settings: Config, *talks: Callable[[ClientConnection, Receiver], Awaitable[None]]) -> list[Path]:
    """Have a real receiver receive what these say, each on a connection of its own; the folders, oldest first."""

    async def run() -> None:
        receiver = Receiver(settings)
        async with listening(receiver) as addresses:
            for talk in talks:
                url = f"ws://127.0.0.1:{addresses.public[1]}/stream"
                async with connect(url, compression=None, proxy=None) as connection:
                    await talk(connection, receiver)

    asyncio.run(run())
    return sorted((settings.base / "recordings").glob("*/*"))


def offline(settings: Config, root: Path, *captures: Path) -> list[Processed]:
    async def run() -> list[Processed]:
        async with Offline(settings, root) as processing:
            return [await processing.process(capture) for capture in captures]

    return asyncio.run(run())


def saying(said: Said, *, pace_s: float = 0.0) -> Callable[[ClientConnection, Receiver], Awaitable[None]]:
    async def talk(connection: ClientConnection, receiver: Receiver) -> None:
        for number, (_, message) in enumerate(said):
            await connection.send(message)
            if pace_s and number % 20 == 19:
                await asyncio.sleep(pace_s)

    return talk


def troubled(said: Said) -> Said:
    """Lost, repeated, swapped and unreadable messages, a leap of the peer's clock, and no stop message."""
    changed = [line for number, line in enumerate(said) if number not in (100, 101, 102, 333)]
    changed[50:50] = [changed[49]]
    changed[70], changed[73] = changed[73], changed[70]
    unreadable = json.loads(changed[150][1])
    unreadable["media"]["payload"] = "&"
    changed[150] = (0.0, json.dumps(unreadable))
    changed[160] = (0.0, '{"event":')
    leapt = [json.loads(message) for _, message in changed[700:]]
    for message in leapt:
        if message["event"] == "media":
            message["media"]["timestamp"] = str(int(message["media"]["timestamp"]) + 90_000_000)
    return [*changed[:700], *((0.0, json.dumps(message)) for message in leapt if message["event"] != "stop")]


def speech(**more: Any) -> Said:
    sides = {"inbound": SPEECH / "inbound.flac", "outbound": SPEECH / "outbound.flac"}
    return list(messages(Call(**{**sides, "keys": (Key("5", 1.0), Key("#", 2.0)), **more})))


def same(first: Path, second: Path) -> None:
    """Every file of a live stream, but for its capture, is there again, byte for byte."""
    names = {path.name for path in first.iterdir()} - {"capture.jsonl"}
    assert {path.name for path in second.iterdir()} == names
    for name in names - {"stream.json"}:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    told, again = (json.loads((folder / "stream.json").read_text()) for folder in (first, second))
    told["files"] = [file for file in told["files"] if file["kind"] != "capture"]
    assert again == told


@pytest.mark.parametrize(
    "call",
    [
        {},
        {"dialect": "twilio", "parameters": {"from": "+15550100", "n": 3}},
        {"encoding": Encoding.PCMA, "stop": False},
        {"encoding": Encoding.L16, "rate": 16000},
        {"encoding": Encoding.OPUS},
    ],
    ids=["PCMU", "twilio", "PCMA without stop", "L16", "OPUS"],
)
def test_what_comes_out_is_what_came_out_live(tmp_path: Path, call: dict[str, Any]) -> None:
    settings = config(tmp_path)
    (folder,) = live(settings, saying(speech(**call)))
    (done,) = offline(settings, tmp_path / "again", folder / "capture.jsonl")
    assert done.ok
    assert done.directory == tmp_path / "again" / folder.parent.name / folder.name
    same(folder, done.directory)


def test_troubles_come_out_the_same(tmp_path: Path) -> None:
    settings = config(tmp_path)
    (folder,) = live(settings, saying(troubled(speech()), pace_s=0.03))
    (done,) = offline(settings, tmp_path / "again", folder / "capture.jsonl")
    told = json.loads((folder / "stream.json").read_text())
    causes = {gap["cause"] for track in told["tracks"].values() for gap in track["gaps"]}
    assert causes >= {"lost", "rejected"}
    assert told["discontinuities"]
    assert told["end"] == {**told["end"], "reason": "close", "stop_received": False}
    assert done.directory is not None
    same(folder, done.directory)


def test_a_flood_of_small_messages_comes_out_the_same(tmp_path: Path) -> None:
    """What was read together is played together, so that a verdict falls at the same place."""
    said = speech(stop=False)
    empty = json.dumps({"event": "media", "media": {"track": "inbound", "payload": ""}})
    small = [*[empty] * 60, *['{"event":"x"}'] * 12_000]

    async def talk(connection: ClientConnection, receiver: Receiver) -> None:
        await saying([*said[:20], *((0.0, one) for one in small), *said[20:30]])(connection, receiver)

    settings = config(tmp_path)
    (folder,) = live(settings, talk)
    (done,) = offline(settings, tmp_path / "again", folder / "capture.jsonl")
    assert done.directory is not None
    same(folder, done.directory)


def test_tracks_come_out_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    said = speech()
    for number, (at, message) in list(enumerate(said))[::-1][: len(said) - 200]:
        if '"outbound"' in message:
            said.insert(number + 1, (at, message.replace('"outbound"', '"third"')))
    settings = config(tmp_path)
    (folder,) = live(settings, saying(said, pace_s=0.01))
    (done,) = offline(settings, tmp_path / "again", folder / "capture.jsonl")
    assert done.directory is not None
    same(folder, done.directory)


def test_a_pause_comes_out_the_same(tmp_path: Path) -> None:
    said = speech()

    async def talk(connection: ClientConnection, receiver: Receiver) -> None:
        await saying(said[:400])(connection, receiver)
        await asyncio.sleep(0.2)
        (stream,) = receiver.live_streams()
        stream.withhold(paused=True)
        await saying(said[400:800])(connection, receiver)
        await asyncio.sleep(0.2)
        stream.withhold(paused=False, mute="outbound")
        await saying(said[800:])(connection, receiver)

    settings = config(tmp_path)
    (folder,) = live(settings, talk)
    (done,) = offline(settings, tmp_path / "again", folder / "capture.jsonl")
    assert done.directory is not None
    same(folder, done.directory)
    told = json.loads((folder / "stream.json").read_text())
    assert all(any(gap["cause"] == "paused" for gap in track["gaps"]) for track in told["tracks"].values())


def test_many_captures_one_after_the_other_through_a_sink_of_ones_own(tmp_path: Path) -> None:
    """Each gets all of its audio, however slow the sink is."""
    (tmp_path / "slow.py").write_text(
        textwrap.dedent("""
        import asyncio

        async def sink(stream, events):
            samples = 0
            async for event in events:
                samples += len(getattr(event, "samples", ()))
                await asyncio.sleep(0.01)
            stream.annotate("counted", start=0, end=samples, rate=stream.format.rate)
        """)
    )
    folders = live(config(tmp_path), saying(speech()), saying(speech(encoding=Encoding.PCMA)))
    slow = config(tmp_path, sinks={"slow": {"use": "./slow.py", "buffer_s": 1}})
    done = offline(slow, tmp_path / "again", *(folder / "capture.jsonl" for folder in folders))
    for one in done:
        assert one.ok
        assert one.directory is not None
        told = json.loads((one.directory / "stream.json").read_text())
        assert [annotation["end"] for annotation in told["annotations"]] == [2 * 168000]
        assert told["sinks"]["slow"]["dropped_s"] == {}


def test_a_source_is_read_as_it_is_configured_now(tmp_path: Path) -> None:
    """What was read wrong then can be read right today."""
    said = speech(encoding=Encoding.L16, byte_order="big")
    (folder,) = live(config(tmp_path), saying(said))
    source = {"auth": {"use": "none"}, "l16_byte_order": "big"}
    now = config(tmp_path, sources={"default": source})
    (done,) = offline(now, tmp_path / "again", folder / "capture.jsonl")
    (right,) = live(config(tmp_path / "right", sources={"default": source}), saying(said))
    assert done.directory is not None
    assert (done.directory / "inbound.wav").read_bytes() == (right / "inbound.wav").read_bytes()
    assert (folder / "inbound.wav").read_bytes() != (right / "inbound.wav").read_bytes()


def test_what_came_before_a_broken_line_is_there(tmp_path: Path) -> None:
    settings = config(tmp_path)
    (folder,) = live(settings, saying(speech()))
    lines = (folder / "capture.jsonl").read_bytes().splitlines(keepends=True)
    broken, cut = tmp_path / "broken.jsonl", tmp_path / "cut.jsonl"
    broken.write_bytes(b"".join(lines[:500]) + b"nonsense\n" + b"".join(lines[500:]))
    cut.write_bytes(b"".join(lines[:500]) + lines[500][:100])
    nothing, empty = tmp_path / "nothing.jsonl", tmp_path / "empty.jsonl"
    nothing.write_bytes(lines[0] + lines[1])
    empty.write_bytes(b"")
    done = offline(settings, tmp_path / "again", broken, cut, nothing, empty, tmp_path / "missing.jsonl")
    assert [one.ok for one in done] == [False, True, False, False, False]
    assert done[0].problem == f"{broken}, line 501: is not [seconds, code, value]"
    for one in done[:2]:
        assert one.directory is not None
        told = json.loads((one.directory / "stream.json").read_text())
        assert told["end"]["reason"] == "crash"
        assert told["tracks"]["inbound"]["counters"]["placed"] > 200
    assert "no stream starts in it" in str(done[2].problem)
    assert "has no whole line" in str(done[3].problem)
    assert "missing.jsonl" in str(done[4].problem)


def test_an_hour_that_came_at_one_time_is_read_in_pieces(tmp_path: Path) -> None:
    start, media = speech()[1][1], json.loads(speech()[2][1])
    lines = ['{"version":1,"settings":{"burst_s":0}}', f'[0.1,"m",{start}]']
    media["media"]["payload"] = base64.b64encode(bytes(8000)).decode()
    for number in range(3600):
        media["media"] |= {"track": "inbound", "chunk": str(number + 1), "timestamp": str(1000 * number)}
        lines.append(f'[0.2,"m",{json.dumps(media)}]')
    (tmp_path / "burst.jsonl").write_text("\n".join(lines) + "\n")
    read: list[int] = []

    async def run() -> Processed:
        async with Offline(config(tmp_path), tmp_path / "again") as processing:
            return await processing.process(tmp_path / "burst.jsonl", read.append)

    done = asyncio.run(run())
    assert (done.problem, done.reason, done.duration_s) == (None, EndReason.CRASH, 3600.0)
    whole = (tmp_path / "burst.jsonl").stat().st_size
    assert max(after - before for before, after in itertools.pairwise([0, *read])) < whole / 2
