"""The sink around an engine: every sample of speech, once, in its place, whatever else happens."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from receiver_plugins.transcribe import transcript
from receiver_plugins.transcribe.engine import RATE, EngineFailed, Int16Array

from receiver.events import Cause, Digit, Event, Frame, Gap
from receiver.sinks import blocks
from receiver.stream import StreamClosed

FILES = ["transcript.jsonl", "transcript.txt", "transcript.vtt"]


def talk(booth: Any, *seconds: float) -> Int16Array:
    """Speech and silence in turn."""
    return np.concatenate(
        [booth.silence(length) if number % 2 else booth.speech(length) for number, length in enumerate(seconds)]
    )


def both(booth: Any, inbound: Int16Array, outbound: Int16Array, rate: int = RATE, size: int = 1600) -> list[Event]:
    sides = (booth.frames(name, side, size=size, rate=rate) for name, side in
             (("inbound", inbound), ("outbound", outbound)))  # fmt: skip
    return [event for pair in itertools.zip_longest(*sides) for event in pair if event is not None]


def lines_of(directory: Path) -> list[tuple[str, int, int, str]]:
    """Track, start and end at 16 kHz, and the text."""
    return [
        (line.track, line.start * RATE // line.rate, line.end * RATE // line.rate, line.text)
        for line in transcript.read(directory / "transcript.jsonl")
    ]


async def resampled(events: list[Event], booth: Any) -> dict[str, Int16Array]:
    """Each track as a whole at 16 kHz, with zeros for gaps."""
    parts: dict[str, list[Any]] = {}
    async for block in blocks(booth.each(events), rate=RATE):
        parts.setdefault(block.track, []).append(block.samples)
    return {track: np.concatenate(pieces) for track, pieces in parts.items()}


@pytest.mark.parametrize("rate", [8000, 16_000, 24_000, 48_000])
def test_the_engine_is_fed_exactly_the_samples_of_the_spans_that_are_told(
    booth: Any, tmp_path: Path, rate: int
) -> None:
    """Also behind gaps of any length, and with frames that fit nothing."""
    side = np.concatenate([booth.speech(0.9, rate), booth.silence(0.9, rate), booth.speech(0.7, rate)])
    hole = round(0.0377 * rate)
    events: list[Event] = [
        Gap("inbound", 0, hole, rate, Cause.UNSENT),
        *booth.frames("inbound", side, hole, 173, rate),
        Digit("5", 8, rate),
        Gap("inbound", hole + len(side), 2 * hole + len(side), rate, Cause.LOST),
        *booth.frames("inbound", side, 2 * hole + len(side), 997, rate),
    ]
    at = 2 * (hole + len(side))
    events += [Gap("inbound", at, at + 500 * rate, rate, Cause.PAUSED)]
    events += list(booth.frames("inbound", side, at + 500 * rate, 1600, rate))
    engine = booth.Counting()
    owner = booth.transcribe(tmp_path, events, engine, rate=rate)
    whole = asyncio.run(resampled(events, booth))["inbound"]
    heard = engine.heard()
    assert len(heard) == len(owner.finals) == 5  # where the tracks meet there is no silence between
    for audio, said in zip(heard, owner.finals, strict=True):
        start, end = (round(position * RATE / rate) for position in (said.start, said.end))
        assert abs(end - start - len(audio)) <= 1 and said.rate == rate
        found = [first for first in (start - 1, start, start + 1)
                 if np.array_equal(whole[first : first + len(audio)], audio)]  # fmt: skip
        assert found
    assert sum(map(len, heard)) > 5 * 0.7 * RATE
    assert owner.finals[-1].start > at + 500 * rate - rate


def test_tracks_are_transcribed_side_by_side_and_merged_by_time(booth: Any, tmp_path: Path) -> None:
    inbound, outbound = talk(booth, 0.6, 1.5, 0.6, 1), np.concatenate([booth.silence(1), talk(booth, 0.6, 1)])
    engine = booth.Counting()
    owner = booth.transcribe(tmp_path, both(booth, inbound, outbound), engine)
    assert [name for name, _, _ in owner.files] == ["transcript.jsonl", "transcript.vtt", "transcript.txt"]
    assert sorted(file.name for file in tmp_path.iterdir()) == FILES
    text = (tmp_path / "transcript.txt").read_text().splitlines()
    assert [line.split()[:2] for line in text] == [["0:00", "inbound"], ["0:00", "outbound"], ["0:01", "inbound"]]
    assert [note.kind for note in owner.said] == ["transcript"] * len(owner.said)
    assert [note.data["utterance"] for note in owner.finals if note.track == "inbound"] == [1, 2]
    assert owner.partials and all(note.data["final"] is False for note in owner.partials)
    assert all(note.data["final"] is True and note.data["words"] for note in owner.finals)
    for line, note in zip(
        sorted(transcript.read(tmp_path / "transcript.jsonl"), key=lambda line: (line.track, line.start)),
        sorted(owner.finals, key=lambda note: (str(note.track), note.start)),
        strict=True,
    ):
        assert (line.track, line.start, line.end, line.rate) == (note.track, note.start, note.end, note.rate)
        assert line.data() == note.data


def test_one_place_serves_two_people_who_talk_at_once_for_longer_than_may_wait(booth: Any, tmp_path: Path) -> None:
    """Who has the place is never kept waiting for audio by who has not."""
    inbound, outbound = talk(booth, 12, 0.99), talk(booth, 10.8, 2.01)
    engine = booth.Counting(places=1)
    booth.transcribe(tmp_path, both(booth, inbound, outbound), engine, pending_s=1, pending_total_s=1, max_speech_s=5)
    assert engine.most == 1
    assert sum(map(len, engine.heard())) == round((12.3 + 11.1) * RATE)


def test_no_more_waits_in_memory_than_may_and_then_no_event_is_taken(booth: Any, tmp_path: Path) -> None:
    engine = booth.Counting(places=1)
    release = asyncio.Event()
    engine.trouble = lambda ear: release.wait()
    events = both(booth, talk(booth, *[1.0, 1.0] * 20), booth.silence(40))
    taken = 0

    async def counted() -> AsyncIterator[Event]:
        nonlocal taken
        for event in events:
            taken += 1
            yield event
            await asyncio.sleep(0)

    async def run() -> None:
        stream, owner = booth.stream_in(tmp_path)
        sink: Any = booth.plugin_of(engine, pending_s=4).sink
        running = asyncio.create_task(sink(stream, counted()))
        await booth.until(lambda: taken > 50)
        before = -1
        while before != taken:  # it has come to a stop
            before = taken
            for _ in range(200):
                await asyncio.sleep(0)
        assert taken < len(events) / 3
        release.set()
        await asyncio.wait_for(running, booth.WAIT_S)
        assert len(owner.finals) == 20

    asyncio.run(run())
    assert taken == len(events)


def test_all_tracks_together_wait_for_no_more_than_may(booth: Any, tmp_path: Path) -> None:
    """The bound of the process holds over streams, and everybody gets through."""
    engine = booth.Counting(places=1)
    folders = [tmp_path / str(number) for number in range(3)]

    async def run() -> None:
        sink: Any = booth.plugin_of(engine, pending_total_s=1.5, max_speech_s=5).sink
        calls = []
        for folder in folders:
            folder.mkdir()
            stream, _ = booth.stream_in(folder)
            events = both(booth, talk(booth, 6, 0.99), talk(booth, 0.6, 0.99, 4.2, 1.5))
            calls.append(asyncio.create_task(sink(stream, booth.each(events))))
        await asyncio.wait_for(asyncio.gather(*calls), booth.WAIT_S)

    asyncio.run(run())
    for folder in folders:
        assert sum(end - start for _, start, end, _ in lines_of(folder)) == round((6.3 + 0.9 + 4.8) * RATE)


def lag(plugin: Any) -> float:
    registry = CollectorRegistry()
    registry.register(plugin.metrics)
    found = registry.get_sample_value("receiver_transcribe_lag_seconds")
    assert found is not None
    return found


def test_the_lag_grows_while_the_engine_is_slow_and_is_gone_when_it_has_caught_up(booth: Any, tmp_path: Path) -> None:
    engine = booth.Counting()
    release = asyncio.Event()
    over = asyncio.Event()
    engine.trouble = lambda ear: release.wait()

    async def events() -> AsyncIterator[Event]:
        for event in booth.frames("inbound", np.concatenate([booth.silence(2), talk(booth, 1, 3)])):
            yield event
        await over.wait()

    async def run() -> None:
        stream, _ = booth.stream_in(tmp_path)
        plugin = booth.plugin_of(engine)
        assert lag(plugin) == 0
        running = asyncio.create_task(plugin.sink(stream, events()))
        await booth.until(lambda: lag(plugin) > 4)  # 6 s are there, and nothing is transcribed behind 1.7 s
        before = lag(plugin)
        await booth.until(lambda: lag(plugin) > before)
        release.set()
        await booth.until(lambda: lag(plugin) == 0)
        over.set()
        await asyncio.wait_for(running, booth.WAIT_S)
        assert lag(plugin) == 0

    asyncio.run(run())


def test_a_sink_that_is_cancelled_leaves_what_was_finished_and_says_what_was_not(booth: Any, tmp_path: Path) -> None:
    engine = booth.Counting(places=1)
    stuck = asyncio.Event()
    engine.trouble = lambda ear: stuck.wait() if engine.heard() else None

    async def run() -> Any:
        stream, owner = booth.stream_in(tmp_path)
        sink: Any = booth.plugin_of(engine).sink
        events = booth.frames("inbound", talk(booth, 0.9, 0.99, 0.9, 0.99, 0.9, 0.99))
        running = asyncio.create_task(sink(stream, booth.each(events)))
        await booth.until(lambda: len(engine.ears) == 2)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return owner

    owner = asyncio.run(run())
    assert [name for name, _, _ in owner.files] == ["transcript.jsonl", "transcript.vtt", "transcript.txt"]
    first, second = transcript.read(tmp_path / "transcript.jsonl")
    assert first.error is None and first.text == f"{len(engine.heard()[0])} samples"
    assert second.error == "not transcribed in time" and second.start_s == 1.59
    assert (tmp_path / "transcript.txt").read_text().endswith("[not transcribed in time]\n")


def test_a_sink_that_nobody_listens_to_any_more_still_writes_its_files(booth: Any, tmp_path: Path) -> None:
    class Deaf(booth.Owner):  # type: ignore[misc, name-defined]
        deaf = False

        def annotated(self, annotation: Any) -> None:
            if self.deaf:
                raise StreamClosed("gone")
            super().annotated(annotation)

    engine = booth.Counting(places=1)
    engine.trouble = lambda ear: asyncio.Event().wait()

    async def run() -> None:
        stream, owner = booth.stream_in(tmp_path, owner=Deaf())
        sink: Any = booth.plugin_of(engine).sink
        running = asyncio.create_task(sink(stream, booth.each(booth.frames("inbound", talk(booth, 0.9, 1)))))
        await booth.until(lambda: engine.ears)
        owner.deaf = True
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(run())
    assert sorted(file.name for file in tmp_path.iterdir()) == FILES


def test_an_engine_that_does_not_let_go_keeps_nobody_from_the_files(booth: Any, tmp_path: Path) -> None:
    """A sink that is cancelled has a second, and a connection may take longer to close."""
    leaving, let_go = asyncio.Event(), asyncio.Event()

    class Clinging(booth.Counting):  # type: ignore[misc, name-defined]
        @asynccontextmanager
        async def recognize(self) -> AsyncIterator[Any]:
            async with super().recognize() as ear:
                try:
                    yield ear
                finally:
                    leaving.set()
                    await let_go.wait()

    async def run() -> Any:
        engine = Clinging()
        engine.trouble = lambda ear: asyncio.Event().wait()
        stream, owner = booth.stream_in(tmp_path)
        sink: Any = booth.plugin_of(engine).sink
        running = asyncio.create_task(sink(stream, booth.each(booth.frames("inbound", talk(booth, 0.9, 1)))))
        await booth.until(lambda: engine.ears)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert leaving.is_set() and not let_go.is_set()
        let_go.set()
        return owner

    owner = asyncio.run(run())
    assert sorted(name for name, _, _ in owner.files) == FILES


def test_what_an_engine_raises_by_mistake_ends_the_sink_as_it_is(booth: Any, tmp_path: Path) -> None:
    engine = booth.Counting()

    def trouble(ear: Any) -> None:
        raise LookupError("a mistake of the engine's")

    engine.trouble = trouble
    with pytest.raises(LookupError, match="a mistake of the engine's"):
        booth.transcribe(tmp_path, booth.frames("inbound", talk(booth, 0.9, 1)), engine)
    (line,) = transcript.read(tmp_path / "transcript.jsonl")
    assert line.error == "not transcribed, as the sink has failed"


def test_a_run_that_follows_one_that_failed_goes_on_in_its_files(booth: Any, tmp_path: Path) -> None:
    """As ``on_error = "restart"`` has it: what was done with is a gap."""
    side = talk(booth, 0.9, 1)
    booth.transcribe(tmp_path, booth.frames("inbound", side))
    again: list[Event] = [Gap("inbound", 0, len(side), RATE, Cause.DROPPED), *booth.frames("inbound", side, len(side))]
    owner = booth.transcribe(tmp_path, again)
    lines = transcript.read(tmp_path / "transcript.jsonl")
    assert [line.utterance for line in lines] == [1, 2]
    assert lines[1].start >= len(side) and owner.finals[0].data["utterance"] == 2
    assert len((tmp_path / "transcript.txt").read_text().splitlines()) == 2


def test_an_engine_that_comes_and_goes_loses_and_repeats_nothing(booth: Any, tmp_path: Path) -> None:
    """The same finals as one that stays."""
    sides = talk(booth, 0.9, 1, 3, 1, 0.6, 1), talk(booth, 2, 1, 0.9, 1)
    steady, shaky = booth.Counting(), booth.Counting()
    turn = itertools.count()

    def trouble(ear: Any) -> None:
        if next(turn) % 7 == 3:
            raise EngineFailed("it went away")

    shaky.trouble = trouble
    (tmp_path / "steady").mkdir()
    (tmp_path / "shaky").mkdir()
    booth.transcribe(tmp_path / "steady", both(booth, *sides), steady)
    booth.transcribe(tmp_path / "shaky", both(booth, *sides), shaky, attempts=10)
    assert sorted(lines_of(tmp_path / "shaky")) == sorted(lines_of(tmp_path / "steady"))
    assert next(turn) > 10


def test_a_call_without_audio_has_an_empty_transcript(booth: Any, tmp_path: Path) -> None:
    owner = booth.transcribe(tmp_path, [booth.ended()])
    assert len(owner.files) == 3 and owner.said == []


def test_a_folder_that_cannot_be_written_to_ends_the_sink_and_says_so(booth: Any, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"transcript\.jsonl"):
        booth.transcribe(tmp_path / "gone", booth.frames("inbound", talk(booth, 0.9, 1)))


def test_hours_of_audio_at_once_leave_others_their_turn(booth: Any, tmp_path: Path) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def at_once(events: Iterable[Event]) -> AsyncIterator[Event]:
        for event in events:
            yield event

    async def run() -> None:
        stream, _ = booth.stream_in(tmp_path)
        sink: Any = booth.plugin_of(booth.Counting()).sink
        other = asyncio.create_task(count())
        await sink(stream, at_once([Frame("inbound", 0, RATE, booth.silence(60))]))
        other.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await other

    asyncio.run(run())
    assert turns >= 60 / 0.03 / 100
