"""The sink: everything that a plugin is, and all that it needs to know.

A sink consumes one stream. A plugin opens sinks for the process: its keyword arguments are its options (typed, checked
at start, named in errors), what it opens before the ``yield`` is shared by all streams, and what follows the ``yield``
closes it again::

    @asynccontextmanager
    async def plugin(*, model: Path, token: Secret) -> AsyncIterator[Sink]:
        engine = await load(model)
        async def sink(stream: Stream, events: AsyncIterator[Event]) -> None:
            async for block in blocks(events, rate=16000, dtype="float32", ms=100):
                ...
        yield sink
        await engine.close()

A bare ``async def sink(stream, events)`` is a plugin without options, and so is a plain ``def sink(stream, events)``,
which gets an ordinary iterator and a thread of its own for every stream.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from receiver.events import Event
from receiver.plugin_series import Collects
from receiver.records import Record
from receiver.stream import Stream

Sink = Callable[[Stream, AsyncIterator[Event]], Awaitable[None]]
"""Consumes one stream, on the sinks' own event loop; returning early is allowed, raising ends this sink alone."""

PlainSink = Callable[[Stream, Iterator[Event]], None]
"""The same as an ordinary function, in a thread of its own."""

Records = Callable[[AsyncIterator[Record]], Awaitable[None]]
"""Consumes facts of the whole process, without audio, for as long as the process runs."""

Recover = Callable[[Stream], None]
"""Finishes what a crash, or a disk that failed, left of one stream in ``stream.directory``; may ``add_file``.

Called in threads, at start and when the disk works again, for several streams at once.
"""


@dataclass(frozen=True)
class Plugin:
    """What a plugin yields when a sink is not all it has."""

    sink: Sink | PlainSink | None = None
    records: Records | None = None
    recover: Recover | None = None
    metrics: Collects | None = None
    """The plugin's own series, e.g. ``Counter("words", "Words heard", registry=None)`` or a ``CollectorRegistry`` of
    several, shown at ``/metrics`` with the label ``sink``. Names are to begin with the plugin's own."""


PluginFactory = Callable[..., AbstractAsyncContextManager[Sink | PlainSink | Plugin]]
"""What ``use`` names, if it is neither kind of sink itself."""
