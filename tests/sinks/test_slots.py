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


def test_a_thread_that_was_left_behind_keeps_no_stream_out_but_its_slot(tmp_path: Path, town: Any) -> None:
    async def run() -> None:
        async with town.hub_of(plain=town.use("plain_waiting", threads=1, finish_timeout_s=0)) as hub:
            stuck = town.open_stream(hub, tmp_path)
            stuck.publish([town.ended(0)])
            assert not hub.room_for_stream()  # it may still end
            assert not await stuck.finished(LONG)
            assert hub.room_for_stream()
            without = town.open_stream(hub, tmp_path)
            await town.until(lambda: without.results()["plain"].status == "failed")
            assert "all 1 threads of this sink are taken" in (without.results()["plain"].error or "")
            assert hub.figures()["plain"].failures == 2  # it was left behind, then missed a stream
            town.go.set()
            await town.until(lambda: stuck.results()["plain"].status != "running")
            again = town.open_stream(hub, tmp_path)
            again.publish([town.ended(0)])
            assert await again.finished(LONG)
            assert again.results()["plain"].status in ("ok", "cancelled")

    asyncio.run(run())


def test_a_slot_is_taken_until_it_is_given_back() -> None:
    slots = Slots(2)
    assert [slots.take("a"), slots.take("b"), slots.take("c")] == [True, True, False]
    assert not slots.room
    slots.release("c")  # it has none
    assert not slots.room
    slots.release("a")
    assert (slots.room, slots.count) == (True, 2)
    assert slots.take("c")


def test_a_holder_that_was_left_behind_is_there_but_takes_no_room() -> None:
    slots = Slots(2)
    assert slots.take("a") and slots.take("b")
    slots.leave("a")
    slots.leave("c")  # it has none
    assert slots.room
    assert not slots.take("c")
    slots.release("a")
    slots.leave("a")  # too late: it has ended
    assert slots.take("c")
    assert not slots.room


def test_threads_that_race_for_slots_get_no_more_than_there_are() -> None:
    slots = Slots(5)
    taken: list[bool] = []
    together = threading.Barrier(16)

    def race() -> None:
        together.wait(LONG)
        taken.append(slots.take(object()))

    threads = [threading.Thread(target=race) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert sorted(taken) == [False] * 11 + [True] * 5
