"""A sink that was too slow for a while, and reads on from its stream's history."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from receiver.events import Annotation, Cause, Digit, Ended, Event, Frame, Gap

RATE = 8000
LONG = 20.0  # seconds, for what must happen and takes as long as the machine needs
ALL = pytest.mark.parametrize("name", ["gated", "gated_handed", "plain_waiting"])


def whole(events: list[Event], slices: int) -> None:
    """Every sample of what ``publish`` published, once and in order, and the end."""
    audio = [event for event in events if isinstance(event, (Frame, Gap))]
    assert [event.start for event in audio[1:]] == [event.end for event in audio[:-1]]
    samples = np.concatenate([event.samples for event in audio if isinstance(event, Frame)])
    assert np.array_equal(samples, np.repeat(np.arange(slices, dtype=np.int64) * 160 % 30000, 160))
    assert isinstance(events[-1], Ended)


@pytest.mark.parametrize("name", ["gated", "gated_handed", "plain_waiting", "impatient", "impatient_handed"])
def test_one_that_is_stuck_for_a_while_catches_up_and_misses_nothing(tmp_path: Path, town: Any, name: str) -> None:
    kept = town.Kept()

    async def run() -> None:
        async with town.hub_of(a=town.use(name, overflow="spill", buffer_s=0.1)) as hub:
            listeners = hub.open(town.facts(), tmp_path, town, kept.open)
            for number in range(1000):
                listeners.publish(kept.add([town.frame(160 * number)]))
                if number % 10 == 0:
                    listeners.annotation(Annotation("n", None, 160 * number, 160 * number + 160, RATE, number, "b"))
                hub.flush()
                assert listeners.all[0].feed.queued_bytes < 30_000
            town.go.set()
            for number in range(1000, 2000):
                listeners.publish(kept.add([town.frame(160 * number)]))
                hub.flush()
                await asyncio.sleep(0)
            listeners.publish(kept.add([town.ended(320_000)]))
            assert await listeners.finished(LONG)
            result = listeners.results()["a"]
            assert (result.status, result.dropped_s, result.events_dropped) == ("ok", {}, 0)
            await town.until(lambda: [reading.closed for reading in kept.readings] == [1])

    asyncio.run(run())
    whole(town.seen["a"], 2000)
    said = [event.data for event in town.seen["a"] if isinstance(event, Annotation)]
    assert said == list(range(0, 1000, 10))


@ALL
def test_what_was_still_being_written_at_the_end_is_waited_for(tmp_path: Path, town: Any, name: str) -> None:
    kept = town.Kept()

    async def run() -> None:
        async with town.hub_of(a=town.use(name, overflow="spill", buffer_s=0.1)) as hub:
            listeners = hub.open(town.facts(), tmp_path, town, kept.open)
            await town.publish(hub, listeners, 100)
            town.go.set()
            await town.until(lambda: kept.readings and kept.readings[0].reads > 3)  # it asks again and again
            for number in range(100):
                kept.add([town.frame(160 * number)])
                await asyncio.sleep(0)
            assert await listeners.finished(LONG)
            assert listeners.results()["a"].dropped_s == {}

    asyncio.run(run())
    whole(town.seen["a"], 100)


@ALL
def test_what_is_not_kept_is_dropped_and_counted(tmp_path: Path, town: Any, name: str) -> None:
    kept = town.Kept()

    async def run() -> None:
        async with town.hub_of(a=town.use(name, overflow="spill", buffer_s=0.1)) as hub:
            listeners = hub.open(town.facts(), tmp_path, town, kept.open)
            await town.publish(hub, listeners)
            kept.add([town.frame(160 * number) for number in range(20)])
            kept.over = True
            town.go.set()
            assert await listeners.finished(LONG)
            assert listeners.results()["a"].dropped_s == {"inbound": 0.6}
            assert hub.figures()["a"].dropped_s == 0.6

    asyncio.run(run())
    assert town.seen["a"][-2] == Gap("inbound", 3200, 8000, RATE, Cause.DROPPED)
    assert town.samples(town.seen["a"]) == 3200


@ALL
def test_one_that_is_cancelled_while_its_history_is_read_ends_and_lets_it_go_after(
    tmp_path: Path, town: Any, name: str
) -> None:
    kept = town.Kept()
    kept.gate.clear()

    async def run() -> None:
        async with town.hub_of(a=town.use(name, overflow="spill", buffer_s=0.1)) as hub:
            listeners = hub.open(town.facts(), tmp_path, town, kept.open)
            await town.publish(hub, listeners, kept=kept)
            town.go.set()
            await town.until(kept.inside.is_set)
            listeners.abandon()
            assert await listeners.finished(LONG)
            assert listeners.results()["a"].status == "cancelled"
            assert [reading.closed for reading in kept.readings] == [0]
            kept.gate.set()
            await town.until(lambda: kept.readings[0].closed == 1)
        assert [(reading.closed, reading.reads) for reading in kept.readings] == [(1, 1)]

    asyncio.run(run())


def test_when_the_hub_closes_histories_are_let_go(tmp_path: Path, town: Any) -> None:
    kept = town.Kept(at_once=1)

    async def run() -> None:
        async with town.hub_of(a=town.use("gated", overflow="spill", buffer_s=0.1)) as hub:
            listeners = hub.open(town.facts(), tmp_path, town, kept.open)
            listeners.publish(kept.add([town.frame(160 * number) for number in range(50)]))
            hub.flush()
            town.go.set()
            await town.until(lambda: kept.readings)
        await town.until(lambda: kept.readings[0].closed == 1)

    asyncio.run(run())


def test_many_that_were_stuck_read_their_histories_in_few_threads(tmp_path: Path, town: Any) -> None:
    inside, most = itertools.count(), [0]
    histories = [town.Kept() for _ in range(20)]

    async def run() -> None:
        async with town.hub_of(a=town.use("gated", overflow="spill", buffer_s=0.1)) as hub:
            streams = [hub.open(town.facts(), tmp_path, town, kept.open) for kept in histories]
            for kept, listeners in zip(histories, streams, strict=True):
                kept.gate.clear()
                await town.publish(hub, listeners, kept=kept)
            town.go.set()
            await town.until(lambda: sum(kept.inside.is_set() for kept in histories) == 2)
            for _ in range(50):
                await asyncio.sleep(0)
            most[0] = sum(kept.inside.is_set() for kept in histories)
            for kept in histories:
                kept.gate.set()
            for listeners in streams:
                assert await listeners.finished(LONG)
                assert listeners.results()["a"].dropped_s == {}

    asyncio.run(run())
    assert most == [2] and next(inside) == 0
    assert town.samples(town.seen["a"]) == 20 * 8000


def test_without_a_history_it_drops_the_newest(tmp_path: Path, town: Any) -> None:
    async def run() -> None:
        spilling = town.use("gated", overflow="spill", buffer_s=0.1)
        async with town.hub_of(a=spilling) as hub:
            listeners = town.open_stream(hub, tmp_path)
            hub.attach(listeners, "b", town.gated, spilling)
            await town.publish(hub, listeners)
            town.go.set()
            assert await listeners.finished(LONG)
            assert {result.dropped_s["inbound"] for result in listeners.results().values()} == {0.9}

    asyncio.run(run())
    for name in "ab":
        assert town.seen[name][-2] == Gap("inbound", 800, 8000, RATE, Cause.DROPPED)


def test_a_sink_that_drops_reads_no_history(tmp_path: Path, town: Any) -> None:
    kept = town.Kept()

    async def run() -> None:
        async with town.hub_of(a=town.use("gated", buffer_s=0.1), b=town.use("gated", overflow="spill")) as hub:
            listeners = hub.open(town.facts(), tmp_path, town, kept.open)
            await town.publish(hub, listeners, kept=kept)
            town.go.set()
            assert await listeners.finished(LONG)
            assert listeners.results()["a"].dropped_s == {"inbound": 0.9}

    asyncio.run(run())
    assert kept.readings == []  # nor does one that was never too slow


def test_digits_are_the_live_ones(tmp_path: Path, town: Any) -> None:
    kept = town.Kept()

    async def run() -> None:
        async with town.hub_of(a=town.use("gated", overflow="spill", buffer_s=0.1)) as hub:
            listeners = hub.open(town.facts(), tmp_path, town, kept.open)
            for number in range(50):
                listeners.publish([town.frame(160 * number), Digit(str(number % 10), 160 * number + 160, RATE)])
                kept.add([town.frame(160 * number), Digit("X", 160 * number + 160, RATE)])
            listeners.publish(kept.add([town.ended(8000)]))
            town.go.set()
            assert await listeners.finished(LONG)

    asyncio.run(run())
    digits = [event for event in town.seen["a"] if isinstance(event, Digit)]
    assert "".join(digit.digit for digit in digits) == "0123456789" * 5
    for before, event in itertools.pairwise(town.seen["a"]):
        if isinstance(event, Digit):
            assert isinstance(before, Frame) and before.end == event.position


def test_who_needs_a_history_is_known_by_stream_and_before_it_by_source(town: Any) -> None:
    hub = town.hub_of(
        a=town.use("everything"),
        b=town.use("everything", overflow="spill", sources=["one"]),
        c=town.use("everything", on_error="restart", sources=["two"], when={"consent": "yes"}),
    )
    assert hub.needs_history(town.facts("one"))
    assert not hub.needs_history(town.facts("two"))
    assert hub.needs_history(town.facts("two", consent="yes"))
    assert not hub.needs_history(town.facts("three", consent="yes"))
    assert [hub.may_need_history(source) for source in ("one", "two", "three")] == [True, True, False]
