"""A stream that has started: its folder and its sinks, and what sinks say of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from receiver.errors import ReceiverError
from receiver.events import Annotation, Ended, Event, TrackCounters
from receiver.logs import logger
from receiver.recordings import Recording, SinkEntry
from receiver.records import Annotated, FileAdded, StreamEnded, StreamStarted
from receiver.stream import StreamFacts

if TYPE_CHECKING:
    from receiver.asgi.receiver import Receiver

PROMPT_S = 0.5
"""How long ``stream.json`` waits for sinks to finish before it is written without what they may add."""

log = logger("receiver.stream")


class RecordingNotMade(ReceiverError):
    """There can be no folder for a stream, e.g. because the disk is full."""


class OpenStream:
    """What everything that happened on a stream is given to. It is the ``Owner`` that sinks speak to."""

    def __init__(self, receiver: Receiver, facts: StreamFacts, recording: Recording) -> None:
        self._receiver = receiver
        self._facts = facts
        self._recording = recording
        self._loop = asyncio.get_running_loop()
        self._log = log.bind(stream=facts.id, source=facts.source)
        self._listeners = receiver.hub.open(facts, recording.directory, self)
        receiver.metrics.stream_started(facts.source)
        receiver.hub.records(StreamStarted(facts, recording.directory))
        self._log.info(
            "stream_started",
            dialect=facts.dialect,
            peer_stream=facts.stream_id,
            call=facts.call_id,
            codec=facts.format.encoding.value,
            rate=facts.format.rate,
            tracks=list(facts.tracks),
            peer=facts.peer_address,
        )

    @classmethod
    async def open(cls, receiver: Receiver, facts: StreamFacts) -> OpenStream:
        """Make the folder, away from the loop, and let the sinks in. Raises RecordingNotMade."""
        template = receiver.config.recordings.path
        try:
            recording = await asyncio.to_thread(Recording.create, receiver.recordings_directory, template, facts)
        except OSError as error:
            raise RecordingNotMade(str(error)) from error
        return cls(receiver, facts, recording)

    def publish(self, events: Sequence[Event]) -> None:
        """Hand a batch of events on."""
        self._recording.note(events)
        self._listeners.publish(events)
        self._receiver.metrics.placed(self._facts.source, self._facts.format.encoding.value, events)

    def progress(self, counters: Mapping[str, TrackCounters]) -> None:
        """Put down how far the tracks are."""
        self._recording.progress(counters)

    async def finish(self, ended: Ended) -> None:
        """What follows the last event: sinks finish, ``stream.json`` is written, the end is told.

        Sinks that need longer may go on; what they add is put into ``stream.json`` when they are done.
        """
        receiver, ended_at = self._receiver, datetime.now(UTC)
        done = await self._listeners.finished(PROMPT_S)
        sinks = self._sinks()
        try:
            await asyncio.to_thread(self._recording.finish, ended, ended_at, sinks)
        except (OSError, ValueError) as error:
            self._log.error("stream_json_failed", problem=str(error))
        self._tell(ended, sinks)
        if done:
            await self._close()
        else:
            receiver.keep(self, self._finish_late())

    def abandon(self) -> None:
        """Cancel the sinks that are not done."""
        self._listeners.abandon()

    def annotated(self, annotation: Annotation) -> None:
        """Take what a sink learned; from any thread. Raises ValueError where JSON cannot say it.

        What waits here for the main loop is bounded by what the recording takes of a stream's annotations.
        """
        said = self._recording.annotate(annotation)
        if said is not None:
            self._soon(partial(self._pass_on, said))

    def file_added(self, path: Path, kind: str, media_type: str, sink: str) -> None:
        """Take a file that a sink finished; from any thread. Raises ValueError for one outside of the folder."""
        if self._recording.add_file(path, kind, media_type, sink):
            added = FileAdded(self._facts.id, path, kind, media_type)
            self._soon(partial(self._receiver.hub.records, added))

    async def _finish_late(self) -> None:
        await self._listeners.finished()  # each sink within its own finish_timeout_s
        try:
            await asyncio.to_thread(self._recording.amend, self._sinks())
        except (OSError, ValueError) as error:
            self._log.error("stream_json_failed", problem=str(error))
        await self._close()

    async def _close(self) -> None:
        # What a sink left unfinished, the next start finishes; the journal says that there is something to finish.
        unfinished = any(result.status != "ok" for result in self._listeners.results().values())
        try:
            await asyncio.to_thread(partial(self._recording.close, keep_journal=unfinished))
        except OSError as error:
            self._log.error("journal_not_removed", problem=str(error))
        if self._recording.error is not None:
            self._log.error("journal_not_written", problem=str(self._recording.error))

    def _soon(self, call: Callable[[], object]) -> None:
        """Have it done on the main loop, behind the record of the stream's start."""
        with suppress(RuntimeError):  # the loop has closed: a sink was left behind, and nobody is told any more
            self._loop.call_soon_threadsafe(call)

    def _pass_on(self, annotation: Annotation) -> None:
        self._listeners.annotation(annotation)
        self._receiver.hub.records(Annotated(self._facts.id, annotation))

    def _sinks(self) -> dict[str, SinkEntry]:
        """How the sinks have fared until now, as ``stream.json`` has it."""
        return {
            name: SinkEntry(
                result.status,
                result.error,
                {track: round(seconds, 6) for track, seconds in result.dropped_s.items()},
                result.events_dropped,
            )
            for name, result in self._listeners.results().items()
        }

    def _tell(self, ended: Ended, sinks: Mapping[str, SinkEntry]) -> None:
        facts, directory = self._facts, self._recording.directory
        duration_s = max((track.length / track.rate for track in ended.tracks.values()), default=0.0)
        self._receiver.metrics.stream_ended(facts.source, ended)
        self._receiver.hub.records(StreamEnded(facts, directory, ended.reason, ended.stop_received, duration_s))
        trouble = {name: _trouble(sink) for name, sink in sinks.items() if _trouble(sink)}
        self._log.info(
            "stream_ended",
            reason=ended.reason.value,
            stop_received=ended.stop_received,
            duration_s=round(duration_s, 3),
            tracks={name: _figures(track) for name, track in ended.tracks.items()},
            ignored=ended.ignored,
            error=ended.error,
            directory=str(directory),
            **({"sinks": trouble} if trouble else {}),
        )


def _figures(track: TrackCounters) -> dict[str, object]:
    """The figures of a track that matter in a log line."""
    return {
        "received": track.received,
        "audio_s": round(track.samples / track.rate, 3),
        "gaps_s": {cause: round(length / track.rate, 3) for cause, length in track.gaps.items()},
        "duplicate": track.duplicate,
        "late": track.late,
        "rejected": track.rejected,
    }


def _trouble(sink: SinkEntry) -> dict[str, object]:
    """What a log line says of a sink: nothing of one that came to its end and was given everything."""
    said = {key: value for key, value in msgspec.structs.asdict(sink).items() if value}
    return {} if said == {"status": "ok"} else said
