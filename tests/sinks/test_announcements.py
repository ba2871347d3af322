"""Announcements: plugins that read what happens in the whole process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from receiver.records import Refused
from receiver.sinks import announcements


def test_records_reach_the_plugins_that_read_them_until_the_end(town: Any) -> None:
    async def run() -> None:
        async with town.hub_of(reader=town.use("plugin", options={"records": True}), other=town.use("plugin")) as hub:
            for number in range(100):
                hub.records(Refused("default", str(number), 401, "127.0.0.1"))

    asyncio.run(run())
    assert [said for said in town.said if said.isdigit()] == [str(number) for number in range(100)]


def test_a_reader_of_records_that_fails_is_logged_once_and_ends_alone(capture_logs: Any, town: Any) -> None:
    async def run() -> None:
        async with town.hub_of(reader=town.use("plugin", options={"records": True, "label": "r"})) as hub:
            hub.records(Refused("default", "break", 401, "127.0.0.1"))
            await town.until(lambda: any(line["event"] == "records_failed" for line in logs))
            hub.records(Refused("default", "more", 401, "127.0.0.1"))

    with capture_logs() as logs:
        asyncio.run(run())
    assert [(line["event"], line["sink"]) for line in logs] == [("records_failed", "reader")]
    assert town.said == ["open r", "close r"]


@pytest.mark.blocks
def test_records_that_wait_too_long_are_dropped_oldest_first(town: Any) -> None:
    async def run() -> None:
        async with town.hub_of(reader=town.use("plugin", options={"records": True})) as hub:
            hub.records(Refused("default", "wait", 401, "127.0.0.1"))
            await town.until(town.there.is_set)
            for number in range(announcements.LIMIT + 5):
                hub.records(Refused("default", str(number), 401, "127.0.0.1"))
            assert hub.figures()["reader"].records_dropped == 5
            town.go.set()

    asyncio.run(run())
    assert [said for said in town.said if said.isdigit()] == [str(number + 5) for number in range(announcements.LIMIT)]
