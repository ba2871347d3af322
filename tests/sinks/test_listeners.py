"""Listeners: all sinks of one stream together."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from receiver.events import Annotation, Ended

RATE = 8000
LONG = 20.0  # seconds, for what must happen and takes as long as the machine needs


def test_an_annotation_reaches_the_other_sinks(tmp_path: Path, town: Any) -> None:
    async def run() -> None:
        async with town.hub_of(talker=town.use("everything"), other=town.use("everything")) as hub:
            listeners = town.open_stream(hub, tmp_path)
            listeners.annotation(Annotation("transcript", "inbound", 0, 160, RATE, "hello", "talker"))
            await town.until(lambda: town.seen.get("other"))
            listeners.publish([town.ended(0)])
            assert await listeners.finished(LONG)

    asyncio.run(run())
    assert [type(event) for event in town.seen["other"]] == [Annotation, Ended]
    assert [type(event) for event in town.seen["talker"]] == [Ended]


@pytest.mark.blocks  # add_file resolves a path, which asks the file system
def test_what_a_sink_says_reaches_the_owner_also_after_the_end(tmp_path: Path, town: Any) -> None:
    async def run() -> None:
        async with town.hub_of(talker=town.use("talking")) as hub:
            listeners = town.open_stream(hub, tmp_path)
            await town.publish(hub, listeners)
            assert await listeners.finished()

    asyncio.run(run())
    assert town.annotations == [Annotation("transcript", "inbound", 0, 160, RATE, {"text": "hello"}, "talker")]
    assert town.said == ["talker notes.txt"]


def test_abandoned_sinks_are_cancelled(tmp_path: Path, town: Any) -> None:
    async def run() -> None:
        async with town.hub_of(a=town.use("stuck"), b=town.use("plain_everything"), c=town.use("plain_waiting")) as hub:
            listeners = town.open_stream(hub, tmp_path)
            await town.until(town.there.is_set)
            listeners.abandon()
            listeners.abandon()
            assert not await listeners.finished(LONG)
            results = listeners.results()
            assert [results[name].status for name in "abc"] == ["cancelled", "cancelled", "running"]
            town.go.set()
            at_once = town.open_stream(hub, tmp_path)
            at_once.abandon()
            assert await at_once.finished(LONG)
            await town.until(lambda: hub.room_for_stream())

    asyncio.run(run())


def test_health_is_bad_while_every_sink_of_a_live_stream_has_failed(tmp_path: Path, town: Any) -> None:
    async def run() -> None:
        async with town.hub_of(one=town.use("raising"), two=town.use("exiting")) as hub:
            assert hub.healthy()
            listeners = town.open_stream(hub, tmp_path)
            await town.until(lambda: listeners.results()["two"].status == "failed")
            assert hub.healthy()
            listeners.publish([town.frame(0)])
            hub.flush()
            await town.until(lambda: not hub.healthy())
            listeners.publish([town.frame(160), town.ended(320)])
            assert hub.healthy()
            assert await listeners.finished(LONG)
            assert {name: figures.failures for name, figures in hub.figures().items()} == {"one": 1, "two": 1}

    asyncio.run(run())


@pytest.mark.blocks
def test_the_wait_for_sinks_ends_also_when_their_loop_is_stuck(
    tmp_path: Path, town: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.sinks.listeners.SPARE_S", 0.05)

    async def run() -> None:
        async with town.hub_of(a=town.use("blocking", finish_timeout_s=0)) as hub:
            listeners = town.open_stream(hub, tmp_path)
            await town.until(town.there.is_set)
            listeners.publish([town.frame(0), town.ended(160)])
            assert not await listeners.finished()
            result = listeners.results()["a"]
            assert result.status == "running" and "left behind" in (result.error or "")
            assert listeners.all[0].feed.queued_bytes == 0  # nothing is kept for a sink that is not waited for
            town.go.set()
            await town.until(lambda: listeners.results()["a"].status == "cancelled")

    asyncio.run(run())


@pytest.mark.blocks
def test_streams_go_without_a_sink_that_has_blocked_its_loop_past_the_end_of_another(
    tmp_path: Path, town: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.sinks.listeners.SPARE_S", 0.05)
    monkeypatch.setattr("receiver.sinks.sink_loop.BLOCKED_S", 0.05)

    async def run() -> None:
        async with town.hub_of(a=town.use("blocking", finish_timeout_s=0)) as hub:
            left = town.open_stream(hub, tmp_path)
            await town.until(town.there.is_set)
            left.publish([town.frame(0)])
            hub.flush()
            await town.until(lambda: not hub.healthy())
            meanwhile = town.open_stream(hub, tmp_path)
            assert meanwhile.results()["a"].status == "running"  # it may go on in time
            left.publish([town.ended(160)])
            assert not await left.finished()
            without = town.open_stream(hub, tmp_path)
            assert without.results()["a"].status == "failed"
            assert "it blocks its loop" in (without.results()["a"].error or "")
            assert hub.figures()["a"].failures == 2
            town.go.set()
            await town.until(lambda: not meanwhile.all[0].loop.blocked)
            again = town.open_stream(hub, tmp_path)
            for listeners in (meanwhile, without, again):
                listeners.publish([town.ended(0)])
                await listeners.finished(LONG)
            assert again.results()["a"].status in ("ok", "cancelled")
            assert hub.figures()["a"].failures == 2

    asyncio.run(run())


@pytest.mark.blocks
@pytest.mark.parametrize("first", ["the wait", "the end of patience"])
def test_abandoning_shortens_the_wait_also_when_a_loop_is_stuck(
    tmp_path: Path, town: Any, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    monkeypatch.setattr("receiver.sinks.listeners.SPARE_S", 0.05)
    monkeypatch.setattr("receiver.sinks.listeners.CANCEL_S", 0.05)

    async def run() -> None:
        async with town.hub_of(a=town.use("blocking", finish_timeout_s=10_000)) as hub:
            listeners = town.open_stream(hub, tmp_path)
            await town.until(town.there.is_set)
            listeners.publish([town.ended(0)])
            if first == "the wait":
                waiting = [asyncio.create_task(listeners.finished(limit)) for limit in (None, 0.5, 10_000)]
                await asyncio.sleep(0)
                listeners.abandon()
            else:
                listeners.abandon()
                waiting = [asyncio.create_task(listeners.finished(10_000))]
            listeners.abandon()  # once more changes nothing
            async with asyncio.timeout(LONG):
                assert set(await asyncio.gather(*waiting)) == {False}
            assert "left behind" in (listeners.results()["a"].error or "")
            assert not await listeners.finished()
            listeners.abandon()
            town.go.set()

    asyncio.run(run())


def test_what_does_not_fit_is_in_the_results_of_that_sink_alone(tmp_path: Path, town: Any) -> None:
    async def run() -> None:
        async with town.hub_of(slow=town.use("gated", buffer_s=0.1), good=town.use("everything")) as hub:
            listeners = town.open_stream(hub, tmp_path)
            await town.publish(hub, listeners)
            assert not await listeners.finished(0.01)  # the slow one still runs
            town.go.set()
            assert await listeners.finished(LONG)
            results = listeners.results()
            assert (results["slow"].dropped_s, results["good"].dropped_s) == ({"inbound": 0.9}, {})
            assert {result.events_dropped for result in results.values()} == {0}

    asyncio.run(run())


def test_a_stream_without_sinks_is_healthy_and_finished(tmp_path: Path, town: Any) -> None:
    async def run() -> None:
        async with town.hub_of() as hub:
            listeners = town.open_stream(hub, tmp_path)
            listeners.publish([])
            assert listeners.healthy
            assert await listeners.finished()
            assert listeners.results() == {}

    asyncio.run(run())
