"""Sinks that break a rule of trouble. ``breaks`` is the rule, ``says`` what its test says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from receiver.sinks import Cause, Gap, Sink, Stream, blocks
from receiver.testing import SinkConformance

heard: list[int] = []


class Quick(SinkConformance):
    seconds = 0.5


class TestItMixesStreams(Quick):
    breaks = "test_two_streams_at_once_are_kept_apart"
    says = "made something else of a stream while there was another one:"

    @staticmethod
    async def use(stream: Stream, events: Any) -> None:
        heard.clear()
        heard.extend([int(block.samples[0]) async for block in blocks(events)])
        stream.annotate("heard", start=0, end=0, rate=8000, data=list(heard))


class TestItTakesOneAfterTheOther(Quick):
    finish_s = 0.5
    breaks = "test_a_quiet_stream_holds_up_no_other"
    says = "and was cancelled: a stream while another one was quiet"

    @staticmethod
    @asynccontextmanager
    async def use() -> AsyncIterator[Sink]:
        lock = asyncio.Lock()

        async def sink(stream: Stream, events: Any) -> None:
            async with lock:
                async for _ in events:
                    pass

        yield sink


class TestItMissesNothing(Quick):
    breaks = "test_what_was_dropped_is_a_gap_like_any_other"
    says = "raised RuntimeError: never: a stream that it was too slow for (drop_newest)"

    @staticmethod
    async def use(stream: Stream, events: Any) -> None:
        async for event in events:
            if isinstance(event, Gap) and event.cause is Cause.DROPPED:
                raise RuntimeError("never")


class TestItBlocks(Quick):
    blocks_s = 0.2
    breaks = "test_it_does_not_block_its_loop"
    says = "s; blocks_s allows 0.2 s. Give the work to asyncio.to_thread"

    @staticmethod
    async def use(stream: Stream, events: Any) -> None:
        time.sleep(0.5)


class TestItNeverRecoversFromAnError(Quick):
    breaks = "test_an_exception_ends_one_stream_alone"
    says = "raised RuntimeError: busy: the stream after one that failed"

    @staticmethod
    @asynccontextmanager
    async def use() -> AsyncIterator[Sink]:
        busy = False

        async def sink(stream: Stream, events: Any) -> None:
            nonlocal busy
            if busy:
                raise RuntimeError("busy")
            busy = True
            async for _ in events:
                pass
            busy = False

        yield sink


class TestItWaitsForWhatItHasLost(Quick):
    finish_s = 0.5
    breaks = "test_an_exception_ends_one_stream_alone"
    says = "did not return when its events had raised, and was cancelled"

    @staticmethod
    async def use(stream: Stream, events: Any) -> None:
        async def read() -> None:
            async for _ in events:
                pass
            over.set()

        over = asyncio.Event()
        reading = asyncio.create_task(read())
        await over.wait()
        await reading


class TestItIsNotCancelled(Quick):
    breaks = "test_it_ends_when_it_is_cancelled"
    says = "did not end when it was cancelled, and was left behind: a stream that was abandoned."

    @staticmethod
    async def use(stream: Stream, events: Any) -> None:
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)


class TestItTripsWhenItIsCancelled(Quick):
    breaks = "test_it_ends_when_it_is_cancelled"
    says = "raised NameError: name 'tidy' is not defined when it was cancelled"

    @staticmethod
    async def use(stream: Stream, events: Any) -> None:
        try:
            async for _ in events:
                pass
        except asyncio.CancelledError:
            tidy()  # noqa: F821


class TestItStartsOnlyOnce(Quick):
    restarts = True
    finish_s = 1.0
    breaks = "test_it_can_be_started_again"
    says = "did not find its way back; when it was started again it raised FileExistsError: "

    @staticmethod
    async def use(stream: Stream, events: Any) -> None:
        (stream.directory / "mine.txt").touch(exist_ok=False)
        async for _ in events:
            pass
