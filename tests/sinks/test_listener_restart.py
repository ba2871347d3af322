"""A sink that fails and is to be started again: where it goes on, and when it stops."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from receiver.events import Cause, Ended, Event, Frame, Gap

RATE = 8000
LONG = 20.0  # seconds, for what must happen and takes as long as the machine needs
ALL = pytest.mark.parametrize("name", ["tripping", "handed_tripping", "plain_tripping"])


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever wants to see a sink waiting makes it wait."""
    monkeypatch.setattr("receiver.sinks.restarts.FIRST_S", 0.001)
    monkeypatch.setattr("receiver.sinks.restarts.LONGEST_S", 0.002)
    yield


def at(*positions: int) -> Any:
    """Trips on the frames that begin there, once on each."""
    left = list(positions)

    def trips(run: int, event: Event) -> bool:
        if isinstance(event, Frame) and event.start in left:
            left.remove(event.start)
            return True
        return False

    return trips


def heard(runs: list[list[Event]]) -> list[int]:
    """Where the frames began that runs came to an end with."""
    return [event.start for run in runs[:-1] for event in run[:-1] if isinstance(event, Frame)] + [
        event.start for event in runs[-1] if isinstance(event, Frame)
    ]


@ALL
def test_it_goes_on_with_the_event_it_failed_on(tmp_path: Path, town: Any, capture_logs: Any, name: str) -> None:
    town.trips = at(1600, 1760, 4000)

    async def run() -> None:
        async with town.hub_of(a=town.use(name, on_error="restart")) as hub:
            listeners = town.open_stream(hub, tmp_path)
            await town.publish(hub, listeners)
            assert await listeners.finished(LONG)
            result = listeners.results()["a"]
            assert (result.status, result.error, result.restarts, result.dropped_s) == ("ok", None, 3, {})
            assert hub.figures()["a"].failures == 1
            assert hub.room_for_stream()

    with capture_logs() as logs:
        asyncio.run(run())
    runs = town.runs["a"]
    assert heard(runs) == [160 * number for number in range(50)]
    for run_, start in zip(runs[1:], (1600, 1760, 4000), strict=True):
        assert run_[0] == Gap("inbound", 0, start, RATE, Cause.DROPPED)
        first = run_[1]
        assert isinstance(first, Frame) and first.start == start
    assert isinstance(runs[-1][-1], Ended)
    assert len(town.annotations) == 4  # what each of its runs said
    failures = [line for line in logs if line["event"] == "sink_restarting"]
    assert [(line["sink"], line["stream"], line["attempt"], line["delay_s"]) for line in failures] == [
        ("a", "0198", 1, 0.001)
    ] * 3
    assert {line["error"] for line in failures} == {"ValueError: tripped"}


@ALL
def test_an_event_that_it_always_fails_on_ends_it(tmp_path: Path, town: Any, capture_logs: Any, name: str) -> None:
    town.trips = lambda run, event: isinstance(event, Frame) and event.start == 320

    async def run() -> None:
        async with town.hub_of(a=town.use(name, on_error="restart", threads=1)) as hub:
            listeners = town.open_stream(hub, tmp_path)
            listeners.publish([town.frame(160 * number) for number in range(5)])
            hub.flush()
            await town.until(lambda: listeners.results()["a"].status == "failed")
            assert not listeners.healthy
            assert (listeners.results()["a"].error, listeners.results()["a"].restarts) == ("ValueError: tripped", 9)
            assert hub.figures()["a"].failures == 1
            assert hub.room_for_stream()
            listeners.publish([town.ended(800)])
            assert await listeners.finished(LONG)

    with capture_logs() as logs:
        asyncio.run(run())
    assert [line["event"] for line in logs] == ["sink_restarting"] * 9 + ["sink_failed"]
    assert [line["attempt"] for line in logs[:-1]] == list(range(1, 10))


@pytest.mark.parametrize(
    ("name", "error"), [("exiting", "SystemExit: 3"), ("self_cancelled", "CancelledError"), ("raising", "ValueError")]
)
def test_whatever_it_raises_it_is_started_again(
    tmp_path: Path, town: Any, monkeypatch: pytest.MonkeyPatch, name: str, error: str
) -> None:
    monkeypatch.setattr("receiver.sinks.restarts.ATTEMPTS", 3)

    async def run() -> None:
        async with town.hub_of(a=town.use(name, on_error="restart")) as hub:
            listeners = town.open_stream(hub, tmp_path)
            listeners.publish([town.frame(0)])
            hub.flush()
            await town.until(lambda: listeners.results()["a"].status == "failed")
            result = listeners.results()["a"]
            assert error in (result.error or "") and result.restarts == 2

    asyncio.run(run())


@ALL
def test_the_end_is_given_to_the_next_run_as_well(tmp_path: Path, town: Any, name: str) -> None:
    town.trips = lambda run, event: run == 1 and isinstance(event, Ended)

    async def run() -> None:
        async with town.hub_of(a=town.use(name, on_error="restart")) as hub:
            listeners = town.open_stream(hub, tmp_path)
            await town.publish(hub, listeners)
            assert await listeners.finished(LONG)
            assert listeners.results()["a"].status == "ok"

    asyncio.run(run())
    gap, end = town.runs["a"][1]
    assert gap == Gap("inbound", 0, 8000, RATE, Cause.DROPPED) and isinstance(end, Ended)


@ALL
@pytest.mark.parametrize("how", ["abandoned", "too late", "the hub closes"])
def test_one_that_waits_to_be_started_ends_at_once(
    tmp_path: Path, town: Any, monkeypatch: pytest.MonkeyPatch, name: str, how: str
) -> None:
    monkeypatch.setattr("receiver.sinks.restarts.FIRST_S", 10_000)
    monkeypatch.setattr("receiver.sinks.restarts.LONGEST_S", 10_000)
    town.trips = at(0)

    async def run() -> None:
        finish_timeout_s = 0 if how == "too late" else 60
        sink = town.use(name, on_error="restart", threads=1, finish_timeout_s=finish_timeout_s)
        async with town.hub_of(a=sink) as hub:
            listeners = town.open_stream(hub, tmp_path)
            listeners.publish([town.frame(0)])
            hub.flush()
            await town.until(lambda: listeners.all[0].feed.idle)
            assert hub.room_for_stream() == (name != "plain_tripping")  # its thread is kept for it
            assert hub.figures()["a"].failures == 1
            assert listeners.healthy
            if how == "too late":
                listeners.publish([town.ended(160)])
            elif how == "abandoned":
                listeners.abandon()
            if how != "the hub closes":
                assert await listeners.finished(LONG)
                assert hub.room_for_stream()
        result = listeners.results()["a"]
        assert (result.status, result.error, result.restarts) == ("cancelled", "ValueError: tripped", 0)

    asyncio.run(run())


@ALL
@pytest.mark.parametrize("overflow", ["drop_newest", "drop_oldest", "spill"])
def test_what_comes_while_it_waits_and_does_not_fit_is_not_lost(
    tmp_path: Path, town: Any, monkeypatch: pytest.MonkeyPatch, name: str, overflow: str
) -> None:
    monkeypatch.setattr("receiver.sinks.restarts.FIRST_S", 0.5)  # far longer than it takes to publish
    monkeypatch.setattr("receiver.sinks.restarts.LONGEST_S", 0.5)
    kept = town.Kept()
    town.trips = at(0)

    async def run() -> None:
        async with town.hub_of(a=town.use(name, on_error="restart", overflow=overflow, buffer_s=0.1)) as hub:
            listeners = hub.open(town.facts(), tmp_path, town, kept.open)
            listeners.publish(kept.add([town.frame(0)]))
            hub.flush()
            await town.until(lambda: listeners.all[0].feed.idle)
            listeners.publish(kept.add([town.frame(160 * number) for number in range(1, 200)]))
            assert listeners.all[0].feed.queued_s <= 0.1
            listeners.publish(kept.add([town.ended(32_000)]))
            assert await listeners.finished(LONG)
            assert (listeners.results()["a"].dropped_s, listeners.results()["a"].restarts) == ({}, 1)

    asyncio.run(run())
    assert heard(town.runs["a"]) == [160 * number for number in range(200)]


def test_without_a_thread_to_run_in_it_is_not_started_again(tmp_path: Path, town: Any) -> None:
    async def run() -> None:
        async with town.hub_of(a=town.use("plain_waiting", on_error="restart", threads=1)) as hub:
            first, second = town.open_stream(hub, tmp_path), town.open_stream(hub, tmp_path)
            assert await second.finished(LONG)
            assert (second.results()["a"].status, second.results()["a"].restarts) == ("failed", 0)
            town.go.set()
            first.publish([town.ended(0)])
            assert await first.finished(LONG)

    asyncio.run(run())
