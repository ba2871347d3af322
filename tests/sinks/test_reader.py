"""Readers: both ways of iterating a feed, beside one who puts."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from receiver.events import Ended, EndReason, Event, Frame
from receiver.sinks.budget import Budget
from receiver.sinks.feed import Feed
from receiver.sinks.reader import AsyncReader, PlainReader

LONG = 20.0  # seconds, for what must happen and takes as long as the machine needs
ENDED = Ended(EndReason.STOP, True, {})


def frame(start: int) -> Frame:
    return Frame("inbound", start, 8000, np.zeros(160, np.int16))


def feed() -> Feed:
    return Feed(Budget(1 << 30), buffer_s=30)


async def collect(reader: AsyncReader, seen: list[Event]) -> None:
    async for event in reader:
        seen.append(event)  # noqa: PERF401  # as they come


def test_a_coroutine_gets_what_is_there_then_what_comes_and_ends_behind_ended() -> None:
    async def run() -> list[Event]:
        queue, seen = feed(), []
        queue.put([frame(0), frame(160)])
        reader = AsyncReader(queue)
        reader.wake()  # nobody waits yet
        task = asyncio.create_task(collect(reader, seen))
        await asyncio.sleep(0)
        assert len(seen) == 2
        reader.wake()
        reader.wake()  # rung twice before it ran
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not task.done()  # nothing was new: it waits again
        queue.put([frame(320), ENDED])
        reader.wake()
        await asyncio.wait_for(task, LONG)
        assert await anext(reader, None) is None
        return seen

    assert [type(event) for event in asyncio.run(run())] == [Frame, Frame, Frame, Ended]


def test_a_coroutine_that_is_stopped_gets_nothing_more() -> None:
    async def run() -> list[Event]:
        queue, seen = feed(), []
        reader = AsyncReader(queue)
        task = asyncio.create_task(collect(reader, seen))
        await asyncio.sleep(0)
        queue.put([frame(0), ENDED])
        reader.stop()
        await asyncio.wait_for(task, LONG)
        return seen

    assert asyncio.run(run()) == []


def test_a_coroutine_that_is_cancelled_while_it_waits_may_read_again() -> None:
    async def run() -> Event:
        queue = feed()
        reader = AsyncReader(queue)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(reader), 0.01)
        reader.wake()
        queue.put([ENDED])
        return await anext(reader)

    assert asyncio.run(run()) is ENDED


def test_a_thread_gets_what_is_there_then_what_comes_and_ends_behind_ended() -> None:
    queue = feed()
    reader = PlainReader(queue)
    seen: list[Event] = []
    two = threading.Event()

    def read() -> None:
        for event in reader:
            seen.append(event)
            if len(seen) == 2:
                two.set()

    queue.put([frame(0), frame(160)])
    thread = threading.Thread(target=read)
    thread.start()
    assert two.wait(LONG)
    queue.put([frame(320), ENDED])
    reader.wake()
    thread.join(LONG)
    assert [type(event) for event in seen] == [Frame, Frame, Frame, Ended]
    assert next(reader, None) is None


def test_a_thread_that_is_stopped_gets_nothing_more() -> None:
    queue = feed()
    reader = PlainReader(queue)
    seen: list[Event] = []
    thread = threading.Thread(target=lambda: seen.extend(reader))
    thread.start()
    reader.stop()
    thread.join(LONG)
    assert not thread.is_alive()
    queue.put([frame(0), ENDED])
    assert (seen, next(reader, None)) == ([], None)


class Slow:
    """Has something at the third look, and says so to nobody."""

    def __init__(self, patience: float | None) -> None:
        self.patience = patience
        self.looks = 0

    def take(self) -> Event | None:
        self.looks += 1
        return ENDED if self.looks == 3 else None


def test_a_source_that_says_when_is_asked_again_without_a_wake() -> None:
    async def run() -> list[Event]:
        seen: list[Event] = []
        await asyncio.wait_for(collect(AsyncReader(Slow(0.001)), seen), LONG)
        return seen

    assert asyncio.run(run()) == [ENDED]
    assert list(PlainReader(Slow(0.001))) == [ENDED]


def test_a_wake_before_that_time_is_heard_and_the_timer_taken_back() -> None:
    async def run() -> Event:
        reader = AsyncReader(Slow(10_000))
        task = asyncio.ensure_future(anext(reader))
        for _ in range(2):
            await asyncio.sleep(0)
            reader.wake()
        return await asyncio.wait_for(task, LONG)

    assert asyncio.run(run()) is ENDED
    plain, seen = PlainReader(Slow(10_000)), list[Event]()
    thread = threading.Thread(target=lambda: seen.extend(plain))
    thread.start()
    while thread.is_alive():
        plain.wake()
    thread.join(LONG)
    assert seen == [ENDED]
