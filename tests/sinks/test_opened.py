"""Opened plugins: entered, closed, and named when that fails."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from receiver.errors import ConfigError
from receiver.sinks.loading import load
from receiver.sinks.opened import Opened


def test_plugins_open_in_order_and_all_are_closed(town: Any) -> None:
    async def run() -> None:
        first, second = town.use("plugin", options={"label": "1"}), town.use("plugin", options={"label": "2"})
        async with town.hub_of(first=first, second=second) as hub:
            assert [(name, recover) for name, recover in hub.recoverers()] == [
                ("first", town.recover),
                ("second", town.recover),
            ]

    asyncio.run(run())
    assert town.said[:2] == ["open 1", "open 2"]
    assert sorted(town.said[2:]) == ["close 1", "close 2"]


@pytest.mark.parametrize(
    ("fail", "message"),
    [
        ("config", "sinks.second.options.fail: is not to be"),
        ("open", "sinks.second: could not be opened: OSError: no such device"),
        ("cancel", "sinks.second: was cancelled while it was opened"),
        ("nothing", "sinks.second: could not be opened: TypeError: the plugin yielded int"),
        ("metrics", "sinks.second: could not be opened: TypeError: metrics is a int, which has no collect()"),
    ],
)
def test_a_plugin_that_does_not_open_stops_the_start_by_name_and_closes_the_others(
    fail: str, message: str, town: Any
) -> None:
    async def run() -> None:
        with pytest.raises(ConfigError) as caught:
            async with town.hub_of(
                first=town.use("plugin", options={"label": "1"}), second=town.use("plugin", options={"fail": fail})
            ):
                pass
        assert message in str(caught.value)

    asyncio.run(run())
    assert town.said == ["open 1", "close 1"]


def test_a_plugin_that_fails_or_hangs_on_closing_is_logged(
    capture_logs: Any, town: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.sinks.opened.CLOSE_S", 0.1)

    async def run() -> None:
        async with town.hub_of(
            failing=town.use("plugin", options={"fail": "close"}), hanging=town.use("plugin", options={"hang": True})
        ):
            pass

    with capture_logs() as logs:
        asyncio.run(run())
    assert {(line["event"], line["sink"]) for line in logs} == {
        ("sink_did_not_close", "hanging"),
        ("sink_close_failed", "failing"),
    }


@pytest.mark.blocks
@pytest.mark.parametrize("name", ["slow_to_open", "blocked_opening"])
def test_a_plugin_that_does_not_come_to_its_yield_stops_the_start(
    town: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("receiver.sinks.sink_loop.STUCK_S", 0.1)
    monkeypatch.setattr("receiver.sinks.hub.OPEN_S", 1)

    async def run() -> None:
        with pytest.raises(ConfigError, match=r"^sinks.slow.use: did not open within 1 s$"):
            async with town.hub_of(first=town.use("plugin", options={"label": "1"}), slow=town.use(name)):
                pass
        assert not town.go.is_set()

    asyncio.run(run())
    assert town.said == ["open 1", "close 1"]


@pytest.mark.blocks
@pytest.mark.parametrize("name", ["slow_to_open", "blocked_opening"])
def test_a_start_that_is_cancelled_closes_what_was_open(town: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("receiver.sinks.sink_loop.STUCK_S", 0.1)

    async def run() -> None:
        hub = town.hub_of(first=town.use("plugin", options={"label": "1"}), slow=town.use(name))
        start = asyncio.create_task(hub.__aenter__())
        await town.until(town.there.is_set)
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start

    asyncio.run(run())
    assert town.said == ["open 1", "close 1"]


@pytest.mark.parametrize("records", [False, True])
def test_a_plugin_has_announcements_if_it_reads_records(town: Any, records: bool) -> None:
    loaded = load("mine", town.use("plugin").use, {"records": records}, Path())

    async def run() -> None:
        opened = Opened("mine", loaded)
        await opened.open()
        assert (opened.announcements is not None) == records
        assert opened.plugin.sink is town.everything
        await opened.close()

    asyncio.run(run())
    assert town.said == ["open ", "close "]


def test_an_opening_that_is_cancelled_leaves_no_task(town: Any) -> None:
    loaded = load("slow", town.use("slow_to_open").use, {}, Path())

    async def run() -> None:
        opened = Opened("slow", loaded)
        opening = asyncio.create_task(opened.open())
        await town.until(town.there.is_set)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await opened.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


def test_what_was_never_opened_may_be_closed(town: Any) -> None:
    opened = Opened("mine", load("mine", town.use("plugin").use, {}, Path()))
    asyncio.run(opened.close())
    assert town.said == []
