"""A capture, read once: through the real middle for what it means, message by message for how it arrived."""

from __future__ import annotations

import fcntl
import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from receiver.captures.capture import Batch, CaptureError, End, Entry, Pause
from receiver.captures.playback import Playback, settings_of
from receiver.captures.reader import CaptureReader
from receiver.events import Digit, Discontinuity, EndReason, Event, Frame, Gap, Marked, TrackCounters
from receiver.inspection.envelope import Envelope
from receiver.inspection.report import (
    CaptureFigures,
    EndFigures,
    Odd,
    Report,
    State,
    StreamFigures,
    TrackFigures,
    digit_figures,
    gap_figures,
    gaps_s,
    jump_figures,
    mark_figures,
    seconds,
)
from receiver.inspection.wire import Wire
from receiver.recordings import journal
from receiver.recordings.ledger import Ledger
from receiver.recordings.stream_json import rfc3339

MAX_ODD = 10_000  # entries per track, as of gaps


class NumberedReader(CaptureReader):
    """A reader that remembers what it read last, and on which line each message stood."""

    def __init__(self, path: Path) -> None:
        self.entry: Entry | None = None
        self._lines: deque[int] = deque()  # of the messages that were read, also ahead
        super().__init__(path)

    def read(self) -> Entry | None:
        """The next entry, as of any reader."""
        self.entry = super().read()
        return self.entry

    def next_line(self) -> int:
        """The line of the next message of the entries that were read: ask once per message."""
        return self._lines.popleft()

    def _entry(self) -> Entry | None:
        entry = super()._entry()
        if isinstance(entry, Batch):
            self._lines.extend([self._line] * len(entry.data))
        return entry


class CaptureInspection:
    """Reads a capture to its end, or to where it is cut off or damaged. Blocks; memory does not grow with its length.

    Raises CaptureError where not even the header can be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ledger = Ledger()
        self._envelopes: dict[str, Envelope] = {}
        self._odd: dict[str, list[Odd]] = {}
        self._before: dict[str, TrackCounters] = {}
        self._end: End | None = None
        self._problem: str | None = None
        with NumberedReader(path) as self._reader:
            self._playback = Playback(self._reader)
            self._wire = Wire(settings_of(self._reader))
            self._read()
            self._file_bytes = path.stat().st_size

    def report(self) -> Report:
        """What was found."""
        session, wire = self._playback.session, self._wire
        ended = session.ended
        report = Report(
            path=str(self._path),
            kind="capture",
            state=self._state(),
            capture=self._capture(),
            stream=self._stream(),
            messages=wire.figures(),
            digits=[digit_figures(digit) for digit in self._ledger.digits],
            marks=[mark_figures(mark) for mark in self._ledger.marks],
            ignored=dict(ended.ignored) if ended else {},
            omitted=dict(self._ledger.omitted),
            tracks={name: self._track(name, counters) for name, counters in session.counters.items()},
        )
        report.duration_s = max((track.duration_s for track in report.tracks.values()), default=0.0)
        if session.reason is not None and (report.state == "ended" or session.reason is not EndReason.CRASH):
            error, said = session.error, self._end
            report.end = EndFigures(
                reason=session.reason,
                stop_received=bool(ended and ended.stop_received),
                error=error.reason if error else None,
                close_code=error.code if error else said.code if said else None,
                text=said.text if said else "",
            )
        return report

    def _read(self) -> None:
        session = self._playback.session
        try:
            while (events := self._playback.read()) is not None:
                self._note(events)
                entry = self._reader.entry
                if isinstance(entry, Batch):
                    for data in entry.data:
                        self._wire.take(data, entry.at, self._reader.next_line())
                    self._note_odd(session.counters, session.positions)
                elif isinstance(entry, Pause):
                    self._wire.pause(entry.at, entry.tracks)
                elif isinstance(entry, End):
                    self._end = entry
                self._wire.ended = self._wire.ended or session.reason is not None
        except CaptureError as problem:
            self._problem = str(problem)
        self._note(session.close(EndReason.CRASH, self._playback.at))

    def _note(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Frame):
                envelope = self._envelopes.get(event.track)
                if envelope is None:
                    envelope = self._envelopes[event.track] = Envelope(event.rate)
                envelope.add(event.start, event.samples)
            elif isinstance(event, Gap):
                self._ledger.add_gap(event)
            elif isinstance(event, Digit | Marked | Discontinuity):
                self._ledger.add_seen(event)

    def _note_odd(self, counters: dict[str, TrackCounters], positions: dict[str, tuple[int, int]]) -> None:
        here_s = max((seconds(position, rate) for position, rate in positions.values()), default=0.0)
        for name, now in counters.items():
            before = self._before.get(name)
            odd = self._odd.setdefault(name, [])
            for kind, new in (
                ("duplicate", now.duplicate - (before.duplicate if before else 0)),
                ("late", now.late - (before.late if before else 0)),
                ("reordered", now.reordered - (before.reordered if before else 0)),
            ):
                if new and len(odd) < MAX_ODD:
                    odd.append(Odd(here_s, kind, new))  # type: ignore[arg-type]  # these three
                elif new:
                    self._ledger.omitted["odd"] += 1
        self._before = counters

    def _state(self) -> State:
        if self._end is not None:
            return "ended"
        return "live" if is_locked(self._path.parent / journal.NAME) else "cut"

    def _capture(self) -> CaptureFigures:
        header = self._reader.header
        return CaptureFigures(
            path=str(self._path),
            file_bytes=self._file_bytes,
            source=header.source,
            url_path=header.path,
            accepted=header.accepted,
            resolution_ms=header.resolution_ms,
            length_s=round(self._playback.at, 6),
            start_s=None if self._wire.start_at is None else round(self._wire.start_at, 6),
            headers=header.headers,
            ended=self._end is not None,
            problem=self._problem,
        )

    def _stream(self) -> StreamFigures | None:
        header, started = self._reader.header, self._playback.session.started
        if started is None:
            return None
        return StreamFigures(
            id=header.stream,
            source=header.source,
            dialect=started.dialect,
            stream_id=started.stream_id,
            call_id=started.call_id,
            account_id=started.account_id,
            announced_tracks=started.tracks,
            format=started.format,
            parameters=started.parameters,
            path_parameters=header.path_parameters,
            peer_address=header.peer_address,
            token=header.token,
            started=rfc3339(header.accepted) if header.accepted else None,
            ended=None,
        )

    def _track(self, name: str, counters: TrackCounters) -> TrackFigures:
        gaps = [gap_figures(gap) for gap in self._ledger.gaps.get(name, [])]
        envelope = self._envelopes.get(name) or Envelope(counters.rate)
        packets = self._wire.tracks.get(name)
        return TrackFigures(
            rate=counters.rate,
            duration_s=seconds(counters.length, counters.rate),
            counters=counters,
            packets=packets.figures() if packets else None,
            gaps=gaps,
            gaps_s=gaps_s(counters, gaps),
            odd=self._odd.get(name, []),
            discontinuities=[jump_figures(jump) for jump in self._ledger.discontinuities if jump.track == name],
            audio=envelope.figures(),
            waveform=envelope.waveform(),
            audio_source="capture",
        )


def is_locked(path: Path) -> bool:
    """Whether a process holds a journal, as one does whose stream is live. Looking takes the lock for no moment that
    anybody waits for: it is asked for shared, and let go at once.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
