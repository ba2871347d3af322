"""Losses: audio that was received, and that no file has because the disk did not take it. Every sample is declared."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from receiver.errors import ReceiverError
from receiver.files import FileError
from receiver.sinks import Stream, StreamClosed

from .figures import Figures

KIND = "not_recorded"

MAX_SPANS = 1000
"""Annotations of this kind for each track. Beyond that there is one more, over all that follows: a disk that takes
every other frame would fill ``stream.json``, and the journal on that same disk."""


class NotRecorded(ReceiverError):
    """Audio of a stream is in no file. What there is has been finished, and what is missing declared."""


class Losses:
    """What is missing of one stream, span by span and merged: one that goes on is declared when it is over.

    For any thread. Takes nothing to speak of while nothing is lost.
    """

    __slots__ = ("_figures", "_stream", "_tracks")

    def __init__(self, stream: Stream, figures: Figures) -> None:
        self._stream = stream
        self._figures = figures
        self._tracks: dict[str, _Track] | None = None

    def fail(self, track: str, rate: int, cause: str) -> None:
        """The file of a track has failed: what it lacks, and what follows until the track is recorded again, is one."""
        with self._figures.lock:
            self._failing(self._of(track, rate, cause), True)

    def add(self, track: str, start: int, end: int, rate: int, cause: str) -> None:
        """So much of a track is lost, and so may what follows be: samples at ``rate``, none of them told before."""
        self._add(track, start, end, rate, cause, failing=True)

    def found(self, track: str, start: int, end: int, rate: int, cause: str) -> None:
        """So much has turned out not to be recorded. The track may be recorded again."""
        self._add(track, start, end, rate, cause, failing=False)

    def _add(self, track: str, start: int, end: int, rate: int, cause: str, *, failing: bool) -> None:
        with self._figures.lock:
            lost = self._of(track, rate, cause)
            self._figures.not_recorded_s += (end - start) / rate
            self._failing(lost, failing or lost.failing)
            over = [lost.add(start, end, cause)]
            if not lost.failing:
                over.append(lost.take())
        for span in over:
            self._declare(track, rate, span)

    def _of(self, track: str, rate: int, cause: str) -> _Track:
        if self._tracks is None:
            self._tracks = {}
        return self._tracks.setdefault(track, _Track(rate, cause))

    def _failing(self, lost: _Track, failing: bool) -> None:
        self._figures.failing += failing - lost.failing
        lost.failing = failing

    def settle(self, track: str) -> None:
        """A track is recorded again."""
        with self._figures.lock:
            lost = self._tracks and self._tracks.get(track)
            if not lost:
                return
            self._failing(lost, False)
            over = lost.take()
        self._declare(track, lost.rate, over)

    def close(self) -> None:
        """Declare what has not been yet: the stream is over."""
        for track, lost in (self._tracks or {}).items():
            with self._figures.lock:
                self._failing(lost, False)
                over = lost.take(last=True)
            self._declare(track, lost.rate, over)

    def error(self) -> NotRecorded | None:
        """What is missing, in one sentence; None: nothing."""
        tracks = {track: lost for track, lost in (self._tracks or {}).items() if lost.total}
        if not tracks:
            return None
        said = [f"{lost.total / lost.rate:.3f} s of {track}" for track, lost in tracks.items()]
        causes = dict.fromkeys(lost.first_cause for lost in tracks.values())
        return NotRecorded(f"not recorded: {', '.join(said)} ({', '.join(causes)})")

    def _declare(self, track: str, rate: int, span: _Span | None) -> None:
        if span is None:
            return
        data: dict[str, str | int] = {"cause": span.cause}
        if span.samples < span.end - span.start:
            data |= {"samples": span.samples}
        with suppress(StreamClosed):  # a sink that was left behind
            self._stream.annotate(KIND, track=track, start=span.start, end=span.end, rate=rate, data=data)


class _Span:
    """``samples`` of the audio from ``start`` to ``end`` are missing: all of it, but in the last span of too many."""

    __slots__ = ("cause", "end", "samples", "start")

    def __init__(self, start: int, end: int, cause: str) -> None:
        self.start = start
        self.end = end
        self.cause = cause
        self.samples = end - start


class _Track:
    __slots__ = ("_span", "failing", "first_cause", "rate", "spans", "total")

    def __init__(self, rate: int, cause: str) -> None:
        self.rate = rate
        self.first_cause = cause
        self.failing = False
        self.spans = 0
        self.total = 0
        self._span: _Span | None = None

    def add(self, start: int, end: int, cause: str) -> _Span | None:
        """Add to the span that is not over, or else begin one; the one that is over by that."""
        self.total += end - start
        span = self._span
        touches = span is not None and span.cause == cause and start <= span.end and span.start <= end
        if span is not None and (touches or self.spans > MAX_SPANS):
            span.start, span.end = min(span.start, start), max(span.end, end)
            span.samples += end - start
            return None
        self._span = _Span(start, end, cause)
        self.spans += 1
        return span

    def take(self, *, last: bool = False) -> _Span | None:
        """The span that is over now; the one over all the rest only is at the ``last``."""
        if self.spans > MAX_SPANS and not last:
            return None
        span, self._span = self._span, None
        return span


def cause_of(problem: FileError | None) -> str:
    """The words of the system for what went wrong; None: too much waits for the disk."""
    return os.strerror((problem and problem.errno) or errno.ENOBUFS)
