"""Sinks that break a rule of one stream. ``breaks`` is the rule, ``says`` what its test says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from receiver.sinks import Annotation, Ended, Frame, Gap, PlainSink, Sink, Stream, StreamClosed, blocks
from receiver.testing import SinkConformance

never_set = threading.Event()


class Quick(SinkConformance):
    seconds = 0.5


class TestItNeverReturns(Quick):
    finish_s = 0.3
    breaks = "test_it_takes_a_stream_to_its_end"
    says = "The sink use had not returned 0.3 s after the end of the stream, and was cancelled: a stream of two tracks"

    @staticmethod
    async def use(stream: Stream, events: Any) -> None:
        await asyncio.Event().wait()


class TestItNeverReturnsFromItsThread(Quick):
    finish_s = 0.3
    breaks = "test_it_takes_a_stream_to_its_end"
    says = "was left behind: a stream of two tracks. Does it swallow CancelledError"

    @staticmethod
    def use(stream: Stream, events: Any) -> None:
        never_set.wait()


class TestItBlocksForGood(Quick):
    finish_s = 0.3
    breaks = "test_it_takes_a_stream_to_its_end"
    says = "was left behind: a stream of two tracks. Does it swallow CancelledError"

    @staticmethod
    async def use(stream: Stream, events: Any) -> None:
        never_set.wait()


class TestItRaises(Quick):
    breaks = "test_it_takes_a_stream_to_its_end"
    says = "raised KeyError: 'what': a stream of two tracks"

    @staticmethod
    async def use(stream: Stream, events: Any) -> None:
        stream.parameters["what"]


class TestItWritesIntoWhatAllSinksShare(Quick):
    breaks = "test_it_takes_a_stream_to_its_end"
    says = "raised ValueError: "

    @staticmethod
    async def use(stream: Stream, events: Any) -> None:
        async for event in events:
            if isinstance(event, Frame):
                event.samples[:] //= 2


class TestItKnowsTestsOnly(Quick):
    breaks = "test_it_takes_a_real_call"
    says = "raised RuntimeError: who is this: a real call"

    @staticmethod
    async def use(stream: Stream, events: Any) -> None:
        if stream.facts.source != "conformance":
            raise RuntimeError("who is this")


class TestItNeedsAudio(Quick):
    breaks = "test_it_takes_a_stream_without_any_audio"
    says = "raised ValueError: "

    @staticmethod
    async def use(stream: Stream, events: Any) -> None:
        max([abs(block.samples).max() async for block in blocks(events)])


class TestItNeedsAStop(Quick):
    breaks = "test_it_takes_a_stream_however_it_ends"
    says = "raised RuntimeError: not now: a stream that ends with close"

    @staticmethod
    async def use(stream: Stream, events: Any) -> None:
        async for event in events:
            if isinstance(event, Ended) and not event.stop_received:
                raise RuntimeError("not now")


class TestItKnowsTwoCauses(Quick):
    breaks = "test_it_takes_gaps_of_every_cause"
    says = "raised KeyError: <Cause.REJECTED: 'rejected'>: a stream with gaps of every cause"

    @staticmethod
    async def use(stream: Stream, events: Any) -> None:
        async for event in events:
            if isinstance(event, Gap):
                {"lost": 1, "unsent": 2}[event.cause]


class TestItKnowsTheTracksThatWereAnnounced(Quick):
    breaks = "test_it_takes_a_track_that_opens_late"
    says = "raised KeyError: 'outbound': a stream with tracks that open late"

    @staticmethod
    async def use(stream: Stream, events: Any) -> None:
        heard = dict.fromkeys(stream.facts.tracks, 0)
        async for block in blocks(events):
            heard[block.track] += 1


class TestItIsSureOfItsRate(Quick):
    breaks = "test_it_takes_any_rate"
    says = "and the audio ends at 0.500 s: a stream at 16000 Hz. Is it the right rate?"

    @staticmethod
    async def use(stream: Stream, events: Any) -> None:
        async for block in blocks(events):
            stream.annotate("block", track=block.track, start=block.start, end=block.end, rate=8000)


class TestItKnowsEveryEvent(Quick):
    breaks = "test_it_takes_digits_marks_and_events_that_it_does_not_know"
    says = "has no attribute 'start': a stream with digits, marks, a discontinuity and an event of an unknown kind"

    @staticmethod
    async def use(stream: Stream, events: Any) -> None:
        async for event in events:
            if not isinstance(event, Ended):
                event.start  # noqa: B018


class TestItWantsAnnotationsInTime(Quick):
    breaks = "test_an_annotation_that_comes_late_is_taken"
    says = "raised RuntimeError: too late: a stream with annotations of another sink, about what was long ago"

    @staticmethod
    async def use(stream: Stream, events: Any) -> None:
        heard = 0
        async for event in events:
            if isinstance(event, Frame):
                heard = event.end
            if isinstance(event, Annotation) and event.start < heard:
                raise RuntimeError("too late")


class TestItCountsFrames(Quick):
    breaks = "test_where_frames_end_means_nothing_to_it"
    says = "made something else of the same audio in frames of 1 to 1000 samples:"

    @staticmethod
    async def use(stream: Stream, events: Any) -> None:
        frames = [event async for event in events if isinstance(event, Frame)]
        stream.annotate("frames", start=0, end=0, rate=8000, data=len(frames))


class TestItSpeaksOfTheFuture(Quick):
    breaks = "test_what_it_says_lies_on_the_timeline"
    says = "annotated 'all' from 0 to 8000 at 8000 Hz, and the audio ends at 0.500 s: a stream of two tracks."

    @staticmethod
    async def use(stream: Stream, events: Any) -> None:
        async for _ in events:
            pass
        stream.annotate("all", track="inbound", start=0, end=8000, rate=8000)


class TestItSpeaksOfNoTrack(Quick):
    breaks = "test_what_it_says_lies_on_the_timeline"
    says = "on a track 'mine' that the stream does not have"

    @staticmethod
    async def use(stream: Stream, events: Any) -> None:
        async for _ in events:
            pass
        stream.annotate("all", track="mine", start=0, end=0, rate=8000)


class TestItSpeaksWhenItIsClosed(Quick):
    breaks = "test_it_says_nothing_after_it_has_returned"
    says = "called annotate or add_file 1 times after it had returned"

    @staticmethod
    @asynccontextmanager
    async def use() -> AsyncIterator[Sink]:
        streams = []

        async def sink(stream: Stream, events: Any) -> None:
            streams.append(stream)

        yield sink
        for stream in streams:
            with suppress(StreamClosed):
                stream.annotate("late", start=0, end=0, rate=8000)


class TestItLeavesAFile(Quick):
    breaks = "test_every_file_that_it_writes_is_declared_and_final"
    says = "left mine.part in the stream's folder, and has not declared it with stream.add_file"

    @staticmethod
    def use(stream: Stream, events: Any) -> None:
        (stream.directory / "mine.part").write_text("mine")


class TestItDeclaresNothing(Quick):
    breaks = "test_every_file_that_it_writes_is_declared_and_final"
    says = "declared mine.txt, and there is no such file"

    @staticmethod
    def use(stream: Stream, events: Any) -> None:
        stream.add_file(stream.directory / "mine.txt", kind="note", media_type="text/plain")


class TestItDeclaresOtherThings(Quick):
    breaks = "test_every_file_that_it_writes_is_declared_and_final"
    says = "declared mine.txt with 'text', which is no media type"

    @staticmethod
    def use(stream: Stream, events: Any) -> None:
        (stream.directory / "mine.txt").write_text("mine")
        stream.add_file(stream.directory / "mine.txt", kind="note", media_type="text")


class TestItDeclaresTooEarly(Quick):
    breaks = "test_every_file_that_it_writes_is_declared_and_final"
    says = "changed mine.txt after it had declared it as finished"

    @staticmethod
    @asynccontextmanager
    async def use() -> AsyncIterator[PlainSink]:
        paths = []

        def sink(stream: Stream, events: Any) -> None:
            path = stream.directory / "mine.txt"
            path.write_text("mine")
            stream.add_file(path, kind="note", media_type="text/plain")
            paths.append(path)

        yield sink
        for path in paths:
            path.write_text("and more")
