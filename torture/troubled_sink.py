"""A sink with one trouble, chosen by its options. Whatever it is given it puts down, sample by sample, as it comes."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from receiver.events import Ended, Event, Frame, Gap
from receiver.sinks import Stream

SAMPLE_BYTES = 2


class Heard:
    """What one run of the sink was given, in files of the stream's folder: the spans, and the audio in its place."""

    def __init__(self, stream: Stream) -> None:
        self._directory = stream.directory
        self._sink = stream.sink
        self.run = sum(1 for _ in self._directory.glob(f"{self._sink}.*.spans"))
        self._spans = (self._directory / f"{self._sink}.{self.run}.spans").open("w", buffering=1)
        self._audio: dict[str, int] = {}
        self.position_s = 0.0

    def take(self, event: Event) -> None:
        """Put down one event, before anything can go wrong with it."""
        if isinstance(event, Frame):
            if event.track not in self._audio:
                path = self._directory / f"{self._sink}.{event.track}.heard"
                self._audio[event.track] = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
            os.pwrite(self._audio[event.track], event.samples.tobytes(), event.start * SAMPLE_BYTES)
            self._spans.write(json.dumps([event.track, event.start, event.end, None]) + "\n")
        elif isinstance(event, Gap):
            self._spans.write(json.dumps([event.track, event.start, event.end, event.cause]) + "\n")
        if isinstance(event, (Frame, Gap)):
            self.position_s = max(self.position_s, event.end / event.rate)

    def close(self) -> None:
        self._spans.close()
        for descriptor in self._audio.values():
            os.close(descriptor)


@asynccontextmanager
async def plugin(*, trouble: str, stall_s: float, pause_s: float = 0.0, raise_s: float = 0.0) -> AsyncIterator[Any]:
    """``stall_s``: how long it is stuck; ``pause_s``: what a slow one takes per event; ``raise_s``: where it raises."""

    blocked = False

    async def sink(stream: Stream, events: AsyncIterator[Event]) -> None:
        nonlocal blocked
        heard = Heard(stream)
        try:
            if trouble == "raises_at_the_start" and heard.run == 0:
                raise RuntimeError("at the start")
            first = True
            async for event in events:
                heard.take(event)
                if first and trouble == "waits":
                    await asyncio.sleep(stall_s)
                elif trouble == "blocks" and not blocked:
                    blocked = True  # once: the loop is that of all its streams
                    time.sleep(stall_s)  # noqa: ASYNC251 - that is its trouble
                elif trouble == "slow":
                    await asyncio.sleep(pause_s)
                elif trouble == "raises_in_the_middle" and heard.run == 0 and heard.position_s > raise_s:
                    raise RuntimeError("in the middle")
                elif trouble == "raises_at_the_end" and heard.run == 0 and isinstance(event, Ended):
                    raise RuntimeError("at the end")
                while trouble == "ignores_cancellation":
                    try:
                        await asyncio.Event().wait()
                    except asyncio.CancelledError:
                        continue
                first = False
        finally:
            heard.close()

    def plain(stream: Stream, events: Iterator[Event]) -> None:
        heard = Heard(stream)
        first = True
        for event in events:
            heard.take(event)
            if first:
                time.sleep(stall_s)
            first = False
        heard.close()

    yield plain if trouble == "blocks_a_thread" else sink
