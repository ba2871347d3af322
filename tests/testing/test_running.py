from __future__ import annotations

import asyncio
import json
import re
import urllib.request
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from receiver.errors import ConfigError
from receiver.events import Samples
from receiver.simulate import SPEECH, CallError
from receiver.sinks import blocks
from receiver.testing import NotRecorded, Recorded, running, running_receiver


async def counting(stream: Any, events: Any) -> None:
    heard: dict[str, int] = {}
    async for block in blocks(events):
        heard[block.track] = heard.get(block.track, 0) + len(block.samples)
    stream.annotate("heard", start=0, end=0, rate=8000, data=heard)


def test_a_call_is_recorded_sample_by_sample(tmp_path: Path, tone: Samples) -> None:
    async def run() -> Recorded:
        async with running_receiver(tmp_path) as server:
            return await server.play(
                (tone, 8000), codec="L16", rate=8000, outbound=(tone[::2], 8000), parameters={"from": "me"}
            )

    recorded = asyncio.run(run())
    assert recorded.folder.is_relative_to(tmp_path / "recordings")
    samples, rate = recorded.audio("inbound")
    assert rate == 8000 and np.array_equal(samples, tone)
    assert np.array_equal(recorded.audio("outbound")[0], tone[::2])
    assert recorded.gaps("inbound") == [] == recorded.gaps("outbound")
    assert recorded.told["parameters"] == {"from": "me"} and recorded.told["end"]["reason"] == "stop"
    assert recorded.outcome.ok and recorded.outcome.status == 101 and recorded.outcome.close_code == 1000
    assert not (recorded.folder / "journal.jsonl").exists()


def test_an_hour_at_full_speed_reaches_a_slow_sink_whole(tmp_path: Path) -> None:
    """Ten times what a feed of the server's own default would hold."""
    hour = np.zeros(300 * 8000, np.int16)

    async def slow(stream: Any, events: Any) -> None:
        await asyncio.sleep(0.3)
        await counting(stream, events)

    async def run() -> Recorded:
        async with running_receiver(tmp_path, sinks=[slow]) as server:
            return await server.play((hour, 8000), packet_ms=100)

    recorded = asyncio.run(run())
    assert recorded.annotations[0]["data"] == {"inbound": len(hour)}, recorded
    assert recorded.told["discontinuities"] == [] == recorded.gaps()


def test_without_a_folder_it_leaves_nothing_behind(tone: Samples) -> None:
    async def run() -> Recorded:
        async with running_receiver() as server:
            recorded = await server.play((tone, 8000))
            assert recorded.folder.is_dir()
            return recorded

    assert not asyncio.run(run()).folder.exists()


def test_calls_at_once_find_their_own_folders(tmp_path: Path) -> None:
    lengths = [160 * number for number in range(1, 17)]

    async def run() -> list[Recorded]:
        async with running_receiver(tmp_path, sinks=[counting]) as server:
            return await asyncio.gather(
                *(server.play((np.ones(length, np.int16), 8000), call_id="the-same") for length in lengths)
            )

    recorded = asyncio.run(run())
    assert [call.annotations[0]["data"]["inbound"] for call in recorded] == lengths
    assert len({call.folder for call in recorded}) == len(lengths)


def test_a_call_without_a_stop_message_is_waited_for_as_well(tmp_path: Path, tone: Samples) -> None:
    async def run() -> Recorded:
        async with running_receiver(tmp_path) as server:
            return await server.play((tone, 8000), stop=False)

    recorded = asyncio.run(run())
    assert recorded.told["end"]["reason"] == "close" and len(recorded.audio()[0]) == len(tone)


def test_late_sinks_are_waited_for(tmp_path: Path, tone: Samples) -> None:
    async def late(stream: Any, events: Any) -> None:
        async for _ in events:
            pass
        while not await asyncio.to_thread((stream.directory / "stream.json").exists):
            await asyncio.sleep(0.01)
        stream.annotate("late", start=0, end=0, rate=8000)

    async def run() -> Recorded:
        async with running_receiver(tmp_path, sinks=[late]) as server:
            return await server.play((tone, 8000))

    recorded = asyncio.run(run())
    assert [note["kind"] for note in recorded.annotations] == ["late"]
    assert recorded.told["sinks"]["late"]["status"] == "ok"


def test_a_sink_that_fails_is_told_and_waited_for_no_longer(tmp_path: Path, tone: Samples) -> None:
    async def failing(stream: Any, events: Any) -> None:
        raise RuntimeError("a mistake of mine")

    async def run() -> Recorded:
        async with running_receiver(tmp_path, sinks=[failing]) as server:
            return await server.play((tone, 8000))

    recorded = asyncio.run(run())
    assert "a mistake of mine" in recorded.told["sinks"]["failing"]["error"]
    assert "a mistake of mine" in repr(recorded)


def test_a_recording_that_does_not_become_final_is_named(
    tmp_path: Path, tone: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "GRACE_S", -59.5)

    async def stuck(stream: Any, events: Any) -> None:
        await asyncio.Event().wait()

    async def run() -> str:
        async with running_receiver(tmp_path, sinks={"stuck": {"use": stuck, "finish_timeout_s": 60}}) as server:
            with pytest.raises(TimeoutError) as raised:
                await server.play((tone, 8000))
            server.receiver.hurry()
            return str(raised.value)

    text = asyncio.run(run())
    assert re.fullmatch(rf"the recording in {tmp_path}/\S+ is not final 0.5 s after the call", text)


@asynccontextmanager
async def plugin(*, said: str, folder: Path) -> Any:
    async def sink(stream: Any, events: Any) -> None:
        stream.annotate("said", start=0, end=0, rate=8000, data=[said, str(folder)])

    yield sink


@pytest.mark.parametrize("use", [plugin, "./mine.py"])
def test_plugins_are_given_their_options_and_paths_start_from_the_base(
    tmp_path: Path, tone: Samples, use: object
) -> None:
    (tmp_path / "mine.py").write_text("from contextlib import asynccontextmanager\nfrom pathlib import Path\n")
    with (tmp_path / "mine.py").open("a") as file:
        file.write(
            "@asynccontextmanager\n"
            "async def plugin(*, said: str, folder: Path):\n"
            "    async def sink(stream, events):\n"
            "        stream.annotate('said', start=0, end=0, rate=8000, data=[said, str(folder)])\n"
            "    yield sink\n"
        )

    async def run() -> Recorded:
        sinks = {"mine": {"use": use, "options": {"said": "hello", "folder": "there"}}}
        async with running_receiver(tmp_path, sinks=sinks, base=tmp_path) as server:
            return await server.play((tone, 8000))

    assert asyncio.run(run()).annotations[0]["data"] == ["hello", str(tmp_path / "there")]


def test_a_plain_function_is_a_sink_too(tmp_path: Path, tone: Samples) -> None:
    def plain(stream: Any, events: Any) -> None:
        stream.annotate("heard", start=0, end=0, rate=8000, data=sum(len(block.samples) for block in blocks(events)))

    async def run() -> Recorded:
        async with running_receiver(tmp_path, sinks=[plain]) as server:
            return await server.play((tone, 8000))

    assert asyncio.run(run()).annotations[0]["data"] == len(tone)


def test_what_was_refused_left_no_recording_and_says_why(tmp_path: Path, tone: Samples) -> None:
    async def run() -> list[NotRecorded]:
        refused = []
        async with running_receiver(tmp_path) as server:
            options: Any
            for options in ({"token": "wrong"}, {"token": None}, {"path": "/elsewhere"}):
                with pytest.raises(NotRecorded) as raised:
                    await server.play((tone, 8000), **options)
                refused.append(raised.value)
        return refused

    wrong, none, elsewhere = asyncio.run(run())
    assert [error.outcome.status for error in (wrong, none, elsewhere)] == [401, 401, 404]
    assert str(wrong) == "the call was refused with HTTP 401: Unauthorized"


def test_a_start_that_cannot_be_used_left_no_recording(tmp_path: Path, tone: Samples) -> None:
    async def run() -> NotRecorded:
        async with running_receiver(tmp_path) as server:
            with pytest.raises(NotRecorded) as raised:
                await server.play((tone, 8000), call_id="no id has spaces")
            return raised.value

    error = asyncio.run(run())
    assert error.outcome.status == 101
    closed = f"the connection was closed with {error.outcome.close_code}"
    assert str(error).startswith(f"no stream has started; {closed}") and "connection_ended" in str(error)


def test_a_server_that_is_gone_is_said(tmp_path: Path, tone: Samples) -> None:
    async def run() -> NotRecorded:
        async with running_receiver(tmp_path) as server:
            pass
        with pytest.raises(NotRecorded) as raised:
            await server.play((tone, 8000))
        return raised.value

    assert str(asyncio.run(run())).startswith("the call did not come through: ")


def test_the_source_is_the_first_one_or_the_one_that_is_named(tmp_path: Path, tone: Samples) -> None:
    sources = {"a": {"path": "/a", "dialect": "twilio"}, "b": {"path": "/b/{tenant}"}}

    async def run() -> list[dict[str, Any]]:
        async with running_receiver(tmp_path, sources=sources) as server:
            assert server.url == f"ws://{server.address}/a"
            with pytest.raises(ValueError, match="no source 'c', but a, b"):
                await server.play((tone, 8000), source="c")
            first = await server.play((tone, 8000))
            second = await server.play((tone, 8000), source="b", path="/b/acme")
            return [first.told, second.told]

    first, second = asyncio.run(run())
    assert (first["source"], first["dialect"]) == ("a", "twilio")
    assert (second["source"], second["dialect"], second["path_parameters"]) == ("b", "signalwire", {"tenant": "acme"})


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_receiver(tmp_path) as server:
            with pytest.raises(CallError, match="no such file"):
                await server.play("nowhere.wav")

    asyncio.run(run())


def test_both_listeners_answer(tmp_path: Path) -> None:
    def get(url: str) -> str:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return str(answer.read().decode())

    async def run() -> tuple[str, str]:
        async with running_receiver(tmp_path, sinks=[]) as server:
            await server.play(SPEECH / "outbound.flac")
            return await asyncio.gather(
                asyncio.to_thread(get, f"http://{server.address}/readyz"),
                asyncio.to_thread(get, f"http://{server.management}/metrics"),
            )

    ready, metrics = asyncio.run(run())
    assert json.loads(ready) == {"ready": True}
    assert "receiver_audio_seconds_total" in metrics


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        (("127.0.0.1", 80), "127.0.0.1:80"),
        (("0.0.0.0", 80), "127.0.0.1:80"),
        (("::", 80), "[::1]:80"),
        (("::1", 80), "[::1]:80"),
    ],
)
def test_a_listener_is_reached_where_it_is_bound(bound: tuple[str, int], expected: str) -> None:
    assert running.reachable(bound) == expected


def test_an_exception_leaves_it_without_waiting_for_late_sinks(tmp_path: Path, tone: Samples) -> None:
    cancelled = []

    async def endless(stream: Any, events: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(stream.id)
            raise

    async def run() -> None:
        async with running_receiver(tmp_path, sinks={"endless": {"use": endless, "finish_timeout_s": 3600}}) as server:
            playing = asyncio.create_task(server.play((tone, 8000)))
            while not list(server.directory.glob("*/*/stream.json")):
                await asyncio.sleep(0.01)
            playing.cancel()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(run())
    assert len(cancelled) == 1


def test_a_configuration_that_cannot_work_is_said_before_anything_runs(tmp_path: Path) -> None:
    async def run(**tables: Any) -> str:
        with pytest.raises(ConfigError) as raised:
            async with running_receiver(tmp_path, **tables):
                raise AssertionError("it has started")
        return raised.value.key

    assert asyncio.run(run(limits={"streams": 0})) == "limits.streams"
    assert asyncio.run(run(sinks={"mine": 5})) == "sinks.mine.use"
