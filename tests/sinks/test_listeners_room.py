"""Room: who need not keep up with a call waits for the sinks, and for none that is gone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from receiver.sinks.hub import Hub

LONG = 20.0  # seconds, for what must happen and takes as long as the machine needs


async def pour(hub: Hub, listeners: Any, town: Any, slices: int = 500) -> None:
    """Publish as fast as there is room."""
    async with asyncio.timeout(LONG):
        for number in range(slices):
            await listeners.room(0.02)
            listeners.publish([town.frame(160 * number)])
    listeners.publish([town.ended(160 * slices)])
    assert await listeners.finished(LONG)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for room hears of it from the sinks, or never."""
    monkeypatch.setattr("receiver.sinks.listeners.LOOK_S", 10_000)


@pytest.mark.usefixtures("patient")
def test_who_awaits_room_has_nothing_dropped(tmp_path: Path, town: Any) -> None:
    async def run() -> None:
        names = {"a": "everything", "b": "plain_everything", "c": "plain_tripping"}
        sinks = {name: town.use(use, buffer_s=0.1) for name, use in names.items()}
        async with town.hub_of(**sinks) as hub:
            listeners = town.open_stream(hub, tmp_path)
            await pour(hub, listeners, town)
            assert {tuple(result.dropped_s) for result in listeners.results().values()} == {()}

    asyncio.run(run())
    assert town.samples(town.seen["a"]) == town.samples(town.seen["b"]) == 80_000


def test_one_that_has_spilled_is_no_obstacle(tmp_path: Path, town: Any) -> None:
    kept = town.Kept()

    async def run() -> None:
        async with Hub({"a": town.use("gated", overflow="spill", buffer_s=0.1)}, base=tmp_path, feeds_bytes=1) as hub:
            listeners = hub.open(town.facts(), tmp_path, town, kept.open)
            for number in range(5):
                listeners.publish(kept.add([town.frame(160 * number)]))
                hub.flush()
            waiting = asyncio.create_task(listeners.room(0.02))
            await asyncio.sleep(0)
            assert not waiting.done()
            town.go.set()
            async with asyncio.timeout(LONG):
                await waiting
            listeners.publish(kept.add([town.ended(800)]))
            assert await listeners.finished(LONG)
            assert listeners.results()["a"].dropped_s == {}

    asyncio.run(run())
    assert town.samples(town.seen["a"]) == 800


def test_all_feeds_together_are_waited_for_as_well(tmp_path: Path, town: Any) -> None:
    async def run() -> None:
        sinks = {"a": town.use("everything"), "b": town.use("plain_everything")}
        async with Hub(sinks, base=tmp_path, feeds_bytes=5000) as hub:
            listeners = town.open_stream(hub, tmp_path)
            await pour(hub, listeners, town)
            assert {tuple(result.dropped_s) for result in listeners.results().values()} == {()}

    asyncio.run(run())


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("name", ["gated", "gated_handed", "plain_waiting"])
def test_it_waits_as_long_as_a_sink_takes_nothing(tmp_path: Path, town: Any, name: str) -> None:
    async def run() -> None:
        async with town.hub_of(a=town.use(name, buffer_s=0.1)) as hub:
            listeners = town.open_stream(hub, tmp_path)
            await listeners.room(100)  # into an empty feed goes any amount
            listeners.publish([town.frame(160 * number) for number in range(5)])
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(listeners.room(0.02), 0.05)
            waiting = asyncio.create_task(listeners.room(100))
            await asyncio.sleep(0)
            town.go.set()
            async with asyncio.timeout(LONG):
                await waiting
            assert listeners.all[0].feed.queued_s == 0
            listeners.publish([town.ended(800)])
            assert await listeners.finished(LONG)

    asyncio.run(run())


@pytest.mark.usefixtures("patient")
def test_a_sink_that_has_ended_or_ends_is_not_waited_for(tmp_path: Path, town: Any) -> None:
    async def run() -> None:
        async with town.hub_of(a=town.use("leaving", buffer_s=0.1), b=town.use("gated", buffer_s=0.1)) as hub:
            listeners = town.open_stream(hub, tmp_path)
            listeners.publish([town.frame(160 * number) for number in range(5)])
            hub.flush()
            await town.until(lambda: listeners.results()["a"].status == "ok")
            waiting = asyncio.create_task(listeners.room(0.1))
            await asyncio.sleep(0)
            assert not waiting.done()
            listeners.abandon()
            async with asyncio.timeout(LONG):
                await waiting
                assert await listeners.finished(LONG)
                await listeners.room(100)

    asyncio.run(run())


@pytest.mark.blocks
@pytest.mark.parametrize("name", ["blocking", "blocking_later"])
def test_a_sink_that_blocks_its_loop_is_not_waited_for(
    tmp_path: Path, town: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("receiver.sinks.sink_loop.BLOCKED_S", 0.05)
    monkeypatch.setattr("receiver.sinks.listeners.LOOK_S", 0.01)

    async def run() -> None:
        async with Hub({"a": town.use(name, buffer_s=0.1)}, base=tmp_path, feeds_bytes=1000) as hub:
            listeners = town.open_stream(hub, tmp_path)
            listeners.publish([town.frame(160 * number) for number in range(5)])
            hub.flush()
            await town.until(town.there.is_set)
            async with asyncio.timeout(LONG):
                await listeners.room(0.1)
            assert not town.go.is_set()
            town.go.set()
            listeners.publish([town.ended(800)])
            assert await listeners.finished(LONG)

    asyncio.run(run())


def test_a_stream_without_sinks_has_room(tmp_path: Path, town: Any) -> None:
    async def run() -> None:
        async with town.hub_of() as hub:
            await town.open_stream(hub, tmp_path).room(1000)

    asyncio.run(run())


@pytest.mark.usefixtures("patient")
def test_a_sink_that_waits_to_be_started_again_is_waited_for(
    tmp_path: Path, town: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.sinks.restarts.FIRST_S", 0.001)
    tripped: list[int] = []

    def trips(run: int, event: Any) -> bool:
        if getattr(event, "start", 0) == 1600 and not tripped:
            tripped.append(run)
        return tripped == [run]

    town.trips = trips

    async def run() -> None:
        async with town.hub_of(a=town.use("tripping", on_error="restart", buffer_s=0.1)) as hub:
            listeners = town.open_stream(hub, tmp_path)
            await pour(hub, listeners, town, 50)
            result = listeners.results()["a"]
            assert (result.status, result.dropped_s, result.restarts) == ("ok", {}, 1)

    asyncio.run(run())
