"""The hub: streams, their sinks, and what all of them share."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from receiver.events import Cause, Digit, Ended, Gap
from receiver.sinks.hub import Hub

RATE = 8000
LONG = 20.0  # seconds, for what must happen and takes as long as the machine needs


def test_a_sink_gets_everything_in_order_and_then_ended(tmp_path: Path, town: Any) -> None:
    async def run() -> None:
        async with town.hub_of(a=town.use("everything"), b=town.use("plain_everything"), c=town.use("sitting")) as hub:
            listeners = town.open_stream(hub, tmp_path)
            listeners.publish([Digit("5", 0, RATE)])
            await town.publish(hub, listeners)
            assert await listeners.finished(LONG)
            assert {name: result.status for name, result in listeners.results().items()} == dict.fromkeys("abc", "ok")

    asyncio.run(run())
    for name in "abc":
        seen = town.seen[name]
        assert isinstance(seen[0], Digit) and isinstance(seen[-1], Ended)
        assert [event.start for event in seen[1:-1]] == [160 * number for number in range(50)]


@pytest.mark.blocks
def test_a_sink_that_blocks_its_loop_does_not_hold_up_the_publisher(tmp_path: Path, town: Any) -> None:
    async def run() -> None:
        async with town.hub_of(bad=town.use("blocking"), good=town.use("plain_everything")) as hub:
            listeners = town.open_stream(hub, tmp_path)
            await town.until(town.there.is_set)
            await town.publish(hub, listeners, 500)
            assert not town.go.is_set()  # all was published while the sink was still blocked
            assert not await listeners.finished(0.05)
            assert listeners.results()["bad"].status == "running"
            town.go.set()
            assert await listeners.finished(LONG)

    asyncio.run(run())
    for name in ("bad", "good"):
        assert town.samples(town.seen[name]) == 80_000
        assert isinstance(town.seen[name][-1], Ended)


def test_a_slow_sink_loses_what_does_not_fit_and_knows_it(tmp_path: Path, town: Any) -> None:
    async def run() -> None:
        slow = town.use("gated", buffer_s=0.1)
        async with town.hub_of(slow=slow, live=town.use("gated", buffer_s=0.1, overflow="drop_oldest")) as hub:
            listeners = town.open_stream(hub, tmp_path)
            await town.publish(hub, listeners)
            assert hub.figures()["slow"].queued_s == 0.1
            town.go.set()
            assert await listeners.finished(LONG)
            assert listeners.results()["slow"].dropped_s == {"inbound": 0.9}
            assert hub.figures()["slow"].dropped_s == 0.9
            assert hub.figures()["slow"].queued_s == 0

    asyncio.run(run())
    assert town.seen["slow"][-2] == Gap("inbound", 800, 8000, RATE, Cause.DROPPED)
    assert town.seen["live"][0] == Gap("inbound", 0, 7200, RATE, Cause.DROPPED)
    assert town.samples(town.seen["slow"]) == town.samples(town.seen["live"]) == 800


def test_all_feeds_together_are_bounded(tmp_path: Path, town: Any) -> None:
    async def run() -> None:
        hub = Hub({"slow": town.use("gated")}, base=tmp_path, feeds_bytes=5000)
        async with hub:
            listeners = town.open_stream(hub, tmp_path)
            await town.publish(hub, listeners)
            town.go.set()
            assert await listeners.finished(LONG)

    asyncio.run(run())
    assert 0 < town.samples(town.seen["slow"]) < 2000


def test_streams_are_chosen_by_source_and_parameters(tmp_path: Path, town: Any) -> None:
    sinks = {
        "all": town.use("everything"),
        "other": town.use("everything", sources=["other"]),
        "yes": town.use("everything", when={"consent": "yes"}),
        "one": town.use("everything", when={"number": 1, "flag": True}),
    }

    async def names(source: str, **parameters: Any) -> list[str]:
        async with town.hub_of(**sinks) as hub:
            listeners = hub.open(town.facts(source, **parameters), tmp_path, town)
            listeners.publish([town.ended(0)])
            assert await listeners.finished(LONG)
            return list(listeners.results())

    assert asyncio.run(names("default")) == ["all"]
    assert asyncio.run(names("other", consent="yes")) == ["all", "other", "yes"]
    assert asyncio.run(names("default", consent="no", number="1", flag="true")) == ["all", "one"]
    assert asyncio.run(names("default", number=1, flag=True)) == ["all", "one"]
    assert asyncio.run(names("default", number=1, flag="True")) == ["all"]


def test_a_sink_attached_in_the_middle_sees_a_gap_for_what_has_passed(tmp_path: Path, town: Any) -> None:
    async def run() -> None:
        async with town.hub_of() as hub:
            listeners = town.open_stream(hub, tmp_path)
            listeners.publish([town.frame(0)])
            hub.attach(listeners, "late", town.everything)
            listeners.publish([town.frame(160), town.ended(320)])
            hub.flush()
            hub.attach(listeners, "later", town.plain_everything, town.use("x"))
            assert await listeners.finished(LONG)
            assert hub.figures()["late"].dropped_s == 0

    asyncio.run(run())
    assert town.seen["late"][0] == Gap("inbound", 0, 160, RATE, Cause.DROPPED)
    assert town.samples(town.seen["late"]) == 160
    assert town.seen["later"][0] == Gap("inbound", 0, 320, RATE, Cause.DROPPED)
    assert isinstance(town.seen["later"][1], Ended)


def test_a_task_that_a_sink_forgot_is_cancelled_when_the_hub_closes(tmp_path: Path, town: Any) -> None:
    async def run() -> None:
        async with town.hub_of(a=town.use("forgetful")) as hub:
            listeners = town.open_stream(hub, tmp_path)
            await town.publish(hub, listeners)
            assert await listeners.finished(LONG)
            assert town.said == []

    asyncio.run(run())
    assert town.said == ["tidied up"]


def test_after_the_hub_has_closed_publishing_does_nothing(tmp_path: Path, town: Any) -> None:
    async def run() -> None:
        async with town.hub_of(a=town.use("stuck")) as hub:
            listeners = town.open_stream(hub, tmp_path)
        listeners.publish([town.frame(0)])
        hub.flush()
        assert listeners.results()["a"].status == "cancelled"

    asyncio.run(run())


@pytest.mark.blocks
def test_a_thread_that_blocks_for_good_does_not_keep_the_process(
    capture_logs: Any, tmp_path: Path, town: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.sinks.sink_loop.STUCK_S", 0.1)

    async def run() -> None:
        good = town.use("plugin", options={"label": "good"})
        async with town.hub_of(a=town.use("blocking"), good=good) as hub:
            listeners = town.open_stream(hub, tmp_path)
            await town.until(town.there.is_set)
        assert town.said == ["open good", "close good"]  # another plugin does not wait for it
        assert "left behind" in (listeners.results()["a"].error or "")
        town.go.set()
        await town.until(lambda: not any("loop of sink" in thread.name for thread in threading.enumerate()))

    with capture_logs() as logs:
        asyncio.run(run())
    assert {"sink_loop_left_behind", "sink_left_behind"} <= {line["event"] for line in logs}


@pytest.mark.blocks
def test_a_plugin_that_blocks_while_it_closes_is_left_behind_and_delays_no_other(
    town: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CLOSE_S", "CANCEL_S", "FORGOTTEN_S"):
        monkeypatch.setattr(f"receiver.sinks.hub.{name}", 0)

    async def run() -> None:
        good = town.use("plugin", options={"label": "good"})
        async with town.hub_of(good=good, bad=town.use("blocked_closing")):
            pass
        assert town.there.is_set() and not town.go.is_set()
        assert town.said == ["open good", "close good"]

    asyncio.run(run())
