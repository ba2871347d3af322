"""A town of sinks, good and bad, that the hub loads by name; what tests need of it, they get from the fixture."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from receiver.audio import AudioFormat, Encoding
from receiver.config import SinkConfig
from receiver.errors import ConfigError
from receiver.events import Annotation, Ended, EndReason, Event, Frame, TrackCounters
from receiver.records import Record, Refused
from receiver.sinks.each import each
from receiver.sinks.hub import Hub
from receiver.sinks.listeners import Listeners
from receiver.sinks.sink import Plugin
from receiver.stream import Stream, StreamClosed, StreamFacts

RATE = 8000
LONG = 20.0  # seconds, for what must happen and takes as long as the machine needs


async def everything(stream: Stream, events: AsyncIterator[Event]) -> None:
    seen = TOWN.seen.setdefault(stream.sink, [])
    async for event in events:
        seen.append(event)


async def handed(stream: Stream, events: AsyncIterator[Event]) -> None:
    """Has everything handed to it."""
    await each(events, TOWN.seen.setdefault(stream.sink, []).append)


def plain_everything(stream: Stream, events: Iterator[Event]) -> None:
    TOWN.seen.setdefault(stream.sink, []).extend(events)


async def raising(stream: Stream, events: AsyncIterator[Event]) -> None:
    await anext(events)
    raise ValueError("first line\nsecond line" + "x" * 1000)


async def leaving(stream: Stream, events: AsyncIterator[Event]) -> None:
    TOWN.seen[stream.sink] = [await anext(events)]


async def exiting(stream: Stream, events: AsyncIterator[Event]) -> None:
    raise SystemExit(3)


async def self_cancelled(stream: Stream, events: AsyncIterator[Event]) -> None:
    raise asyncio.CancelledError


async def stuck(stream: Stream, events: AsyncIterator[Event]) -> None:
    await asyncio.Event().wait()


async def deaf(stream: Stream, events: AsyncIterator[Event]) -> None:
    gate = asyncio.get_running_loop().create_future()
    TOWN.sinks["wake deaf"] = lambda: gate.get_loop().call_soon_threadsafe(gate.set_result, None)
    while not gate.done():
        try:
            await asyncio.shield(gate)
        except asyncio.CancelledError:
            TOWN.said.append("ignored")
    try:
        stream.annotate("late", start=0, end=1, rate=RATE)
    except StreamClosed:
        TOWN.said.append("closed")
    TOWN.there.set()


async def gated(stream: Stream, events: AsyncIterator[Event]) -> None:
    """Takes nothing until the gate opens, without blocking the loop."""
    while not TOWN.go.is_set():
        await asyncio.sleep(0.002)
    await everything(stream, events)


async def gated_handed(stream: Stream, events: AsyncIterator[Event]) -> None:
    """The same, and then has everything handed to it."""
    while not TOWN.go.is_set():
        await asyncio.sleep(0.002)
    await handed(stream, events)


async def blocking(stream: Stream, events: AsyncIterator[Event]) -> None:
    """Blocks its loop."""
    TOWN.there.set()
    TOWN.go.wait(LONG)
    await everything(stream, events)


async def blocking_later(stream: Stream, events: AsyncIterator[Event]) -> None:
    """Has heard of all there is when it blocks its loop."""
    await anext(events)
    TOWN.there.set()
    TOWN.go.wait(LONG)
    await everything(stream, events)


async def stopping(stream: Stream, events: AsyncIterator[Event]) -> None:
    asyncio.get_running_loop().stop()
    await everything(stream, events)


async def exiting_later(stream: Stream, events: AsyncIterator[Event]) -> None:
    async def leave() -> None:
        raise SystemExit(4)

    exiting = asyncio.create_task(leave())
    await asyncio.wait([exiting])
    assert isinstance(exiting.exception(), SystemExit)
    await everything(stream, events)


def plain_waiting(stream: Stream, events: Iterator[Event]) -> None:
    TOWN.there.set()
    TOWN.go.wait(LONG)
    plain_everything(stream, events)


def plain_raising(stream: Stream, events: Iterator[Event]) -> None:
    raise StopIteration


def plain_returning(stream: Stream, events: AsyncIterator[Event]) -> Awaitable[None]:
    return everything(stream, events)


def plain_returning_a_number(stream: Stream, events: Iterator[Event]) -> int:
    return 3


async def tripping(stream: Stream, events: AsyncIterator[Event]) -> None:
    """Raises where it is told to; what each of its runs was given is kept."""
    runs = TOWN.runs.setdefault(stream.sink, [])
    runs.append([])
    stream.annotate("run", start=0, end=0, rate=RATE)
    async for event in events:
        runs[-1].append(event)
        if TOWN.trips(len(runs), event):
            raise ValueError("tripped")


async def handed_tripping(stream: Stream, events: AsyncIterator[Event]) -> None:
    runs = TOWN.runs.setdefault(stream.sink, [])
    runs.append([])
    stream.annotate("run", start=0, end=0, rate=RATE)

    def take(event: Event) -> None:
        runs[-1].append(event)
        if TOWN.trips(len(runs), event):
            raise ValueError("tripped")

    await each(events, take)


def plain_tripping(stream: Stream, events: Iterator[Event]) -> None:
    runs = TOWN.runs.setdefault(stream.sink, [])
    runs.append([])
    stream.annotate("run", start=0, end=0, rate=RATE)
    for event in events:
        runs[-1].append(event)
        if TOWN.trips(len(runs), event):
            raise ValueError("tripped")


async def impatient(stream: Stream, events: AsyncIterator[Event]) -> None:
    """Gives up waiting for the next event, again and again."""
    seen = TOWN.seen.setdefault(stream.sink, [])
    while not TOWN.go.is_set():
        await asyncio.sleep(0.002)
    while not seen or not isinstance(seen[-1], Ended):
        with suppress(TimeoutError):
            seen.append(await asyncio.wait_for(anext(events), 0.001))


async def impatient_handed(stream: Stream, events: AsyncIterator[Event]) -> None:
    """The same, with everything handed to it."""
    seen = TOWN.seen.setdefault(stream.sink, [])
    while not TOWN.go.is_set():
        await asyncio.sleep(0.002)
    while not seen or not isinstance(seen[-1], Ended):
        with suppress(TimeoutError):
            await asyncio.wait_for(each(events, seen.append), 0.001)


async def talking(stream: Stream, events: AsyncIterator[Event]) -> None:
    async for event in events:
        if isinstance(event, Ended):
            stream.annotate("transcript", track="inbound", start=0, end=160, rate=RATE, data={"text": "hello"})
            stream.add_file(stream.directory / "notes.txt", kind="notes", media_type="text/plain")


class Sitting:
    """A sink may be an object."""

    async def __call__(self, stream: Stream, events: AsyncIterator[Event]) -> None:
        await everything(stream, events)


sitting = Sitting()


@asynccontextmanager
async def plugin(*, fail: str = "", label: str = "", hang: bool = False, records: bool = False) -> AsyncIterator[Any]:
    if fail == "config":
        raise ConfigError("options.fail", "is not to be")
    if fail == "open":
        raise OSError("no such device")
    if fail == "cancel":
        raise asyncio.CancelledError
    if fail == "nothing":
        yield 5
    if fail == "metrics":
        yield Plugin(sink=everything, metrics=5)  # type: ignore[arg-type]
    TOWN.said.append(f"open {label}")
    try:
        yield Plugin(sink=everything, records=reading if records else None, recover=recover)
    finally:
        if hang:
            await asyncio.Event().wait()
        TOWN.said.append(f"close {label}")
    if fail == "close":
        raise OSError("cannot close")


def recover(stream: Stream) -> None:
    TOWN.said.append(f"recovered {stream.id}")


async def reading(records: AsyncIterator[Record]) -> None:
    async for record in records:
        assert isinstance(record, Refused)
        if record.reason == "break":
            raise ValueError("cannot read this")
        TOWN.said.append(record.reason)
        if record.reason == "wait":
            TOWN.there.set()
            TOWN.go.wait(LONG)


def use(name: str, **more: Any) -> SinkConfig:
    return SinkConfig(use=f"{__name__}:{name}", **more)


def facts(source: str = "default", **parameters: Any) -> StreamFacts:
    return StreamFacts(
        id="0198",
        source=source,
        dialect="signalwire",
        stream_id="s",
        call_id=None,
        account_id=None,
        tracks=("inbound",),
        format=AudioFormat(Encoding.PCMU, RATE),
        parameters=parameters,
        path_parameters={},
        peer_address="127.0.0.1",
        token=None,
        started=datetime.now(UTC),
    )


def frame(start: int, count: int = 160) -> Frame:
    return Frame("inbound", start, RATE, np.full(count, start % 30000, np.int16))


def ended(length: int) -> Ended:
    return Ended(EndReason.STOP, True, {"inbound": TrackCounters(RATE, length)})


def hub_of(**sinks: SinkConfig) -> Hub:
    return Hub(sinks, base=Path(__file__).parent, feeds_bytes=1 << 30)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(LONG):
        while not condition():
            await asyncio.sleep(0.002)


async def publish(hub: Hub, listeners: Listeners, slices: int = 50, kept: Kept | None = None) -> None:
    """A stream of one track, as the sweep would: a batch, a flush, and on."""
    for number in range(slices):
        batch = [frame(160 * number)]
        listeners.publish(batch if kept is None else kept.add(batch))
        hub.flush()
        await asyncio.sleep(0)
    end = [ended(160 * slices)]
    listeners.publish(end if kept is None else kept.add(end))
    hub.flush()


def samples(events: list[Event]) -> int:
    return sum(len(event.samples) for event in events if isinstance(event, Frame))


@asynccontextmanager
async def slow_to_open() -> AsyncIterator[Any]:
    TOWN.there.set()
    await asyncio.Event().wait()
    yield everything


@asynccontextmanager
async def blocked_opening() -> AsyncIterator[Any]:
    TOWN.there.set()
    TOWN.go.wait(LONG)
    yield everything


@asynccontextmanager
async def blocked_closing() -> AsyncIterator[Any]:
    yield everything
    TOWN.there.set()
    TOWN.go.wait(LONG)


async def forgetful(stream: Stream, events: AsyncIterator[Event]) -> None:
    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            TOWN.said.append("tidied up")

    TOWN.forgotten = asyncio.create_task(forever())
    await everything(stream, events)


class Kept:
    """What is kept of a stream: a list that grows, and whoever reads it from its beginning. ``open`` is a sink's."""

    def __init__(self, at_once: int = 20) -> None:
        self.at_once = at_once
        self.events: list[Event] = []
        self.over = False
        self.readings: list[Reading] = []
        self.gate = threading.Event()  # while it is not set, a read takes its time
        self.gate.set()
        self.inside = threading.Event()

    def add(self, events: Sequence[Event]) -> Sequence[Event]:
        """Keep them, and give them back."""
        self.events.extend(events)
        return events

    def open(self) -> Reading:
        self.readings.append(Reading(self))
        return self.readings[-1]


class Reading:
    """A History."""

    def __init__(self, kept: Kept) -> None:
        self.closed = 0
        self.reads = 0
        self._kept = kept
        self._next = 0
        self._busy = False

    def read(self) -> Sequence[Event] | None:
        assert not self.closed and not self._busy
        self._busy = True
        self.reads += 1
        self._kept.inside.set()
        self._kept.gate.wait(LONG)
        over = self._kept.over  # asked first: what came until then is found
        events = self._kept.events[self._next : self._next + self._kept.at_once]
        self._next += len(events)
        self._busy = False
        return None if over and not events else events

    def close(self) -> None:
        assert not self._busy
        self.closed += 1


class Town:
    """What the plugins of these tests, which are loaded by name, share with them."""

    def __init__(self) -> None:
        self.sinks: dict[str, Callable[..., Any]] = {}
        self.seen: dict[str, list[Event]] = {}
        self.runs: dict[str, list[list[Event]]] = {}
        self.trips: Callable[[int, Event], bool] = lambda run, event: False
        self.said: list[str] = []
        self.go = threading.Event()
        self.there = threading.Event()
        self.annotations: list[Annotation] = []
        self.forgotten: asyncio.Task[None] | None = None

    def annotated(self, annotation: Annotation) -> None:
        self.annotations.append(annotation)

    def file_added(self, path: Path, kind: str, media_type: str, sink: str) -> None:
        self.said.append(f"{sink} {path.name}")

    def open_stream(self, hub: Hub, directory: Path, **parameters: Any) -> Listeners:
        return hub.open(facts(**parameters), directory, self)

    Kept = Kept
    use = staticmethod(use)
    facts = staticmethod(facts)
    frame = staticmethod(frame)
    ended = staticmethod(ended)
    hub_of = staticmethod(hub_of)
    until = staticmethod(until)
    publish = staticmethod(publish)
    samples = staticmethod(samples)
    everything = staticmethod(everything)
    gated = staticmethod(gated)
    plain_everything = staticmethod(plain_everything)
    recover = staticmethod(recover)
    sitting = sitting


TOWN = Town()


@pytest.fixture
def town() -> Iterator[Town]:
    global TOWN
    TOWN = Town()
    yield TOWN
    TOWN.go.set()  # nobody is left waiting


@pytest.fixture
def path_as_it_was() -> Iterator[None]:
    """What a test adds to Python's path, and imports from there, is gone after it."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]
