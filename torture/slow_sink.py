"""A sink that is slower than the calls, for all of each; what it was given it says at the end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

from receiver.events import Cause, Event, Frame, Gap
from receiver.sinks import Stream

PAUSE_S = 0.15


async def sink(stream: Stream, events: AsyncIterator[Event]) -> None:
    """Takes one event every PAUSE_S: three times slower than they come."""
    heard: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    ends: dict[str, int] = {}
    async for event in events:
        if isinstance(event, (Frame, Gap)):
            if event.start != ends.get(event.track, 0):
                raise AssertionError(f"{event.track} goes on at {event.start}, not at {ends.get(event.track, 0)}")
            ends[event.track] = event.end
            missed = isinstance(event, Gap) and event.cause is Cause.DROPPED
            (dropped if missed else heard)[event.track] += event.end - event.start
            await asyncio.sleep(PAUSE_S)
    stream.annotate("heard", start=0, end=0, rate=8000, data={"heard": dict(heard), "dropped": dict(dropped)})
