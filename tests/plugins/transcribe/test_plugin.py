"""The plugin as it is configured, with the engine that comes with it: real calls, real words."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import tomllib
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from receiver_plugins.transcribe import transcript
from receiver_plugins.transcribe.engine import RATE
from receiver_plugins.transcribe.settings import Settings
from websockets.asyncio.server import ServerConnection, serve

from receiver.config import Config
from receiver.errors import ConfigError
from receiver.events import Annotation, Event
from receiver.records import Annotated, Record
from receiver.simulate import SPEECH
from receiver.sinks import Plugin, each
from receiver.sinks.loading import load
from receiver.testing import run_receiver, running_receiver

pocketsphinx = pytest.importorskip("pocketsphinx")

PAGE = Path(__file__).parents[3] / "docs" / "transcription.md"
SLOWLY = pytest.mark.timeout(180)  # a slow machine takes long to transcribe a call
SPOKEN = {  # seconds: where the sides talk, from the README of the speech
    "outbound": [(0.4, 3.7), (9.2, 15.9), (15.9, 17.4), (19.8, 21)],
    "inbound": [(3.7, 9.2), (13.5, 15.9), (17.4, 19.8)],
}


def overhearing(heard: list[Annotation], records: list[Annotation]) -> Any:
    """Another plugin, which is told what the first one says: its sink while the call lives, its reader always."""

    async def sink(stream: Any, events: AsyncIterator[Event]) -> None:
        await each(events, lambda event: heard.append(event) if isinstance(event, Annotation) else None)

    async def read(said: AsyncIterator[Record]) -> None:
        async for record in said:
            records.extend([record.annotation] if isinstance(record, Annotated) else [])

    @asynccontextmanager
    async def plugin() -> AsyncIterator[Plugin]:
        yield Plugin(sink=sink, records=read)

    return plugin


@SLOWLY
def test_the_bundled_call_is_transcribed(booth: Any, tmp_path: Path) -> None:
    told: list[Annotation] = []
    sinks = {"words": {"use": "transcribe", "options": {"partial_s": 0}}, "other": overhearing([], told)}
    with run_receiver(tmp_path, sinks=sinks) as server:
        recorded = server.play(SPEECH / "inbound.flac", outbound=SPEECH / "outbound.flac", codec="OPUS")
    assert {name: sink["status"] for name, sink in recorded.told["sinks"].items()} == {"words": "ok", "other": "ok"}
    lines = [json.loads(line) for line in recorded.file("transcript.jsonl").read_text().splitlines()]

    words = {word["text"] for line in lines for word in line["words"]}
    assert {"good", "morning", "help", "order", "tomorrow", "anything", "else", "goodbye"} <= words
    assert len(lines) >= 5 and {line["track"] for line in lines} == {"inbound", "outbound"}
    for line in lines:
        assert (line["final"], line["rate"]) == (True, 48_000)
        assert any(start - 0.4 <= line["start_s"] < line["end_s"] <= end + 1.5 for start, end in merged(line["track"]))
        assert line["start"] <= line["words"][0]["start"] and line["words"][-1]["end"] <= line["end"]
        assert all(0 <= word["confidence"] <= 1 for word in line["words"])
    anything = next(word for line in lines for word in line["words"] if word["text"] == "anything")
    assert 15.9 <= anything["start"] / 48_000 < anything["end"] / 48_000 <= 17.4

    assert list(map(as_line, recorded.annotations)) == lines
    assert [(note.sink, note.start, note.data["text"]) for note in told] == [
        ("words", line["start"], line["text"]) for line in lines
    ]
    files = {file["path"]: (file["kind"], file["media_type"], file["sink"]) for file in recorded.told["files"]}
    assert files == {
        "transcript.jsonl": ("transcript", "application/jsonl", "words"),
        "transcript.vtt": ("transcript", "text/vtt", "words"),
        "transcript.txt": ("transcript", "text/plain", "words"),
    }
    in_order = sorted(lines, key=lambda line: (line["start"], line["end"]))
    assert [text for _, text in booth.by_ffmpeg(recorded.file("transcript.vtt"))] == [line["text"] for line in in_order]
    said = recorded.file("transcript.txt").read_text().splitlines()
    assert said[0].split()[:2] == ["0:00", "outbound"] and said[1].split()[:2] == ["0:03", "inbound"]
    assert all(re.fullmatch(r" \d:\d\d  (inbound |outbound)  \S.*", line) for line in said)


def merged(track: str) -> Iterator[tuple[float, float]]:
    """Where a side talks, without a pause between."""
    start, end = SPOKEN[track][0]
    for begin, finish in SPOKEN[track][1:]:
        if begin > end:
            yield start, end
            start = begin
        end = finish
    yield start, end


def as_line(note: dict[str, Any]) -> dict[str, Any]:
    """An annotation in the words of ``transcript.jsonl``."""
    return {**{name: note[name] for name in ("track", "start", "end", "rate")}, **note["data"]}


def worker() -> int | None:
    """The worker process of the engine, which is a child of ours."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes()
        except (OSError, IndexError):
            continue
        if parent == os.getpid() and b"pocketsphinx" in command:
            return int(folder.name)
    return None


@SLOWLY
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for the worker in /proc")
def test_a_worker_that_is_killed_in_the_middle_of_a_call_costs_no_word_and_repeats_none(
    booth: Any, tmp_path: Path
) -> None:
    """What is not final is heard by other sinks, and kept nowhere."""
    heard: list[Annotation] = []
    samples = booth.sentence()

    async def call(server: Any, *, kill: bool) -> None:
        heard.clear()
        async with booth.phone(server.url, server.token) as phone:
            await phone.say(samples[: 2 * RATE])
            await booth.until(lambda: heard)  # it is in the middle of an utterance
            assert not heard[0].data["final"] and heard[0].data["text"]
            if kill:
                pid = await asyncio.to_thread(worker)
                assert pid is not None
                os.kill(pid, signal.SIGKILL)
            await phone.say(samples[2 * RATE :])
            await booth.until(lambda: heard[-1].data["final"])
            await phone.hang_up()

    async def both() -> tuple[list[Path], dict[str, float]]:
        words = {"use": "transcribe", "options": {"workers": 1, "partial_s": 0}}
        async with running_receiver(tmp_path, sinks={"words": words, "other": overhearing(heard, [])}) as server:
            await call(server, kill=False)
            await call(server, kill=True)
            folders = await booth.final(tmp_path, 2)
            return folders, await asyncio.to_thread(metrics, server.management)

    (undisturbed, disturbed), figures = asyncio.run(both())
    lines = (disturbed / "transcript.jsonl").read_bytes()
    assert lines == (undisturbed / "transcript.jsonl").read_bytes()
    assert lines.count(b"\n") == 1 and len((disturbed / "transcript.txt").read_text().splitlines()) == 1
    for folder in (undisturbed, disturbed):
        told = json.loads((folder / "stream.json").read_text())
        assert [note["data"]["final"] for note in told["annotations"]] == [True]
    assert figures['receiver_transcribe_engine_failures_total{sink="words"}'] == 1
    assert figures['receiver_transcribe_utterances_total{sink="words"}'] == 2
    assert figures['receiver_transcribe_lag_seconds{sink="words"}'] == 0


def metrics(address: str) -> dict[str, float]:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def test_a_slow_engine_lags_spills_and_catches_up_and_nothing_is_lost(booth: Any, tmp_path: Path) -> None:
    """By how much it is behind is told meanwhile."""
    slow, fast = booth.Counting(places=1), booth.Counting(places=1)
    call = np.concatenate([booth.speech(0.9, 8000), booth.silence(0.9, 8000)] * 20)

    def plugin_of(engine: Any) -> Any:
        @asynccontextmanager
        async def plugin() -> Any:
            yield booth.plugin_of(engine, pending_s=2)

        return plugin

    async def run() -> tuple[Any, float]:
        go = asyncio.Event()
        loops: list[asyncio.AbstractEventLoop] = []

        def wait(ear: Any) -> Any:
            loops.append(asyncio.get_running_loop())
            return go.wait()

        slow.trouble = wait
        sinks = {
            "slow": {"use": plugin_of(slow), "overflow": "spill", "buffer_s": 1},
            "fast": {"use": plugin_of(fast), "overflow": "spill"},
        }
        # Two sinks of one kind in one folder are a mistake, but for one that writes into another's call.
        async with running_receiver(tmp_path, sinks={"slow": sinks["slow"]}) as server:
            playing = asyncio.create_task(server.play((call, 8000)))
            lag = 0.0
            while lag < 3:  # more than may wait in memory: the rest of the call is on the disk
                assert not playing.done()
                await asyncio.sleep(0.02)
                figures = await asyncio.to_thread(metrics, server.management)
                lag = figures['receiver_transcribe_lag_seconds{sink="slow"}']
            loops[0].call_soon_threadsafe(go.set)
            recorded = await playing
            figures = await asyncio.to_thread(metrics, server.management)
            assert figures['receiver_transcribe_lag_seconds{sink="slow"}'] == 0
        async with running_receiver(tmp_path, sinks={"fast": sinks["fast"]}) as server:
            return recorded, await server.play((call, 8000))

    behind, prompt = asyncio.run(run())
    assert behind.told["sinks"]["slow"] == {
        "status": "ok", "error": None, "dropped_s": {}, "events_dropped": 0, "restarts": 0
    }  # fmt: skip
    assert behind.file("transcript.jsonl").read_bytes() == prompt.file("transcript.jsonl").read_bytes()
    assert len(slow.heard()) == len(fast.heard()) == 20
    assert all(np.array_equal(one, other) for one, other in zip(slow.heard(), fast.heard(), strict=True))


def test_two_calls_at_once_have_a_transcript_each(booth: Any, tmp_path: Path) -> None:
    engine = booth.Counting(places=1)
    sides = [np.concatenate([booth.speech(0.9 * number), booth.silence(0.9)] * 3) for number in (1, 2)]

    @asynccontextmanager
    async def plugin() -> Any:
        yield booth.plugin_of(engine)

    async def run() -> Any:
        async with running_receiver(tmp_path, sinks=[plugin]) as server:
            calls = (server.play((side, 16_000), codec="L16", rate=16_000) for side in sides)
            return await asyncio.gather(*calls)

    for side, recorded in zip(sides, asyncio.run(run()), strict=True):
        lines = transcript.read(recorded.file("transcript.jsonl"))
        assert [line.utterance for line in lines] == [1, 2, 3]
        told = {f"{line.end - line.start} samples" for line in lines}
        assert {line.text for line in lines} == told
        for line in lines:  # nothing is resampled at this rate: what was sent is what the engine was given
            sent = side[line.start : line.end]
            assert any(np.array_equal(sent, heard) for heard in engine.heard())


def test_a_transcript_that_is_not_ready_in_time_is_told_as_far_as_it_is(booth: Any, tmp_path: Path) -> None:
    engine = booth.Counting(places=1)
    engine.trouble = lambda ear: asyncio.Event().wait() if engine.heard() else None
    side = np.concatenate([booth.speech(0.9), booth.silence(0.9)] * 3)

    @asynccontextmanager
    async def plugin() -> AsyncIterator[Plugin]:
        yield booth.plugin_of(engine)

    with run_receiver(tmp_path, sinks={"words": {"use": plugin, "finish_timeout_s": 1}}) as server:
        recorded = server.play((side, RATE), codec="L16", rate=RATE)
    assert recorded.told["sinks"]["words"]["status"] == "cancelled"
    assert [file["path"] for file in recorded.told["files"]] == ["transcript.jsonl", "transcript.vtt", "transcript.txt"]
    assert all(file["bytes"] for file in recorded.told["files"])
    first, rest = transcript.read(recorded.file("transcript.jsonl"))
    assert first.error is None and rest.error == "not transcribed in time"
    assert [note["data"].get("error") for note in recorded.annotations] == [None, "not transcribed in time"]
    assert rest.end_s == 4.8  # to where somebody has spoken last


def test_a_server_elsewhere_is_chosen_by_its_address_and_fed_every_sample(booth: Any, tmp_path: Path) -> None:
    side = booth.sentence()
    fed: list[int] = []

    async def hear(connection: ServerConnection) -> None:
        """As vosk-server answers: nothing to its configuration, a partial to audio, the text to the end."""
        samples = 0
        async for message in connection:
            if isinstance(message, bytes):
                samples += len(message) // 2
                await connection.send(json.dumps({"partial": f"{samples}"}))
            elif "eof" in message:
                fed.append(samples)
                word = {"word": "heard", "start": 0.1, "end": 0.5, "conf": 0.75}
                await connection.send(json.dumps({"text": "heard", "result": [word]}))
                return

    async def run() -> Any:
        async with serve(hear, "127.0.0.1", 0) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            words = {"use": "transcribe", "options": {"engine": "vosk_server", "url": url}}
            async with running_receiver(tmp_path, sinks={"words": words}) as receiver:
                return await receiver.play((side, RATE), codec="L16", rate=RATE)

    recorded = asyncio.run(run())
    (line,) = transcript.read(recorded.file("transcript.jsonl"))
    assert line.text == "heard" and [word.confidence for word in line.words] == [0.75]
    assert len(fed) == 1 and 3 * RATE <= fed[0] <= len(side)


@pytest.mark.parametrize(
    ("options", "key", "problem"),
    [
        ({"engine": "sphinx"}, "engine", "input should be 'pocketsphinx', 'faster_whisper' or 'vosk_server'"),
        ({"silence_s": 0}, "silence_s", "input should be greater than or equal to 0.1"),
        ({"padding_s": -1}, "padding_s", "input should be greater than or equal to 0"),
        ({"max_speech_s": 1}, "max_speech_s", "input should be greater than or equal to 5"),
        ({"pending_s": 0}, "pending_s", "input should be greater than or equal to 1"),
        ({"pending_total_s": 0}, "pending_total_s", "input should be greater than or equal to 1"),
        ({"vad_mode": 4}, "vad_mode", "input should be less than or equal to 3"),
        ({"partial_s": -1}, "partial_s", "input should be greater than or equal to 0"),
        ({"attempts": 0}, "attempts", "input should be greater than or equal to 1"),
        ({"workers": 0}, "workers", "input should be greater than or equal to 1"),
        ({"timeout_s": 0}, "timeout_s", "input should be greater than 0"),
        ({"sentences": True}, "sentences", "there is no such option; there are: attempts, beam_size, "),
    ],
)
def test_an_option_that_cannot_be_is_named_with_what_it_may_be(
    tmp_path: Path, options: dict[str, Any], key: str, problem: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        load("words", "transcribe", options, tmp_path)
    assert raised.value.key == f"sinks.words.options.{key}"
    assert raised.value.problem.startswith(problem)


@pytest.mark.parametrize(
    ("options", "key", "problem"),
    [
        ({"url": "ws://127.0.0.1:1"}, "url", "is no option of the engine pocketsphinx, which has: model, workers"),
        ({"engine": "faster_whisper"}, "model", "is required by the engine faster_whisper"),
        ({"engine": "faster_whisper", "model": "nowhere"}, "model", "nowhere"),
        ({"beam_size": 3}, "beam_size", "is no option of the engine pocketsphinx"),
        ({"engine": "vosk_server"}, "url", "is required by the engine vosk_server"),
        (
            {"engine": "vosk_server", "url": "ws://127.0.0.1:1", "model": "x"},
            "model",
            "is no option of the engine vosk",
        ),
        ({"model": "nowhere"}, "model", "nowhere is no directory that can be read"),
    ],
)
def test_an_option_that_is_not_the_engines_or_leads_nowhere_is_named_by_the_start_and_by_check(
    tmp_path: Path, options: dict[str, Any], key: str, problem: str
) -> None:
    with (
        pytest.raises(ConfigError) as raised,
        run_receiver(tmp_path, sinks={"words": {"use": "transcribe", "options": options}}),
    ):
        raise AssertionError("it has started")
    assert raised.value.key == f"sinks.words.options.{key}"
    assert problem in raised.value.problem
    (line,) = asyncio.run(load("words", "transcribe", options, tmp_path).check())
    assert line.startswith(f"{key}: ") and problem in line


def test_check_finds_nothing_wrong_with_the_defaults(tmp_path: Path) -> None:
    assert asyncio.run(load("words", "transcribe", {}, tmp_path).check()) == []


def test_check_says_that_a_server_cannot_be_reached(tmp_path: Path) -> None:
    options = {"engine": "vosk_server", "url": "ws://127.0.0.1:1"}
    (line,) = asyncio.run(load("words", "transcribe", options, tmp_path).check())
    assert line.startswith("url: ") and "127.0.0.1:1" in line


def test_every_setting_is_an_option_with_the_same_default(tmp_path: Path) -> None:
    options = load("words", "transcribe", {}, tmp_path).options
    settings = Settings()
    assert {name: options[name] for name in Settings.__struct_fields__} == {
        name: getattr(settings, name) for name in Settings.__struct_fields__
    }


def test_the_page_names_every_option_of_the_plugin(tmp_path: Path) -> None:
    page = PAGE.read_text()
    assert [name for name in load("words", "transcribe", {}, tmp_path).options if f"`{name}`" not in page] == []


def test_what_the_page_has_to_paste_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECH_TOKEN", "secret")
    for block in re.findall(r"^```toml\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE):
        table = {"sinks": tomllib.loads(block)["sinks"]}
        config = Config.model_validate(table, context={"environ": {"RECEIVER_TOKEN": "x"}, "base": tmp_path})
        for name, sink in config.sinks.items():
            load(name, sink.use, sink.options, tmp_path)


def test_the_sink_on_the_page_hears_what_is_final(
    booth: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "mine.py").write_text(source)
    heard: list[Annotation] = []

    @asynccontextmanager
    async def plugin() -> AsyncIterator[Plugin]:
        yield booth.plugin_of(booth.Counting())

    async def run() -> None:
        sinks = {"words": plugin, "mine": str(tmp_path / "mine.py"), "other": overhearing(heard, [])}
        async with running_receiver(tmp_path, sinks=sinks) as server, booth.phone(server.url, server.token) as phone:
            await phone.say(np.concatenate([booth.speech(0.6), booth.silence(1)]))
            await booth.until(lambda: heard and heard[-1].data["final"])
            await phone.hang_up()

    asyncio.run(run())
    assert re.fullmatch(r"CA1 inbound 0\.0 \d+ samples\n", capsys.readouterr().out)
