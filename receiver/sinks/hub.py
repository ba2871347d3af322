"""The hub: opens the plugins, and connects streams to their sinks.

Every sink has an event loop and a thread of its own: one that blocks its loop hurts nobody but itself. The main thread
puts events into feeds, rings each loop at most once per slice of its sweep, and waits for nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from receiver.config import SinkConfig
from receiver.errors import ConfigError
from receiver.plugin_series import Collects
from receiver.records import Record
from receiver.selection import selects
from receiver.sinks.budget import Budget
from receiver.sinks.history import OpenHistory
from receiver.sinks.listener import CANCEL_S, Listener, is_plain
from receiver.sinks.listeners import Listeners, endings
from receiver.sinks.loading import load_apart
from receiver.sinks.opened import CLOSE_S, Opened
from receiver.sinks.recall import Recall
from receiver.sinks.sink import PlainSink, Recover, Sink
from receiver.sinks.sink_loop import FORGOTTEN_S, SinkLoop
from receiver.sinks.slots import Slots
from receiver.sinks.workers import Workers
from receiver.stream import Owner, StreamFacts

OPEN_S = 60.0
"""How long a sink may take to be imported, and again to come to its ``yield``: a large model is to fit in."""

HISTORIANS = 2
"""How many threads read for all sinks that could not keep up. They decode, at the expense of everybody else."""

T = TypeVar("T")


class SinkFigures(msgspec.Struct):
    """What there is to know of a sink, over all its streams since the start."""

    queued_s: float = 0.0  # the longest feed now
    dropped_s: float = 0.0
    failures: int = 0  # streams on which it raised, also if it was started again, or was left behind
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
        self._loops: dict[str, SinkLoop] = {}
        self._opened: dict[str, Opened] = {}
        self._slots = {name: Slots(config.threads) for name, config in sinks.items()}
        self._workers = Workers("history of sinks", HISTORIANS)
        self._live: dict[int, Listeners] = {}
        self._totals = {name: SinkFigures() for name in sinks}

    async def __aenter__(self) -> Self:
        """Load every sink, then open every plugin on a loop of its own.

        Raises ConfigError that names the sink; then, and when this is cancelled, those that were open are closed again.
        """
        configs = self._configs.items()
        try:
            loaded = {name: await _in_time(name, load_apart(name, c.use, c.options, self._base)) for name, c in configs}
            for name, plugin in loaded.items():
                self._loops[name] = loop = SinkLoop(name)
                opened = Opened(name, plugin)
                await _in_time(name, asyncio.run_coroutine_threadsafe(opened.open(), loop.loop))
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

    def series(self) -> dict[str, Collects]:
        """What counts for the plugins that count, by the names of their sinks."""
        found = ((name, opened.plugin.metrics) for name, opened in self._opened.items())
        return {name: metrics for name, metrics in found if metrics is not None}

    def needs_history(self, facts: StreamFacts) -> bool:
        """Whether a sink of this stream may have to read on from what is kept of it."""
        return any(one.reads_back and selects(one.sources, one.when, facts) for one in self._configs.values())

    def may_need_history(self, source: str) -> bool:
        """The same before the stream has started: for any stream of the source."""
        return any(config.reads_back and config.may_get(source) for config in self._configs.values())

    def open(self, facts: StreamFacts, directory: Path, owner: Owner, history: OpenHistory | None = None) -> Listeners:
        """Start the sinks that are configured for a stream; ``directory`` exists.

        ``history`` opens what is kept of the stream, in a thread, for each sink that comes to need it. Without it,
        ``spill`` drops the newest, and a sink that is started again misses what did not fit meanwhile.
        """
        listeners = Listeners(self, (facts, directory, owner))
        self._live[id(listeners)] = listeners
        for name, opened in self._opened.items():
            sink, config = opened.plugin.sink, self._configs[name]
            if sink is not None and selects(config.sources, config.when, facts):
                self._begin(listeners, name, sink, config, history)
        return listeners

    def attach(self, listeners: Listeners, name: str, sink: Sink | PlainSink, config: SinkConfig | None = None) -> None:
        """Add a sink to a stream. What has passed is a gap of cause DROPPED to it, even all of the stream.

        It has no history: ``overflow = "spill"`` drops the newest.
        """
        config = config or SinkConfig(use=name)
        self._totals.setdefault(name, SinkFigures())
        self._slots.setdefault(name, Slots(config.threads))
        if name not in self._loops:
            self._loops[name] = SinkLoop(name)
        listener = self._begin(listeners, name, sink, config)
        if listeners.ended is not None and listener.feed.put((listeners.ended,)):
            listener.loop.mark_dirty(listener)
            self.flush()

    def room_for_stream(self, source: str | None = None) -> bool:
        """Whether every plain sink that may get a stream (of this source) has a thread for it.

        Threads that were left behind do not count, or they would keep new streams out for good.
        """
        return all(
            self._slots[name].room
            for name, opened in self._opened.items()
            if opened.plugin.sink is not None and is_plain(opened.plugin.sink) and self._configs[name].may_get(source)
        )

    def records(self, record: Record) -> None:
        """Tell every plugin that reads records, soon. May be called from any thread."""
        for name, opened in self._opened.items():
            if opened.announcements is not None:
                opened.announcements.put(record)
                self._loops[name].mark_dirty(opened.announcements)
                self._loops[name].ring()

    def flush(self) -> None:
        """Ring for all that was published since the last time: each loop once, and not while a ring is on its way."""
        if self._budget.due:
            self._count()
        for loop in self._loops.values():
            loop.ring()

    def retire(self, listeners: Listeners) -> None:
        """A stream is over: its figures go into the totals."""
        if self._live.pop(id(listeners), None) is not None:
            for listener in listeners.all:
                _add(self._totals[listener.name], listener)

    def crowded(self) -> bool:
        """Whether all feeds together hold more than they may, and there is a sink that may yet take of it."""
        if self._budget.over:
            self._count()
        holding = (one for one in self._listening() if one.feed.queued_bytes)
        return self._budget.over and not all(one.loop.blocked for one in holding)

    def healthy(self) -> bool:
        """False while there is a live stream all of whose sinks have failed or block their loops."""
        return all(listeners.healthy for listeners in self._live.values())

    def figures(self) -> dict[str, SinkFigures]:
        """Figures by sink; dropped seconds and failures only ever grow."""
        figures = {name: msgspec.structs.replace(total) for name, total in self._totals.items()}
        for listener in self._listening():
            _add(figures[listener.name], listener)
            figures[listener.name].queued_s = max(figures[listener.name].queued_s, listener.feed.queued_s)
        for name, opened in self._opened.items():
            if opened.announcements is not None:
                figures[name].records_dropped = opened.announcements.dropped
        return figures

    def _begin(
        self,
        listeners: Listeners,
        name: str,
        sink: Sink | PlainSink,
        config: SinkConfig,
        history: OpenHistory | None = None,
    ) -> Listener:
        needed = history if config.reads_back else None
        recall = needed and Recall(needed, self._workers, sink=name, stream=listeners.stream[0].id)
        slots, loop = self._slots[name], self._loops[name]
        listener = Listener(name, sink, config, self._budget, slots, loop, listeners.stream, recall)
        listeners.all.append(listener)
        if listener.loop.given_up:
            listener.refuse()
        else:
            listener.loop.call(listener.begin)
        return listener

    def _count(self) -> None:
        self._budget.counted(sum(one.feed.queued_bytes for one in self._listening()))

    def _listening(self) -> Iterator[Listener]:
        return (listener for listeners in self._live.values() for listener in listeners.all)

    async def _stop(self) -> None:
        """Close all plugins at once, so that none waits for another, and leave behind what is stuck."""
        running = [one for one in self._listening() if not one.ending.over]
        bound = CANCEL_S + CLOSE_S + FORGOTTEN_S + 1
        await asyncio.gather(
            *(
                loop.end(partial(_close, [one for one in running if one.name == name], self._opened.get(name)), bound)
                for name, loop in self._loops.items()
            )
        )
        for listener in running:
            listener.leave_behind()
        self._workers.close()


async def _in_time(name: str, work: Future[T]) -> T:
    try:
        async with asyncio.timeout(OPEN_S):
            return await asyncio.wrap_future(work)
    except TimeoutError:
        raise ConfigError(f"sinks.{name}.use", f"did not open within {OPEN_S:g} s") from None


async def _close(running: Sequence[Listener], opened: Opened | None) -> None:
    """End the sinks that still run, then close their plugin; on its loop."""
    for one in running:
        one.cancel()
    await endings(running)  # one that does not end is left behind, which is an ending as well
    if opened is not None:
        await opened.close()


def _add(figures: SinkFigures, listener: Listener) -> None:
    figures.dropped_s += sum(listener.feed.dropped_s.values())
    figures.failures += listener.failed or listener.status == "failed" or listener.left_behind
