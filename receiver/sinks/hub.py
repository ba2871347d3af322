"""The hub: opens the plugins, and connects streams to their sinks.

Sinks run on a loop of their own in a thread of their own. A sink that blocks it hurts other sinks' timing and nothing
else: the main thread puts events into feeds and rings at most once per slice of its sweep, and waits for nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from receiver.config import SinkConfig
from receiver.logs import logger
from receiver.records import Record
from receiver.sinks.announcements import Announcements
from receiver.sinks.feed import Budget
from receiver.sinks.listener import CANCEL_S, Listener, is_plain
from receiver.sinks.listeners import Listeners
from receiver.sinks.loading import Loaded, load
from receiver.sinks.opened import CLOSE_S, Opened
from receiver.sinks.sink import PlainSink, Recover, Sink
from receiver.sinks.slots import Slots
from receiver.stream import Owner, StreamFacts

log = logger("receiver.sinks")


class SinkFigures(msgspec.Struct):
    """What there is to know of a sink, over all its streams since the start."""

    queued_s: float = 0.0  # the longest feed now
    dropped_s: float = 0.0
    failures: int = 0
    records_dropped: int = 0  # that its plugin was too slow to read


class Hub:
    """All sinks of the process. An asynchronous context; its methods are for the main thread, except ``records``.

    ``base`` is the folder that relative paths in ``use`` and in options start from; ``feeds_bytes`` bounds all feeds
    together.
    """

    def __init__(self, sinks: Mapping[str, SinkConfig], *, base: Path, feeds_bytes: int) -> None:
        self._configs = sinks
        self._base = base
        self._budget = Budget(feeds_bytes)
        self._loop: asyncio.AbstractEventLoop
        self._stopped: Future[None] = Future()
        self._opened: dict[str, Opened] = {}
        self._slots = {name: Slots(config.threads) for name, config in sinks.items()}
        self._live: dict[int, Listeners] = {}
        self._totals = {name: SinkFigures() for name in sinks}
        self._dirty: deque[Listener | Announcements] = deque()
        self._pending = False

    async def __aenter__(self) -> Self:
        """Start the sinks' thread and open every plugin.

        Raises ConfigError that names the sink; those that were open are closed again.
        """
        loaded = await asyncio.to_thread(self._load)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._run, name="sinks", daemon=True).start()
        try:
            for name, plugin in loaded.items():
                opened = Opened(name, plugin)
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(opened.open(), self._loop))
                self._opened[name] = opened
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    def recoverers(self) -> list[tuple[str, Recover]]:
        """What finishes the files of a crash, with the names of their sinks."""
        return [(name, opened.plugin.recover) for name, opened in self._opened.items() if opened.plugin.recover]

    def open(self, facts: StreamFacts, directory: Path, owner: Owner) -> Listeners:
        """Start the sinks that are configured for a stream; ``directory`` exists."""
        listeners = Listeners(self, (facts, directory, owner))
        self._live[id(listeners)] = listeners
        for name, opened in self._opened.items():
            sink, config = opened.plugin.sink, self._configs[name]
            if sink is not None and _wants(config, facts):
                self._begin(listeners, name, sink, config)
        return listeners

    def attach(self, listeners: Listeners, name: str, sink: Sink | PlainSink, config: SinkConfig | None = None) -> None:
        """Add a sink to a stream. What has passed is a gap of cause DROPPED to it, even all of the stream."""
        config = config or SinkConfig(use=name)
        self._totals.setdefault(name, SinkFigures())
        self._slots.setdefault(name, Slots(config.threads))
        listener = self._begin(listeners, name, sink, config)
        if listeners.ended is not None and listener.feed.put((listeners.ended,)):
            self.mark_dirty(listener)
            self.flush()

    def room_for_stream(self, source: str | None = None) -> bool:
        """Whether every plain sink that may get a stream (of this source) has a thread for it."""
        return all(
            self._slots[name].free > 0
            for name, opened in self._opened.items()
            if opened.plugin.sink is not None and is_plain(opened.plugin.sink) and _from(self._configs[name], source)
        )

    def records(self, record: Record) -> None:
        """Tell every plugin that reads records, soon. May be called from any thread."""
        for opened in self._opened.values():
            if opened.announcements is not None:
                opened.announcements.put(record)
                self.mark_dirty(opened.announcements)
        self._ring()

    def flush(self) -> None:
        """Ring for all that was published since the last time: once, and not at all if a ring is still on its way."""
        if self._budget.due:
            feeds = (listener.feed for listeners in self._live.values() for listener in listeners.all)
            self._budget.counted(sum(feed.queued_bytes for feed in feeds))
        self._ring()

    def mark_dirty(self, reader: Listener | Announcements) -> None:
        """Remember who is to be woken at the next ring."""
        if not reader.dirty:
            reader.dirty = True
            self._dirty.append(reader)

    def retire(self, listeners: Listeners) -> None:
        """A stream is over: its figures go into the totals."""
        if self._live.pop(id(listeners), None) is not None:
            for listener in listeners.all:
                _add(self._totals[listener.name], listener)

    def call(self, function: Callable[[], object]) -> None:
        """Call a function on the sinks' loop, soon; nothing happens once that has closed."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)

    def healthy(self) -> bool:
        """False while there is a live stream all of whose sinks have failed."""
        return all(listeners.healthy for listeners in self._live.values())

    def figures(self) -> dict[str, SinkFigures]:
        """Figures by sink; dropped seconds and failures only ever grow."""
        figures = {name: msgspec.structs.replace(total) for name, total in self._totals.items()}
        for listeners in self._live.values():
            for listener in listeners.all:
                _add(figures[listener.name], listener)
                figures[listener.name].queued_s = max(figures[listener.name].queued_s, listener.feed.queued_s)
        for name, opened in self._opened.items():
            if opened.announcements is not None:
                figures[name].records_dropped = opened.announcements.dropped
        return figures

    def _load(self) -> dict[str, Loaded]:
        return {name: load(name, config.use, config.options, self._base) for name, config in self._configs.items()}

    def _begin(self, listeners: Listeners, name: str, sink: Sink | PlainSink, config: SinkConfig) -> Listener:
        listener = Listener(name, sink, config, self._budget, self._slots[name], self._loop, listeners.stream)
        listeners.all.append(listener)
        self.call(listener.begin)
        return listener

    def _ring(self) -> None:
        if self._dirty and not self._pending:
            self._pending = True
            self.call(self._deliver)

    def _deliver(self) -> None:
        # the flags fall before the queues are looked at: whoever puts after that, rings again
        self._pending = False
        while self._dirty:
            reader = self._dirty.popleft()
            reader.dirty = False
            reader.wake()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._close())
        finally:
            self._loop.close()
            self._stopped.set_result(None)

    async def _close(self) -> None:
        """End the sinks that still run, close the plugins in reverse, then whatever tasks they forgot."""
        running = [one for listeners in self._live.values() for one in listeners.all if not one.done.done()]
        for listener in running:
            listener.cancel()
        if running:  # a sink that does not end is left behind, and then done as well
            await asyncio.wait([asyncio.wrap_future(listener.done) for listener in running])
        for opened in reversed(self._opened.values()):
            await opened.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1)
        await self._loop.shutdown_asyncgens()

    async def _stop(self) -> None:
        self.call(self._loop.stop)
        bound = CANCEL_S + (CLOSE_S + 1) * (len(self._opened) + 1)
        await asyncio.wait([asyncio.wrap_future(self._stopped)], timeout=bound)
        if not self._stopped.done():
            log.error("sinks_left_behind", problem="a sink blocks the sinks' thread")


def _wants(config: SinkConfig, facts: StreamFacts) -> bool:
    parameters = facts.parameters
    return _from(config, facts.source) and all(
        key in parameters and _text(parameters[key]) == _text(value) for key, value in config.when.items()
    )


def _from(config: SinkConfig, source: str | None) -> bool:
    return source is None or config.sources is None or source in config.sources


def _text(value: Any) -> str:
    """Parameters and configured values are compared as text: a platform may send ``1`` or ``"1"``."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _add(figures: SinkFigures, listener: Listener) -> None:
    figures.dropped_s += sum(listener.feed.dropped_s.values())
    figures.failures += listener.status == "failed"
