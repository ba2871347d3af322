"""Captures through sinks, without a server: what ``receiver process`` does, as fast as it goes.

The same middle, folder, journal and sinks as live; only that nobody has to keep up with a call: where a feed is full,
the capture waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import numpy as np

from receiver import files
from receiver.asgi.stream_id import new_stream_id
from receiver.captures.capture import CaptureError, Header
from receiver.captures.playback import Playback, settings_of
from receiver.captures.reader import CaptureReader
from receiver.config import Captures, Config
from receiver.events import EndReason, Event, Frame, Started
from receiver.metrics import Metrics
from receiver.open_stream import OpenStream
from receiver.opener import Opener
from receiver.reading import session_settings
from receiver.recordings import SinkEntry, recover
from receiver.sessions.settings import SessionSettings
from receiver.sinks.hub import Hub
from receiver.stream import StreamFacts

CHUNK_S = 10.0
"""Of a capture's time, what is read at once."""

CHUNK_SAMPLES = 2**23
"""Of the audio of all tracks, what is read at once: a burst has hours of it at one time."""

PORTION_S = 10.0
"""Of the audio of a track, what is handed on at once; less where a sink's feed is small."""

Progress = Callable[[int], None]
"""Called with the bytes of the capture's file that have been read so far."""


class Processed(msgspec.Struct, kw_only=True):
    """What became of a capture."""

    path: Path
    directory: Path | None = None  # where everything is; None: no stream started in it
    reason: EndReason | None = None
    duration_s: float = 0.0
    sinks: dict[str, SinkEntry] = {}
    problem: str | None = None  # what could not be read; what came before it was processed

    @property
    def ok(self) -> bool:
        """Whether all of it was read, and every sink came to its end with all of it."""
        return self.problem is None and all(sink.status == "ok" and not sink.dropped_s for sink in self.sinks.values())


class Offline:
    """An asynchronous context with the sinks of a configuration open; ``process`` one capture after the other.

    ``directory`` is the root of what is made. Raises ConfigError where the configuration cannot work.
    """

    def __init__(self, config: Config, directory: Path) -> None:
        self._config = config
        self._hub = Hub(config.sinks, base=config.base, feeds_bytes=config.limits.feeds_bytes)
        self._portion_s = min([PORTION_S, *(sink.buffer_s / 2 for sink in config.sinks.values())])
        self._late: list[Coroutine[Any, Any, None]] = []
        self._opener = Opener(
            hub=self._hub,
            metrics=Metrics(sources=config.sources, sinks=config.sinks),
            root=directory,
            template=config.recordings.path,
            captures=Captures(),
            mask_digits=config.privacy.digits == "mask",
            keep=lambda stream, late: self._late.append(late),
        )

    async def __aenter__(self) -> Self:
        files.configure(limit_bytes=self._config.limits.writer_bytes)
        await self._hub.__aenter__()
        try:  # what an interrupted run has left
            await asyncio.to_thread(recover, self._opener.root, dict(self._hub.recoverers()), lambda: False)
        except BaseException:
            await self._hub.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._hub.__aexit__(kind, error, traceback)
        await asyncio.to_thread(files.shutdown)

    async def process(self, path: Path, progress: Progress | None = None) -> Processed:
        """Play one capture through the sinks, to their ends. What is wrong with the capture is in the answer.

        Raises RecordingNotMade where there can be no folder for it.
        """
        done = Processed(path=path)
        try:
            reader = await asyncio.to_thread(CaptureReader, path)
        except CaptureError as error:
            done.problem = str(error)
            return done
        with reader:
            try:
                settings = self._settings(reader.header) or settings_of(reader)
            except CaptureError as error:
                done.problem = str(error)
                return done
            await self._play(Playback(reader, settings), reader, settings, done, progress)
        return done

    async def _play(
        self,
        playback: Playback,
        reader: CaptureReader,
        settings: SessionSettings,
        done: Processed,
        progress: Progress | None,
    ) -> None:
        stream: OpenStream | None = None
        accepted = reader.header.accepted or datetime.now(UTC)
        while playback.session.reason is None:
            events, problem = await asyncio.to_thread(_read, playback)
            if events and isinstance(events[0], Started):
                facts = _facts(events[0], reader.header, accepted + timedelta(seconds=playback.at))
                stream = await self._opener.open(facts, settings, reader.header, None)
                done.directory = stream.directory
            if stream is not None:
                for portion in _portions(events, self._portion_s):
                    await stream.room(self._portion_s)
                    await _disk_room(self._config.limits.writer_bytes // 2)
                    stream.publish(portion)
                    self._hub.flush()
            if progress is not None:
                progress(reader.position())
            done.problem = problem
        done.reason = playback.session.reason
        ended = playback.session.ended
        if stream is None or ended is None:
            error = playback.session.error
            done.problem = done.problem or f"{done.path}: no stream starts in it" + (f" ({error})" if error else "")
            return
        await stream.finish(ended, accepted + timedelta(seconds=playback.at))
        for late in self._late:
            await late
        self._late.clear()
        done.duration_s = max((track.length / track.rate for track in ended.tracks.values()), default=0.0)
        done.sinks = stream.sinks()

    def _settings(self, header: Header) -> SessionSettings | None:
        """How this configuration reads the capture's source, if it has one of that name; None: as it was read."""
        config = self._config
        if config.has_own_sources and header.source in config.sources:
            return session_settings(config, header.source)
        return None


def _read(playback: Playback) -> tuple[list[Event], str | None]:
    """The next events of a capture, adjacent frames joined, and what was wrong with it. Closes the session at the end.

    A capture that breaks off, or cannot be read any further, ends as a crash would end it.
    """
    events: list[Event] = []
    until = playback.at + CHUNK_S
    problem: str | None = None
    samples = 0
    while playback.at < until and samples < CHUNK_SAMPLES and playback.session.reason is None:
        try:
            more = playback.read()
        except CaptureError as error:
            more, problem = None, str(error)
        if more is None:
            events += playback.session.close(EndReason.CRASH, playback.at)
            break
        events += more
        samples += sum(len(event.samples) for event in more if isinstance(event, Frame))
        if more and isinstance(more[0], Started):  # its time is the stream's
            break
    return _joined(events), problem


def _joined(events: Iterable[Event]) -> list[Event]:
    """The same with fewer frames: what a sink does per frame is most of what it costs."""
    joined: list[Event] = []
    waiting: dict[str, list[Frame]] = {}
    for event in events:
        if isinstance(event, Frame):
            waiting.setdefault(event.track, []).append(event)
            continue
        for frames in waiting.values():  # of all tracks: sinks see which came first, as live
            joined += _one(frames)
        waiting.clear()
        joined.append(event)
    for frames in waiting.values():
        joined += _one(frames)
    return joined


def _one(frames: Sequence[Frame]) -> Sequence[Frame]:
    if len(frames) < 2:
        return frames
    samples = np.concatenate([frame.samples for frame in frames])
    samples.flags.writeable = False
    return (Frame(frames[0].track, frames[0].start, frames[0].rate, samples),)


async def _disk_room(most_bytes: int) -> None:
    """Wait while more than that is still to be written."""
    while files.queued_bytes() > most_bytes:
        files.flush()
        await asyncio.sleep(0.005)


def _portions(events: Iterable[Event], most_s: float) -> Iterator[list[Event]]:
    """The events in portions of at most so much audio per track. What was sent in a burst is read in one piece."""
    portion: list[Event] = []
    filled: dict[str, int] = {}
    for event in events:
        if not isinstance(event, Frame):
            portion.append(event)
            continue
        most, start = max(1, int(most_s * event.rate)), event.start
        while start < event.end:
            room = most - filled.get(event.track, 0)
            if room <= 0:
                yield portion
                portion, filled, room = [], {}, most
            piece = event.samples[start - event.start :][:room]
            portion.append(Frame(event.track, start, event.rate, piece))
            filled[event.track] = filled.get(event.track, 0) + len(piece)
            start += len(piece)
    if portion:
        yield portion


def _facts(started: Started, header: Header, at: datetime) -> StreamFacts:
    return StreamFacts(
        id=header.stream or new_stream_id(),
        source=header.source,
        dialect=started.dialect,
        stream_id=started.stream_id,
        call_id=started.call_id,
        account_id=started.account_id,
        tracks=started.tracks,
        format=started.format,
        parameters=started.parameters,
        path_parameters=header.path_parameters,
        peer_address=header.peer_address,
        token=header.token,
        started=at,
    )
