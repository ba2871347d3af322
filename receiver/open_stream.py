"""A stream that has started: its folder and its sinks, and what sinks say of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from structlog.stdlib import BoundLogger

from receiver import disk
from receiver.captures.capture import SPILL
from receiver.captures.history import CaptureHistory
from receiver.captures.writer import CaptureWriter
from receiver.events import Annotation, Ended, Event, Frame, Passing, TrackCounters
from receiver.logs import logger
from receiver.recordings import Recording, SinkEntry
from receiver.records import Annotated, FileAdded, StreamEnded, StreamStarted
from receiver.sessions.settings import SessionSettings
from receiver.stream import StreamFacts

if TYPE_CHECKING:
    from receiver.opener import Opener

PROMPT_S = 0.5
"""How long ``stream.json`` waits for sinks to finish before it is written without what they may add."""

RETRIES = 60
"""How often ``stream.json`` is tried; after that the next start writes it from the journal."""

PASSING = 100
"""How many annotations of a stream that are not kept may be on their way to the main loop."""

log = logger("receiver.stream")


class OpenStream:
    """What everything that happened on a stream is given to. It is the ``Owner`` that sinks speak to."""

    def __init__(
        self,
        opener: Opener,
        facts: StreamFacts,
        recording: Recording,
        settings: SessionSettings,
        capture: CaptureWriter | None,
    ) -> None:
        self.capture = capture
        """Where what arrives is to go as well, if anywhere."""
        self._opener = opener
        self._facts = facts
        self._recording = recording
        self._metrics = opener.metrics
        self._source, self._codec = facts.source, facts.format.encoding.value.lower()
        self._loop = asyncio.get_running_loop()
        self._passing = threading.Semaphore(PASSING)
        self._mending: asyncio.Task[None] | None = None
        history = None if capture is None else partial(CaptureHistory, capture, settings)
        self._listeners = opener.hub.open(facts, recording.directory, self, history)
        opener.metrics.stream_started(facts.source)
        opener.hub.records(StreamStarted(facts, recording.directory))
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

    @property
    def _log(self) -> BoundLogger:
        """Made when there is something to say: most streams say what began and what ended."""
        return log.bind(stream=self._facts.id, source=self._facts.source)

    @property
    def facts(self) -> StreamFacts:
        """What is known of it."""
        return self._facts

    @property
    def directory(self) -> Path:
        """Its folder."""
        return self._recording.directory

    async def room(self, seconds: float) -> None:
        """Wait until every sink can take so much more audio: for who need not keep up with a call."""
        await self._listeners.room(seconds)

    def publish(self, events: Sequence[Event]) -> None:
        """Hand a batch of events on."""
        if len(events) != 1 or type(events[0]) is not Frame:  # as nearly every batch is: nothing to write down
            self._recording.note(events)
        self._listeners.publish(events)
        self._metrics.placed(self._source, self._codec, events)

    def progress(self, counters: Mapping[str, TrackCounters]) -> None:
        """Put down how far the tracks are."""
        self._recording.progress(counters)
        if self._recording.error is not None and self._mending is None:
            self._mending = asyncio.create_task(self._mend())

    async def finish(self, ended: Ended, ended_at: datetime) -> None:
        """What follows the last event: sinks finish, ``stream.json`` is written, the end is told.

        Sinks that need longer may go on; what they add is put into ``stream.json`` when they are done.
        """
        await self._close_capture()
        done = await self._listeners.finished(PROMPT_S)
        sinks = self.sinks()
        written = await self._write(partial(self._recording.finish, ended, ended_at, sinks))
        self._tell(ended, sinks)
        if done and written:
            await self._close(written)
        else:
            self._opener.keep(self, self._finish_late())

    def abandon(self) -> None:
        """Cancel the sinks that are not done."""
        self._listeners.abandon()

    def annotated(self, annotation: Annotation) -> None:
        """Take what a sink learned; from any thread. Raises ValueError where JSON cannot say it.

        What waits here for the main loop is bounded: by what the recording takes of a stream's annotations, and of
        those that are not kept by PASSING.
        """
        said = self._recording.annotate(annotation)
        if isinstance(said, Passing):
            if self._passing.acquire(blocking=False):
                self._soon(partial(self._pass_by, said))
        elif said is not None:
            self._soon(partial(self._pass_on, said))

    def file_added(self, path: Path, kind: str, media_type: str, sink: str) -> None:
        """Take a file that a sink finished; from any thread. Raises ValueError for one outside of the folder."""
        if self._recording.add_file(path, kind, media_type, sink):
            added = FileAdded(self._facts.id, path, kind, media_type)
            self._soon(partial(self._opener.hub.records, added))

    async def _finish_late(self) -> None:
        await self._listeners.finished()  # each sink within its own finish_timeout_s
        amend = partial(self._recording.amend, self.sinks())
        written = await self._write(amend)
        for _ in range(RETRIES):
            if written or self._opener.closing() or disk.trouble() is None:
                break
            await asyncio.sleep(disk.RETRY_S)
            written = await self._write(amend, again=True)
        if not written:  # then at least the journal is to say how the stream ended
            await self._mend()
        await self._close(written)

    async def _write(self, write: Callable[[], None], *, again: bool = False) -> bool:
        """Write ``stream.json``, away from the loop; whether that worked. It is said once that it did not."""
        try:
            await asyncio.to_thread(write)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError):
                disk.failed(error)
            if not again:
                self._log.error("stream_json_failed", problem=str(error))
            return False
        return True

    async def _mend(self) -> None:
        """Have a journal again, if it broke and the disk lets us; until then this is tried once a second."""
        if (problem := self._recording.error) is None:
            return
        try:
            await asyncio.to_thread(self._recording.mend)
        except OSError as error:
            disk.failed(error)
            self._log.error("journal_interrupted", problem=str(problem), tried=str(error))
        else:
            self._log.warning("journal_resumed", problem=str(problem))
        finally:
            self._mending = None

    async def _close_capture(self) -> None:
        """Have all of the capture written, so that its size and checksum are of the whole."""
        written = None if self.capture is None else self.capture.close()
        if written is not None:
            try:
                await asyncio.wrap_future(written)
            except OSError as error:
                self._log.error("capture_not_written", problem=str(error))

    async def _close(self, written: bool) -> None:
        if self._mending is not None:
            await self._mending
        # What a sink left unfinished, the next start finishes; the journal says that there is something to finish.
        fared = {result.status for result in self._listeners.results().values()}
        unfinished = not written or bool(fared - {"ok"})
        try:
            await asyncio.to_thread(self._let_go, keep_journal=unfinished)
        except OSError as error:
            disk.failed(error)
            unfinished = unfinished or not isinstance(error, FileNotFoundError)  # gone is gone
            self._log.error("journal_not_removed", problem=str(error))
        if self._recording.error is not None:
            self._log.error("journal_not_written", problem=str(self._recording.error))
        self._listeners.forget()
        if unfinished and fared <= {"ok", "failed"}:  # who was cancelled may be at work yet
            self._opener.unfinished(self.directory)

    def _let_go(self, *, keep_journal: bool) -> None:
        """Leave the folder as it is to stay. Blocks. Raises OSError."""
        try:
            if self.capture is not None and self.capture.path is not None and self.capture.path.name == SPILL:
                self.capture.path.unlink(missing_ok=True)
        except OSError:
            self._recording.close(keep_journal=True)
            raise
        self._recording.close(keep_journal=keep_journal)

    def _soon(self, call: Callable[[], object]) -> None:
        """Have it done on the main loop, behind the record of the stream's start."""
        with suppress(RuntimeError):  # the loop has closed: a sink was left behind, and nobody is told any more
            self._loop.call_soon_threadsafe(call)

    def _pass_on(self, annotation: Annotation) -> None:
        self._listeners.annotation(annotation)
        self._opener.hub.records(Annotated(self._facts.id, annotation))

    def _pass_by(self, annotation: Passing) -> None:
        self._passing.release()
        self._listeners.annotation(annotation)

    def sinks(self) -> dict[str, SinkEntry]:
        """How the sinks have fared until now, as ``stream.json`` has it."""
        return {
            name: SinkEntry(
                result.status,
                result.error,
                {track: round(seconds, 6) for track, seconds in result.dropped_s.items()},
                result.events_dropped,
                result.restarts,
            )
            for name, result in self._listeners.results().items()
        }

    def _tell(self, ended: Ended, sinks: Mapping[str, SinkEntry]) -> None:
        facts, directory = self._facts, self._recording.directory
        duration_s = max((track.length / track.rate for track in ended.tracks.values()), default=0.0)
        self._opener.metrics.stream_ended(facts.source, ended)
        self._opener.hub.records(StreamEnded(facts, directory, ended.reason, ended.stop_received, duration_s))
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
