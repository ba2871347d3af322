"""``each``: events handed to a function, beside whoever puts them and whoever ends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from receiver.events import Ended, EndReason, Event, Frame
from receiver.sinks import Stream, each
from receiver.sinks.budget import Budget
from receiver.sinks.feed import Feed
from receiver.sinks.reader import AsyncReader

LONG = 20.0  # seconds, for what must happen and takes as long as the machine needs
ENDED = Ended(EndReason.STOP, True, {})
WHO = ContextVar("WHO", default="nobody")


def on_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on an event loop of its own."""

    @wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        asyncio.run(test(*arguments, **named))

    return run


def frame(start: int) -> Frame:
    return Frame("inbound", start, 8000, np.zeros(160, np.int16))


def feed() -> Feed:
    return Feed(Budget(1 << 30), buffer_s=30)


def starts(events: list[Event]) -> list[int]:
    return [event.start for event in events if isinstance(event, Frame)]


@on_a_loop
async def test_each_hands_on_what_is_there_then_what_comes_and_ends_behind_ended() -> None:
    queue, seen = feed(), list[Event]()
    queue.put([frame(0), frame(160)])
    reader = AsyncReader(queue)
    task = asyncio.create_task(each(reader, seen.append))
    await asyncio.sleep(0)
    assert starts(seen) == [0, 160]
    queue.put([frame(320)])
    reader.wake()
    assert starts(seen) == [0, 160, 320]  # before any task has run
    reader.wake()  # there is nothing new
    queue.put([frame(480), ENDED])
    reader.wake()
    reader.wake()  # it has ended, and its task has not run yet
    await asyncio.wait_for(task, LONG)
    assert starts(seen) == [0, 160, 320, 480]
    assert seen[-1] is ENDED
    await asyncio.wait_for(each(reader, seen.append), LONG)  # there is no more
    assert len(seen) == 5


@on_a_loop
async def test_it_goes_on_where_another_iteration_left_off() -> None:
    queue, seen = feed(), list[Event]()
    queue.put([frame(0), frame(160), ENDED])
    reader = AsyncReader(queue)
    assert await anext(reader) is not None
    await asyncio.wait_for(each(reader, seen.append), LONG)
    assert starts(seen) == [160]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), asyncio.CancelledError(), StopIteration()])
@pytest.mark.parametrize("when", ["at once", "later"])
@on_a_loop
async def test_what_the_function_raises_it_raises_and_whoever_wakes_does_not(error: BaseException, when: str) -> None:
    queue, seen = feed(), list[Event]()
    reader = AsyncReader(queue)
    caught: list[BaseException] = []

    def take(event: Event) -> None:
        seen.append(event)
        raise error

    async def sink() -> None:
        try:
            await each(reader, take)
        except BaseException as failure:
            caught.append(failure)

    if when == "at once":
        queue.put([frame(0)])
    task = asyncio.create_task(sink())
    await asyncio.sleep(0)
    queue.put([frame(0), frame(160), ENDED])
    reader.wake()
    reader.wake()
    await asyncio.wait_for(task, LONG)
    assert starts(seen) == [0]
    # as in any coroutine, a StopIteration comes out as a RuntimeError
    assert caught == [error] or (isinstance(error, StopIteration) and isinstance(caught[0], RuntimeError))
    rest: list[Event] = []
    await asyncio.wait_for(each(reader, rest.append), LONG)  # who has caught it may go on
    assert rest[-1] is ENDED


@on_a_loop
async def test_one_that_is_stopped_hands_on_nothing_more() -> None:
    queue, seen = feed(), list[Event]()
    reader = AsyncReader(queue)
    task = asyncio.create_task(each(reader, seen.append))
    await asyncio.sleep(0)
    queue.put([frame(0), ENDED])
    reader.stop()
    reader.wake()
    await asyncio.wait_for(task, LONG)
    assert seen == []


@on_a_loop
async def test_one_that_is_cancelled_hands_on_nothing_more_and_the_rest_is_still_there() -> None:
    queue, seen, rest = feed(), list[Event](), list[Event]()
    reader = AsyncReader(queue)
    task = asyncio.create_task(each(reader, seen.append))
    await asyncio.sleep(0)
    task.cancel()
    queue.put([frame(0), ENDED])
    reader.wake()
    with pytest.raises(asyncio.CancelledError):
        await task
    reader.wake()
    assert seen == []
    await asyncio.wait_for(each(reader, rest.append), LONG)
    assert starts(rest) == [0]


class Slow:
    """Has something at every third look, and says so to nobody."""

    def __init__(self, patience: float | None) -> None:
        self.patience = patience
        self.looks = 0

    def take(self) -> Event | None:
        self.looks += 1
        return None if self.looks % 3 else frame(0) if self.looks < 9 else ENDED


@on_a_loop
async def test_a_source_that_says_when_is_looked_at_again_without_a_wake() -> None:
    seen: list[Event] = []
    await asyncio.wait_for(each(AsyncReader(Slow(0.001)), seen.append), LONG)
    assert [type(event) for event in seen] == [Frame, Frame, Ended]


@on_a_loop
async def test_a_wake_before_that_time_is_heard() -> None:
    seen: list[Event] = []
    reader = AsyncReader(Slow(10_000))
    task = asyncio.create_task(each(reader, seen.append))
    while not task.done():
        reader.wake()
        await asyncio.sleep(0)
    assert [type(event) for event in seen] == [Frame, Frame, Ended]


@on_a_loop
async def test_the_function_sees_the_context_of_the_task_that_awaits() -> None:
    queue, seen = feed(), list[str]()
    reader = AsyncReader(queue)

    async def sink() -> None:
        WHO.set("the sink")
        await each(reader, lambda event: seen.append(WHO.get()))

    task = asyncio.create_task(sink())
    await asyncio.sleep(0)
    queue.put([frame(0)])
    reader.wake()
    queue.put([ENDED])
    reader.wake()
    await asyncio.wait_for(task, LONG)
    assert seen == ["the sink", "the sink"]


@on_a_loop
async def test_any_other_iterator_will_do() -> None:
    async def events() -> AsyncIterator[Event]:
        yield frame(0)
        await asyncio.sleep(0)
        yield ENDED

    seen: list[Event] = []
    await each(events(), seen.append)
    assert (starts(seen), seen[-1]) == ([0], ENDED)


class Awaited:
    async def __call__(self, event: Event) -> None:
        raise AssertionError("nobody awaits this")


@on_a_loop
async def test_a_function_that_is_to_be_awaited_is_refused() -> None:
    with pytest.raises(TypeError, match="async for"):
        await each(AsyncReader(feed()), Awaited().__call__)
    with pytest.raises(TypeError, match="async for"):
        await each(AsyncReader(feed()), Awaited())


def test_a_sink_collects_for_block_ms_and_a_late_one_begins_with_a_gap(tmp_path: Path, town: Any) -> None:
    async def run() -> None:
        async with town.hub_of(lazy=town.use("handed", block_ms=10), prompt=town.use("handed", block_ms=10_000)) as hub:
            listeners = town.open_stream(hub, tmp_path)
            await town.until(lambda: len(town.seen) == 2)
            listeners.publish([town.frame(0)])
            hub.flush()
            listeners.publish([town.frame(160)])
            hub.flush()
            await town.until(lambda: len(town.seen["lazy"]) == 2)
            assert town.seen["prompt"] == []
            listeners.publish([town.ended(320)])  # the end does not wait for ten seconds
            assert await listeners.finished(LONG)

    asyncio.run(run())
    assert town.samples(town.seen["lazy"]) == town.samples(town.seen["prompt"]) == 320


def test_a_sink_that_fails_in_its_function_hurts_no_other_of_its_loop(
    tmp_path: Path, town: Any, capture_logs: Any
) -> None:
    def raises(event: Event) -> None:
        raise ValueError("this one alone")

    async def bad(stream: Stream, events: AsyncIterator[Event]) -> None:
        town.said.append("begun")
        await each(events, raises)

    async def run() -> None:
        async with town.hub_of(good=town.use("handed")) as hub:
            first, second = town.open_stream(hub, tmp_path), town.open_stream(hub, tmp_path)
            hub.attach(first, "good", bad)  # on the loop that both streams' sinks are on
            await town.until(lambda: town.said)
            for listeners in (first, second):
                listeners.publish([town.frame(0)])
            hub.flush()
            for listeners in (first, second):
                await town.publish(hub, listeners)
                assert await listeners.finished(LONG)
            assert [one.status for one in first.all] == ["ok", "failed"]
            assert second.results()["good"].status == "ok"

    with capture_logs() as logs:
        asyncio.run(run())
    (line,) = [line for line in logs if line["event"] == "sink_failed"]
    assert line["error"] == "ValueError: this one alone" and "raises" in line["at"]
