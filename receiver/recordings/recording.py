"""A live stream's folder: made at the start, journalled while the stream lives, and told of in ``stream.json``."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from receiver import files
from receiver.events import (
    MASKED,
    Annotation,
    Digit,
    Discontinuity,
    Ended,
    Event,
    Frame,
    Gap,
    Marked,
    Passing,
    TrackCounters,
)
from receiver.recordings import journal, naming, stream_json
from receiver.recordings.journal import End, Line
from receiver.recordings.ledger import FileEntry, Ledger, SinkEntry
from receiver.recordings.stream_json import MeasuredFile
from receiver.stream import StreamFacts


class Recording:
    """The folder of one stream. Made by ``create``.

    ``note`` and ``progress`` never wait and belong to one thread; ``annotate`` and ``add_file`` may come from any;
    ``finish``, ``amend``, ``mend`` and ``close`` block and belong into another. ``error`` is why the journal cannot be
    written, while that is so: the stream goes on without it, and ``mend`` tries to have one again.
    """

    def __init__(self, directory: Path, facts: StreamFacts, written: files.File, *, mask_digits: bool = False) -> None:
        self._mask_digits = mask_digits
        self.directory = directory
        self.facts = facts
        self.error: OSError | None = None
        self._journal = written
        self._ledger = Ledger()
        self._journalled: dict[str, int] = {}  # track -> the end of its last gap, as the journal knows it
        self._end: End | None = None
        self._measured: dict[str, tuple[FileEntry, MeasuredFile]] = {}
        self._held: list[bytes] | None = None  # lines that come while the journal is written anew
        self._lock = threading.Lock()  # the ledger, and what the journal has of it: held for moments
        self._writing = threading.Lock()  # stream.json: held for as long as it takes

    @classmethod
    def create(cls, root: Path, template: str, facts: StreamFacts, *, mask_digits: bool = False) -> Recording:
        """Make a new folder below ``root`` as the template says, and start its journal. Blocks for a moment.

        Of pressed keys only when they were pressed is kept, with ``mask_digits``.

        Raises OSError where that is not possible, and leaves no empty folder then; ValueError for a template with an
        unknown field.
        """
        facts = journal.sayable(facts)
        directory = naming.make_directory(root, naming.components(template, facts), facts.id)
        try:
            return cls(directory, facts, journal.begin(directory, facts), mask_digits=mask_digits)
        except OSError:
            with contextlib.suppress(OSError):
                directory.rmdir()
            raise

    def note(self, events: Iterable[Event]) -> None:
        """Take what the journal and ``stream.json`` want of a batch of events; audio is not theirs."""
        for event in events:
            if isinstance(event, Frame):
                continue
            if isinstance(event, Gap):
                self._note_gap(event)
            elif isinstance(event, Digit | Marked | Discontinuity):
                if self._mask_digits and isinstance(event, Digit):
                    event = msgspec.structs.replace(event, digit=MASKED)
                with self._lock:
                    if self._ledger.add_seen(event):
                        self._write(_line_of(event))
            elif isinstance(event, Annotation):
                self.annotate(event)

    def _note_gap(self, gap: Gap) -> None:
        with self._lock:
            last = self._ledger.last_gap(gap.track)
            if self._ledger.add_gap(gap):
                if last is not None and last.end != self._journalled[last.track]:
                    self._write_gap(last)
                self._write_gap(gap)

    def progress(self, tracks: Mapping[str, TrackCounters]) -> None:
        """Say how far the tracks are: after a crash, the last of these is what is known. Once a second is enough."""
        with self._lock:
            self._ledger.add_counters(tracks)
            longer = [
                last
                for track, end in self._journalled.items()
                if (last := self._ledger.last_gap(track)) is not None and last.end != end
            ]
            for gap in longer:
                self._write_gap(gap)
            self._write(Line(progress=dict(tracks)))

    def annotate(self, annotation: Annotation) -> Annotation | None:
        """Take an annotation; the answer is a copy of it, of plain JSON values, or None where there is no more room.

        A Passing one is copied, and not taken.

        Raises ValueError, naming its sink and kind, where its data is not what JSON can say.
        """
        encoded, said = journal.encode_annotation(annotation)
        if isinstance(annotation, Passing):
            return said
        with self._lock:
            if not self._ledger.add_annotation(encoded):
                return None
            self._append(journal.annotation_line(encoded) + b"\n")
        return said

    def add_file(self, path: Path, kind: str, media_type: str, sink: str) -> bool:
        """Take a finished file of the folder; one of the same path replaces it. ``finish`` and ``amend`` measure it.

        False: there is no more room. Raises ValueError for a path outside of the folder.
        """
        file = FileEntry(relative(self.directory, path), kind, media_type, sink)
        with self._lock:
            kept = self._ledger.add_file(file)
            if kept:
                self._write(Line(file=file))
        return kept

    def finish(self, ended: Ended, at: datetime, sinks: Mapping[str, SinkEntry] | None = None) -> None:
        """Write ``stream.json``, with how the sinks have fared. Blocks. Raises OSError.

        The recording may be added to, and amended, after that.
        """
        with self._lock:
            self._end = End(ended, at)
            self._ledger.add_counters(ended.tracks)
            self._write(Line(end=self._end))
        self._take(sinks)
        files.flush()
        self.amend()

    def amend(self, sinks: Mapping[str, SinkEntry] | None = None) -> None:
        """Write ``stream.json`` again, whole or not at all, with what came since. Blocks. Raises OSError.

        Raises ValueError before ``finish``.
        """
        if self._end is None:
            raise ValueError(f"the stream of {self.directory} has not ended")
        with self._writing:
            self._take(sinks)
            with self._lock:
                wanted = list(self._ledger.files.values())
            for file in wanted:
                known = self._measured.get(file.path)
                if known is None or known[0] is not file:
                    self._measured[file.path] = (file, stream_json.measure(self.directory, file))
            measured = [self._measured[file.path][1] for file in wanted]
            with self._lock:
                content = stream_json.document(self.facts, self._ledger, self._end, measured)
            stream_json.write(self.directory, content)

    def mend(self) -> None:
        """Write the journal anew, with all that is known, if it could not be written. Blocks. Raises OSError."""
        with self._writing:
            with self._lock:
                if self.error is None or self._journal.done is not None:
                    return
                self._held = []
                self._journalled = {track: gaps[-1].end for track, gaps in self._ledger.gaps.items()}
                known = journal.lines_of(self._ledger, self._end)
            try:
                written = journal.begin(self.directory, self.facts, known)
            except OSError:
                with self._lock:
                    self._held = None  # the ledger has them
                raise
            with self._lock:
                broken, self._journal, self.error = self._journal, written, None
                held, self._held = self._held, None
                for text in held:
                    self._append(text)
            broken.close()  # and with it the lock of a file that is not there any more

    def close(self, *, keep_journal: bool = False) -> None:
        """Remove the journal, which ``stream.json`` replaces, and let go of its lock. Blocks. Raises OSError.

        With ``keep_journal``, for when a sink failed, or without ``finish``, the next start goes over the folder again.
        """
        with self._writing:
            try:
                if self._journal.done is None and self._end is not None and not keep_journal:
                    with stream_json.synced(self.directory):
                        (self.directory / journal.NAME).unlink()
            finally:
                self._journal.close()

    def _take(self, sinks: Mapping[str, SinkEntry] | None) -> None:
        if sinks is not None:
            with self._lock:
                self._ledger.sinks = dict(sinks)
                self._write(Line(sinks=dict(sinks)))

    def _write_gap(self, gap: Gap) -> None:
        self._journalled[gap.track] = gap.end
        self._write(Line(gap=gap))

    def _write(self, line: Line) -> None:
        self._append(journal.encode(line) + b"\n")

    def _append(self, text: bytes) -> None:
        """Have the journal say something; under the lock, as the ledger learns it."""
        if self._held is not None:
            self._held.append(text)
        elif self.error is None:
            try:
                self._journal.append(text)
            except files.FileError as problem:
                self.error = problem
            except ValueError:
                pass  # it is closed: a sink that was left behind may still say something


def relative(directory: Path, path: Path) -> str:
    """A file's path as ``stream.json`` has it. Raises ValueError for one outside of the folder."""
    if not path.is_relative_to(directory):
        path, directory = path.resolve(), directory.resolve()
    return path.relative_to(directory).as_posix()


def _line_of(event: Digit | Marked | Discontinuity) -> Line:
    if isinstance(event, Digit):
        return Line(digit=event)
    return Line(mark=event) if isinstance(event, Marked) else Line(discontinuity=event)
