"""The ``wav`` plugin: a stream's tracks as ``<track>.wav``, 16-bit linear, and both sides as ``stereo.wav``.

While a stream lives its files are ``<track>.wav.part``, placed by the timeline: a gap is a hole, and reads as silence.
Any player reads them at any moment. What a crash leaves is finished at the next start.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from receiver import files
from receiver.events import Event, Frame, Gap
from receiver.sinks import Plugin, Stream, each

from .format import HEADER_BYTES, PART, SAMPLE_BYTES, complete, header
from .stereo import assemble, holds

Layout = Literal["separate", "stereo", "both"]

LEFT, RIGHT = "inbound", "outbound"
STEREO = "stereo.wav"


@asynccontextmanager
async def plugin(*, layout: Layout = "both") -> AsyncIterator[Plugin]:
    """Record streams as WAV files.

    ``separate``: a mono file per track. ``both``: beside these ``stereo.wav``, inbound left and outbound right, of
    streams that have both. ``stereo``: ``stereo.wav`` alone, with a silent side where one is missing; tracks of other
    names stay mono. A file beyond 4 GiB keeps unknown sizes in its header: players read it, some show no length.
    """

    async def sink(stream: Stream, events: AsyncIterator[Event]) -> None:
        tracks = _Tracks(stream.directory)
        try:
            await each(events, tracks.take)
        finally:
            closed = tracks.close()
        for done in closed:
            await asyncio.wrap_future(done)
        await asyncio.to_thread(_finish, stream, tracks.paths(), layout)

    def recover(stream: Stream) -> None:
        _finish(stream, sorted(stream.directory.glob(f"*.wav{PART}")), layout)
        for file in sorted(stream.directory.glob("*.wav")):
            if file.stat().st_size >= HEADER_BYTES:  # said again, in case the crash came before it was said at all
                _add(stream, file)

    yield Plugin(sink=sink, recover=recover)


class _Tracks:
    """The open files of one stream."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[str, files.File] = {}

    def take(self, event: Event) -> None:
        """Queue a frame's samples, or a gap's hole; raises files.FileError where the disk did not take earlier ones."""
        if isinstance(event, Frame):
            file = self._files.get(event.track) or self._open(event.track, event.rate)
            # Samples are this machine's int16: little-endian, as WAV is, on every machine that we are built for.
            file.append(event.samples)
        elif isinstance(event, Gap):
            file = self._files.get(event.track) or self._open(event.track, event.rate)
            file.skip((event.end - event.start) * SAMPLE_BYTES)

    def _open(self, track: str, rate: int) -> files.File:
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", track)[:64]  # safe already, should it ever not be
        file = self._files[track] = files.create(self._directory / f"{name}.wav{PART}")
        file.append(header(rate))
        return file

    def close(self) -> list[Future[int]]:
        """Have the files written to their ends and closed, whatever their state."""
        return [file.close() for file in self._files.values()]

    def paths(self) -> list[Path]:
        """The files, as they are named until they are complete."""
        return [file.path for file in self._files.values()]


def _finish(stream: Stream, parts: list[Path], layout: Layout) -> None:
    """Complete the files of a stream that is over, and pair them as the layout says. Blocks. Raises OSError."""
    made = {part.name.removesuffix(f".wav{PART}"): complete(part, stream.format.rate) for part in parts}
    left, right = [made.get(name) or _existing(stream.directory / f"{name}.wav") for name in (LEFT, RIGHT)]
    kept = list(made.values())
    try:
        if layout == "both" and left and right:
            kept += _pair(stream, left, right)
        elif layout == "stereo" and (left or right):
            kept += _pair(stream, left, right)
            for side in (left, right):
                if side is not None:
                    side.unlink()
    finally:
        for file in kept:
            if file.exists():
                _add(stream, file)


def _pair(stream: Stream, left: Path | None, right: Path | None) -> list[Path]:
    """The stereo file, unless a run before this one has made it already."""
    if any(holds(file, left, right) for file in stream.directory.glob("stereo*.wav")):
        return []
    return [assemble(left, right, stream.directory / STEREO)]


def _existing(file: Path) -> Path | None:
    return file if file.is_file() and file.stat().st_size >= HEADER_BYTES else None


def _add(stream: Stream, file: Path) -> None:
    stream.add_file(file, kind="audio", media_type="audio/wav")
