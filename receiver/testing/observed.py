"""A plugin as it is, and what is seen of it from outside while it runs in a hub."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import cast
from weakref import WeakKeyDictionary

from receiver import sinks
from receiver.events import Event
from receiver.sinks.listener import is_plain
from receiver.sinks.loading import Loaded
from receiver.sinks.sink import PlainSink, Plugin, Sink
from receiver.stream import Stream

BEAT_S = 0.02

Fault = Callable[[Event], None]
"""Called with each event before the sink is given it; what it raises, the sink's iteration raises."""


class Observed:
    """Opens a plugin in the place of itself. What is seen is filled in on the sink's loop."""

    def __init__(self, loaded: Loaded) -> None:
        self.go = threading.Event()
        """Sinks start when it is set, which it is."""
        self.go.set()
        self.fault: Fault | None = None
        self.plain = False
        self.opened = Plugin()
        """What the plugin has yielded."""
        self.started = 0
        """How many times the sink was called."""
        self.returned = 0
        """And how many times it came back, or raised."""
        self.raised: list[Exception] = []
        """What it raised, also where nobody waited for it any more."""
        self.late: list[str] = []
        """Ids of streams that something was said of when the sink had returned."""
        self.stood_still_s = 0.0
        """For how long its loop has not run, at most."""
        self.tasks: list[str] = []
        """What ran on after it was closed."""
        self._loaded = loaded
        self._heard: WeakKeyDictionary[Stream, _Heard] = WeakKeyDictionary()

    def factory(self) -> Callable[[], AbstractAsyncContextManager[Plugin]]:
        """What is to be loaded instead."""

        @asynccontextmanager
        async def plugin() -> AsyncIterator[Plugin]:
            async with self._loaded.open() as value:
                self.opened = opened = value if isinstance(value, Plugin) else Plugin(sink=value)
                beating = asyncio.create_task(self._beat())
                try:
                    yield replace(opened, sink=self._watched(opened.sink)) if callable(opened.sink) else opened
                finally:
                    beating.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await beating
            await asyncio.sleep(0)  # what was cancelled on leaving ends now
            await asyncio.sleep(0)
            self.tasks = [repr(task.get_coro()) for task in asyncio.all_tasks() if not _ours(task)]

        return plugin

    def _watched(self, sink: Sink | PlainSink) -> Sink | PlainSink:
        self.plain = is_plain(sink)

        def plainly(stream: Stream, events: Iterator[Event]) -> None:
            self.go.wait()
            self.started += 1
            heard = self._heard_of(stream)
            try:
                result = cast(PlainSink, sink)(heard, _faulty(events, self.fault) if self.fault else events)
            except Exception as error:
                self.raised.append(error)
                raise
            finally:
                heard.returned = True
                self.returned += 1
            return result

        async def awaited(stream: Stream, events: AsyncIterator[Event]) -> None:
            while not self.go.is_set():  # noqa: ASYNC110 - it is set in another thread
                await asyncio.sleep(BEAT_S)
            self.started += 1
            heard = self._heard_of(stream)
            try:
                await cast(Sink, sink)(heard, _faulty_later(events, self.fault) if self.fault else events)
            except Exception as error:
                self.raised.append(error)
                raise
            finally:
                heard.returned = True
                self.returned += 1

        return plainly if self.plain else awaited

    def _heard_of(self, stream: Stream) -> _Heard:
        """What the sink is given for a stream: the same each time that it is started on it."""
        heard = self._heard.setdefault(stream, _Heard(stream, self.late))
        heard.returned = False
        return heard

    async def _beat(self) -> None:
        before = monotonic()
        while True:
            await asyncio.sleep(BEAT_S)
            now = monotonic()
            self.stood_still_s = max(self.stood_still_s, now - before - BEAT_S)
            before = now


class _Heard(Stream):
    """A Stream that notes what is said when its sink has returned."""

    def __init__(self, stream: Stream, late: list[str]) -> None:
        vars(self).update(vars(stream))
        self.returned = False
        self._late = late

    def _check_open(self) -> None:
        if self.returned:
            self._late.append(self.id)
        super()._check_open()


def _faulty(events: Iterator[Event], fault: Fault) -> Iterator[Event]:
    for event in events:
        fault(event)
        yield event


async def _faulty_later(events: AsyncIterator[Event], fault: Fault) -> AsyncIterator[Event]:
    async for event in events:
        fault(event)
        yield event


def _ours(task: asyncio.Task[object]) -> bool:
    """Whether it is one of those that a sink's loop has for itself, or the one that asks."""
    code = getattr(task.get_coro(), "cr_code", None)
    here = code is not None and Path(code.co_filename).parent == Path(sinks.__file__).parent
    return here or task is asyncio.current_task()
