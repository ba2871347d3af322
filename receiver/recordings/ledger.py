"""What is known of one stream beside its audio: gaps, digits, marks, annotations, files; bounded whatever comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from receiver.events import Digit, Discontinuity, Gap, Marked, TrackCounters

MAX_GAPS = 10_000  # per track: a gap every second for nearly three hours; a worse line needs no longer list
MAX_SEEN = 10_000  # digits, marks and discontinuities, of each: more than anybody types in a day
MAX_ANNOTATIONS = 100_000  # a word a second, on two tracks, for half a day
MAX_ANNOTATION_BYTES = 16 * 2**20  # of all annotations of a stream, encoded: held till it ends, and journalled at once
MAX_FILES = 1_000  # rotated every minute, that is most of a day
MAX_TRACKS = 64  # nobody sends as many; gaps of further ones are counted


class FileEntry(msgspec.Struct, frozen=True):
    """A file that a sink made. ``path`` is relative to the stream's folder, with slashes."""

    path: str
    kind: str
    media_type: str
    sink: str


class SinkEntry(msgspec.Struct, frozen=True):
    """How a sink fared with the stream."""

    status: Literal["running", "ok", "failed", "cancelled"]
    error: str | None
    dropped_s: dict[str, float]
    events_dropped: int
    restarts: int = 0


class Ledger:
    """The lists behind ``stream.json``. What exceeds a bound is counted in ``omitted`` and not kept.

    Every method that adds answers whether it kept the fact, so that the journal keeps the same.
    """

    def __init__(self) -> None:
        self.counters: dict[str, TrackCounters] = {}
        self.gaps: dict[str, list[Gap]] = {}
        self.digits: list[Digit] = []
        self.marks: list[Marked] = []
        self.discontinuities: list[Discontinuity] = []
        self.annotations: list[msgspec.Raw] = []
        self.files: dict[str, FileEntry] = {}
        self.sinks: dict[str, SinkEntry] = {}
        self.omitted: Counter[str] = Counter()
        self._annotation_bytes = 0

    def add_gap(self, gap: Gap) -> bool:
        """Keep a gap. One that goes on where the track's last one ended, for the same cause, makes that one longer.

        Answers False for that: the journal need not say it at once.
        """
        gaps = self.gaps.get(gap.track)
        if gaps is None:
            if len(self.gaps) >= MAX_TRACKS:
                return self._omit("gaps")
            gaps = self.gaps[gap.track] = []
        if gaps and gaps[-1].cause == gap.cause and gaps[-1].start <= gap.start <= gaps[-1].end:
            last = gaps[-1]
            gaps[-1] = Gap(last.track, last.start, max(last.end, gap.end), last.rate, last.cause)
            return False
        if len(gaps) >= MAX_GAPS:
            return self._omit("gaps")
        gaps.append(gap)
        return True

    def add_seen(self, event: Digit | Marked | Discontinuity) -> bool:
        """Keep a digit, a mark or a discontinuity."""
        name, kept = self._list_of(event)
        if len(kept) >= MAX_SEEN:
            return self._omit(name)
        kept.append(event)
        return True

    def add_annotation(self, encoded: bytes) -> bool:
        """Keep an annotation, encoded, since what it holds is the sink's and may change."""
        size = self._annotation_bytes + len(encoded)
        if len(self.annotations) >= MAX_ANNOTATIONS or size > MAX_ANNOTATION_BYTES:
            return self._omit("annotations")
        self._annotation_bytes = size
        self.annotations.append(msgspec.Raw(encoded))
        return True

    def add_file(self, file: FileEntry) -> bool:
        """Keep a file; one of the same path replaces it."""
        if file.path not in self.files and len(self.files) >= MAX_FILES:
            return self._omit("files")
        self.files[file.path] = file
        return True

    def add_counters(self, tracks: Mapping[str, TrackCounters]) -> None:
        """Take the counters of the tracks as they are now."""
        self.counters = dict(tracks)

    def last_gap(self, track: str) -> Gap | None:
        """The last gap of a track, with all that made it longer."""
        gaps = self.gaps.get(track)
        return gaps[-1] if gaps else None

    def duration_s(self) -> float:
        """How long the longest track is, as far as is known."""
        ends = [counters.length / counters.rate for counters in self.counters.values()]
        ends += [gaps[-1].end / gaps[-1].rate for gaps in self.gaps.values()]
        return round(max(ends, default=0.0), 6)

    def _list_of(self, event: Digit | Marked | Discontinuity) -> tuple[str, list[Any]]:
        if isinstance(event, Digit):
            return "digits", self.digits
        if isinstance(event, Marked):
            return "marks", self.marks
        return "discontinuities", self.discontinuities

    def _omit(self, name: str) -> bool:
        self.omitted[name] += 1
        return False
