"""Blocks: a sink's events as audio of one shape, the way models and encoders want it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Literal, overload

import numpy as np

from receiver.events import Event, Frame, Gap
from receiver.sinks.cutter import Block, Cutter, Gaps
from receiver.sinks.joint import Joint
from receiver.sinks.lane import Audio, DType, Lane, Quality, Span

Tracks = Literal["separate", "mix", "pair"]


class _Core:
    """Events in, blocks out; knows nothing of how they are iterated."""

    def __init__(
        self, rate: int | None, dtype: DType, tracks: Tracks, ms: float, gaps: Gaps, max_skew_s: float, quality: Quality
    ) -> None:
        if ms <= 0 or (rate is not None and rate <= 0) or max_skew_s < 0:
            raise ValueError(f"blocks: rate={rate}, ms={ms}, max_skew_s={max_skew_s}: must be positive")
        for name, value, known in (
            ("dtype", dtype, ("int16", "float32")),
            ("tracks", tracks, ("separate", "mix", "pair")),
            ("gaps", gaps, ("zeros", "skip")),
        ):
            if value not in known:
                raise ValueError(f"blocks: {name} is one of {', '.join(known)}, not {value!r}")
        self._rate = rate
        self._dtype: DType = dtype
        self._tracks: Tracks = tracks
        self._ms = ms
        self._gaps: Gaps = gaps
        self._max_skew_s = max_skew_s
        self._quality: Quality = quality
        self._lanes: dict[str, Lane] = {}
        self._cutters: dict[str, Cutter] = {}
        self._joint: Joint | None = None

    @property
    def late(self) -> dict[str, int]:
        return {} if self._joint is None else dict(self._joint.late)

    def put(self, event: Event) -> Iterator[Block]:
        """The blocks that an event completes, made as they are taken."""
        if isinstance(event, (Frame, Gap)):
            lane = self._lanes.get(event.track) or self._open(event)
            yield from self._cut(event.track, lane.put(event))

    def finish(self) -> Iterator[Block]:
        """The blocks that are still inside, the short ones of the end."""
        for track, lane in self._lanes.items():
            yield from self._cut(track, lane.finish())
        self._lanes.clear()
        if self._joint is not None:
            for span in self._joint.finish():
                yield from self._cutters[self._tracks].put(span)
        for cutter in self._cutters.values():
            yield from cutter.finish()

    def _open(self, event: Frame | Gap) -> Lane:
        rate = self._rate or event.rate
        separate = self._tracks == "separate"
        if not separate:
            self._rate = rate  # one rate for all that is joined
            self._joint = self._joint or Joint(self._tracks, round(self._max_skew_s * rate))  # type: ignore[arg-type]  # not separate
        name = event.track if separate else self._tracks
        if name not in self._cutters:
            empty: Audio = np.zeros((1, 2) if self._tracks == "pair" else 1, self._dtype)
            self._cutters[name] = Cutter(name, rate, self._ms, self._gaps, empty)
        lane = self._lanes[event.track] = Lane(event.rate, rate, self._dtype, self._quality)
        return lane

    def _cut(self, track: str, spans: list[Span]) -> Iterator[Block]:
        if self._joint is None:
            for span in spans:
                yield from self._cutters[track].put(span)
        else:
            for span in self._joint.put(track, spans):
                yield from self._cutters[self._tracks].put(span)


class AsyncBlocks(AsyncIterator[Block]):
    """Blocks of an asynchronous iterator of events."""

    def __init__(self, events: AsyncIterator[Event], core: _Core) -> None:
        self._events = events
        self._core = core
        self._blocks: Iterator[Block] = iter(())
        self._over = False

    @property
    def late(self) -> dict[str, int]:
        """Samples at the output's rate that a mix or pair cut because they came too late, by track."""
        return self._core.late

    async def __anext__(self) -> Block:
        while (block := next(self._blocks, None)) is None:
            if self._over:
                raise StopAsyncIteration
            event = await anext(self._events, None)
            self._over = event is None
            self._blocks = self._core.finish() if event is None else self._core.put(event)
        return block


class PlainBlocks(Iterator[Block]):
    """Blocks of an ordinary iterator of events."""

    def __init__(self, events: Iterator[Event], core: _Core) -> None:
        self._core = core
        self._blocks = itertools.chain(itertools.chain.from_iterable(map(core.put, events)), _lazily(core))

    @property
    def late(self) -> dict[str, int]:
        """Samples at the output's rate that a mix or pair cut because they came too late, by track."""
        return self._core.late

    def __next__(self) -> Block:
        return next(self._blocks)


def _lazily(core: _Core) -> Iterator[Block]:
    yield from core.finish()


@overload
def blocks(
    events: AsyncIterator[Event],
    *,
    rate: int | None = None,
    dtype: DType = "int16",
    tracks: Tracks = "separate",
    ms: float = 20,
    gaps: Gaps = "zeros",
    max_skew_s: float = 1.0,
    quality: Quality = "HQ",
) -> AsyncBlocks: ...
@overload
def blocks(
    events: Iterator[Event],
    *,
    rate: int | None = None,
    dtype: DType = "int16",
    tracks: Tracks = "separate",
    ms: float = 20,
    gaps: Gaps = "zeros",
    max_skew_s: float = 1.0,
    quality: Quality = "HQ",
) -> PlainBlocks: ...
def blocks(
    events: AsyncIterator[Event] | Iterator[Event],
    *,
    rate: int | None = None,
    dtype: DType = "int16",
    tracks: Tracks = "separate",
    ms: float = 20,
    gaps: Gaps = "zeros",
    max_skew_s: float = 1.0,
    quality: Quality = "HQ",
) -> AsyncBlocks | PlainBlocks:
    """Iterate a sink's events as blocks of ``ms`` milliseconds at ``rate`` hertz (None: the track's own).

    ``dtype``: ``int16``, or ``float32`` within [-1, 1]. ``tracks``: ``separate`` blocks, all tracks in one ``mix``, or
    inbound (left) and outbound (right) as a ``pair`` of shape (n, 2), where a silent side is padded with zeros; what
    arrives more than ``max_skew_s`` behind the other side is cut, and counted in ``late``. ``gaps``: as ``zeros``, or
    ``skip``: then the next block starts behind the gap. Each block starts where the last one ended, but for skipped
    gaps; lengths are exact over any duration. Ended ends the iteration; other events than audio are passed over.

    Resampling is soxr's, of the given ``quality``: ``HQ`` answers in bursts up to 140 ms late, ``QQ`` at once.

    Raises ValueError for arguments that it does not know.
    """
    core = _Core(rate, dtype, tracks, ms, gaps, max_skew_s, quality)
    return AsyncBlocks(events, core) if isinstance(events, AsyncIterator) else PlainBlocks(iter(events), core)
