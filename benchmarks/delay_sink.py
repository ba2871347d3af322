"""A sink that notes when audio came to it: monotonic seconds, track, first sample, sample behind the last.

It writes them to ``delays.csv`` in the stream's folder when the stream is over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from receiver.events import Event, Frame
from receiver.sinks import Stream


async def sink(stream: Stream, events: AsyncIterator[Event]) -> None:
    """Note, and write in the end."""
    noted = []
    async for event in events:
        if isinstance(event, Frame):
            start = event.start
            noted.append(f"{time.monotonic():.6f},{event.track},{start},{start + len(event.samples)}\n")
    await asyncio.to_thread((stream.directory / "delays.csv").write_text, "".join(noted))
