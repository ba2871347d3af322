"""Slots: how many threads plain sinks may have."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

from receiver.sinks.slots import Slots

LONG = 20.0  # seconds, for what must happen and takes as long as the machine needs


def test_threads_of_plain_sinks_are_bounded_and_counted(tmp_path: Path, town: Any) -> None:
    async def run() -> None:
        async with town.hub_of(
            plain=town.use("plain_waiting", threads=2, sources=["default"]), more=town.use("everything", threads=1)
        ) as hub:
            streams = []
            for _ in range(2):
                assert hub.room_for_stream("default")
                streams.append(town.open_stream(hub, tmp_path))
            assert not hub.room_for_stream("default")
            assert not hub.room_for_stream()
            assert hub.room_for_stream("other")
            surplus = town.open_stream(hub, tmp_path)
            await town.until(lambda: surplus.results()["plain"].status == "failed")
            assert "all 2 threads" in (surplus.results()["plain"].error or "")
            town.go.set()
            for listeners in [*streams, surplus]:
                listeners.publish([town.ended(0)])
                assert await listeners.finished(LONG)
            await town.until(hub.room_for_stream)

    asyncio.run(run())


def test_a_slot_is_taken_until_it_is_given_back() -> None:
    slots = Slots(2)
    assert [slots.take(), slots.take(), slots.take()] == [True, True, False]
    assert slots.free == 0
    slots.release()
    assert (slots.free, slots.count) == (1, 2)
    assert slots.take()


def test_threads_that_race_for_slots_get_no_more_than_there_are() -> None:
    slots = Slots(5)
    taken: list[bool] = []
    together = threading.Barrier(16)

    def race() -> None:
        together.wait(LONG)
        taken.append(slots.take())

    threads = [threading.Thread(target=race) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert sorted(taken) == [False] * 11 + [True] * 5
