"""Transcription: the sink, around any engine. Each track is cut into utterances and transcribed on its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from time import monotonic

from receiver import files
from receiver.events import Event
from receiver.sinks import Plugin, Stream, StreamClosed, blocks

from .cutter import Cutter, Detector
from .engine import RATE, Engine, Int16Array
from .figures import Figures
from .line import Line
from .pending import Pending
from .settings import Settings
from .track import Desk, Track
from .transcript import Transcript, finish, recover

BLOCK_MS = 30
"""As long as the detector's frames."""

BREATH = 100
"""Blocks after which other streams have their turn, also where audio is there for hours."""

PARTING_S = 0.25
"""How long a sink that is cancelled waits for the engine to let go: the files come before it is left behind."""

STOPPED = "not transcribed in time"
FAILED = "not transcribed, as the sink has failed"


def transcription(engine: Engine, settings: Settings, detector: Callable[[], Detector]) -> Plugin:
    """A plugin that transcribes streams with an engine, which is open. ``detector`` makes one for a track."""
    desk = Desk(engine, settings, Pending(settings.pending_total_s), Figures())

    async def sink(stream: Stream, events: AsyncIterator[Event]) -> None:
        transcript = await asyncio.to_thread(Transcript.open, stream.directory)
        call = _Call(stream, transcript, desk, detector)
        running = asyncio.create_task(call.run(events), name=f"transcription of stream {stream.id}")
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError:
            running.cancel()
            await asyncio.wait([running], timeout=PARTING_S)
            await call.close(STOPPED)
            raise
        try:
            running.result()
        except BaseException:
            await call.close(FAILED)
            raise
        await call.close()

    return Plugin(sink=sink, recover=recover, metrics=desk.figures)


class _Call:
    """The transcription of one stream."""

    def __init__(self, stream: Stream, transcript: Transcript, desk: Desk, detector: Callable[[], Detector]) -> None:
        self._stream = stream
        self._transcript = transcript
        self._desk = desk
        self._detector = detector
        self._tracks: dict[str, Track] = {}
        self._moved = asyncio.Event()
        self._ahead_s = float("-inf")  # of our clock: how far the audio was at the most

    async def run(self, events: AsyncIterator[Event]) -> None:
        """Transcribe everything."""
        self._desk.figures.live.add(self)
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._cut(events, tasks)
        except BaseExceptionGroup as failures:  # of which the first has cancelled the others
            raise failures.exceptions[0] from None
        finally:
            self._desk.figures.live.discard(self)

    async def close(self, unfinished: str | None = None) -> None:
        """Write the files, with what is there; ``unfinished`` says why that is not all."""
        if unfinished is not None:
            with contextlib.suppress(StreamClosed, files.FileError):
                for track in self._tracks.values():
                    track.abandon(unfinished)
        await asyncio.wrap_future(self._transcript.close())
        await asyncio.to_thread(finish, self._stream)

    def lag_s(self) -> float:
        """How far the transcript is behind the call; silence is transcribed as soon as it is known to be silence."""
        reached = [at for track in self._tracks.copy().values() if (at := track.reached_s) is not None]
        return max(self._ahead_s + monotonic() - min(reached), 0.0) if reached else 0.0

    async def _cut(self, events: AsyncIterator[Event], tasks: asyncio.TaskGroup) -> None:
        count = 0
        async for block in blocks(events, rate=RATE, ms=BLOCK_MS, gaps="skip"):
            track = self._tracks.get(block.track)
            if track is None:
                track = self._tracks[block.track] = self._open(block.track)
                tasks.create_task(track.run(), name=f"transcription of {block.track} of stream {self._stream.id}")
            samples: Int16Array = block.samples  # type: ignore[assignment]  # int16, as dtype says
            track.put(block.start, samples)
            self._ahead_s = max(self._ahead_s, block.end / RATE - monotonic())
            count += 1
            if count % BREATH == 0:
                await asyncio.sleep(0)
            await self._room()
        for track in self._tracks.values():
            track.end()

    def _open(self, name: str) -> Track:
        settings = self._desk.settings
        cutter = Cutter(
            self._detector(),
            silence_s=settings.silence_s,
            padding_s=settings.padding_s,
            longest_s=settings.max_speech_s,
            first=self._transcript.numbers[name] + 1,
        )
        return Track(name, self._stream.format.rate, cutter, self._desk, self._say, self._moved.set)

    async def _room(self) -> None:
        """Wait until there is room for more speech: what comes meanwhile waits in the feed, or on the disk."""
        if not self._crowded():
            return
        self._desk.pending.wait(self._moved)
        try:
            while self._crowded():
                self._moved.clear()
                await self._moved.wait()
        finally:
            self._desk.pending.leave(self._moved)

    def _crowded(self) -> bool:
        tracks = self._tracks.values()
        full = self._desk.pending.full or any(track.full for track in tracks)
        # who has a place of the engine's is never kept waiting: others may wait for that place
        return full and not any(track.starving for track in tracks)

    def _say(self, line: Line) -> None:
        if line.final:
            self._transcript.append(line)
        self._stream.annotate(
            "transcript",
            track=line.track,
            start=line.start,
            end=line.end,
            rate=line.rate,
            data=line.data(),
            kept=line.final,
        )
