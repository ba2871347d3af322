"""A listener: one sink on one stream, whatever it does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from receiver.sinks.listener import is_plain
from receiver.sinks.listeners import Listeners

LONG = 20.0  # seconds, for what must happen and takes as long as the machine needs


@pytest.mark.parametrize(
    ("name", "status", "error"),
    [
        ("raising", "failed", "ValueError: first line second line"),
        ("exiting", "failed", "SystemExit: 3"),
        ("self_cancelled", "failed", "CancelledError"),
        ("plain_raising", "failed", "StopIteration"),
        ("plain_returning", "failed", "TypeError: a plain sink returns None, not coroutine"),
        ("plain_returning_a_number", "failed", "TypeError: a plain sink returns None, not int"),
        ("leaving", "ok", None),
        ("stuck", "cancelled", "CancelledError"),
    ],
)
def test_a_bad_sink_hurts_nobody_but_itself(
    capture_logs: Any, name: str, status: str, error: str | None, tmp_path: Path, town: Any
) -> None:
    async def run() -> None:
        async with town.hub_of(bad=town.use(name, finish_timeout_s=0.1), good=town.use("everything")) as hub:
            listeners = town.open_stream(hub, tmp_path)
            await town.publish(hub, listeners)
            assert await listeners.finished(LONG)
            results = listeners.results()
            assert results["good"].status == "ok"
            assert results["bad"].status == status
            assert (error or "") in (results["bad"].error or "")
            assert len(results["bad"].error or "") <= 300
            assert hub.figures()["bad"].failures == (status == "failed")
            assert hub.figures()["good"].failures == 0

    with capture_logs() as logs:
        asyncio.run(run())
    assert town.samples(town.seen["good"]) == 8000
    failures = [line for line in logs if line["event"] == "sink_failed"]
    assert len(failures) == (status == "failed")
    for line in failures:
        assert (line["sink"], line["stream"]) == ("bad", "0198")


def test_a_sink_that_ignores_its_cancellation_is_left_behind(capture_logs: Any, tmp_path: Path, town: Any) -> None:
    async def run() -> None:
        async with town.hub_of(deaf=town.use("deaf", finish_timeout_s=0), good=town.use("everything")) as hub:
            listeners = town.open_stream(hub, tmp_path)
            await town.publish(hub, listeners)
            assert not await listeners.finished(LONG)
            result = listeners.results()["deaf"]
            assert result.status == "running"
            assert "left behind" in (result.error or "")
            assert listeners.results()["good"].status == "ok"
            town.sinks["wake deaf"]()
            await town.until(town.there.is_set)
            await town.until(lambda: listeners.results()["deaf"].status == "ok")

    with capture_logs() as logs:
        asyncio.run(run())
    assert town.said == ["ignored", "closed"]
    assert [line["event"] for line in logs] == ["sink_left_behind", "sink_ended_late"]


def test_block_ms_collects_before_it_wakes(tmp_path: Path, town: Any) -> None:
    async def run() -> None:
        async with town.hub_of(
            lazy=town.use("everything", block_ms=10), prompt=town.use("everything", block_ms=10_000)
        ) as hub:
            listeners = town.open_stream(hub, tmp_path)
            await town.until(lambda: len(town.seen) == 2)
            listeners.publish([town.frame(0)])
            hub.flush()
            listeners.publish([town.frame(160)])
            hub.flush()
            await town.until(lambda: len(town.seen["lazy"]) == 2)
            listeners.publish([town.frame(320)])
            hub.flush()
            await town.until(lambda: len(town.seen["lazy"]) == 3)
            assert town.seen["prompt"] == []
            listeners.publish([town.ended(480)])  # the end does not wait for ten seconds
            assert await listeners.finished(LONG)
            assert await listeners.finished(LONG)  # may be asked again

    asyncio.run(run())
    assert town.samples(town.seen["prompt"]) == 480


@pytest.mark.blocks
def test_a_sink_cancelled_before_its_first_step_is_done_and_gives_its_thread_back(tmp_path: Path, town: Any) -> None:
    async def run() -> None:
        unblocked = {"unblocked": "yes"}
        async with town.hub_of(
            block=town.use("blocking", when={"blocked": "yes"}),
            a=town.use("stuck", when=unblocked),
            b=town.use("plain_waiting", when=unblocked, threads=1),
        ) as hub:
            blocked = town.open_stream(hub, tmp_path, blocked="yes")
            await town.until(town.there.is_set)
            listeners = town.open_stream(hub, tmp_path, unblocked="yes")
            assert not hub.room_for_stream()
            listeners.abandon()
            town.go.set()
            assert await listeners.finished(LONG)
            assert [result.status for result in listeners.results().values()] == ["cancelled", "cancelled"]
            assert hub.room_for_stream()
            blocked.publish([town.ended(0)])
            assert await blocked.finished(LONG)

    asyncio.run(run())


@pytest.mark.blocks
def test_a_main_loop_that_does_not_wait_for_its_sinks_may_end_before_them(tmp_path: Path, town: Any) -> None:
    hub = town.hub_of(slow=town.use("gated"))

    async def first() -> Listeners:
        await hub.__aenter__()
        listeners = town.open_stream(hub, tmp_path)
        await town.publish(hub, listeners)
        assert not await listeners.finished(0.01)
        return listeners

    async def second(listeners: Listeners) -> None:
        town.go.set()
        assert await listeners.finished(LONG)
        await hub.__aexit__(None, None, None)

    asyncio.run(second(asyncio.run(first())))
    assert town.samples(town.seen["slow"]) == 8000


def test_a_function_that_is_cancelled_reads_no_further_and_is_not_ok(tmp_path: Path, town: Any) -> None:
    async def run() -> None:
        async with town.hub_of(a=town.use("plain_everything")) as hub:
            listeners = town.open_stream(hub, tmp_path)
            listeners.publish([town.frame(0)])
            hub.flush()
            await town.until(lambda: town.seen.get("a") is not None)
            listeners.abandon()
            listeners.abandon()  # once is enough
            assert await listeners.finished(LONG)
            assert listeners.results()["a"].status == "cancelled"
            assert hub.room_for_stream()

    asyncio.run(run())


def test_a_function_without_a_thread_to_run_in_fails_by_name(tmp_path: Path, town: Any) -> None:
    async def run() -> None:
        async with town.hub_of(a=town.use("plain_waiting", threads=1)) as hub:
            first, second = town.open_stream(hub, tmp_path), town.open_stream(hub, tmp_path)
            assert await second.finished(LONG)
            assert second.results()["a"].status == "failed"
            assert "all 1 threads of this sink are taken (sinks.a.threads)" in (second.results()["a"].error or "")
            town.go.set()
            first.publish([town.ended(0)])
            assert await first.finished(LONG)
            assert first.results()["a"].status == "ok"

    asyncio.run(run())


def test_objects_that_are_called_are_plain_or_not_by_their_call(town: Any) -> None:
    assert not is_plain(town.everything)
    assert not is_plain(town.sitting)
    assert is_plain(town.plain_everything)
