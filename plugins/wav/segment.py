"""File segments: a track's file is continued in another one, whose name says where on the timeline that begins.

``inbound.wav`` begins at 0, ``inbound@28800000.wav`` at sample 28,800,000 of the track's rate. ``@`` is in no track's
name (``stem``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from receiver.files import File

from .format import HEADER_BYTES, SAMPLE_BYTES

_PLACE = re.compile(r"[^@]*@(\d{1,18})(-\d+)?")

Span = tuple[int, int]
"""From a sample to the one behind the last."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A finished file of a track: ``track`` as files are called, ``start`` in samples."""

    path: Path
    track: str
    start: int


@dataclass(frozen=True, slots=True)
class Part:
    """A file that nobody writes any more, and that is to be completed: cut to ``data_bytes``, if that is known."""

    path: Path
    track: str
    start: int
    rate: int
    data_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """A file of a live track that is closed, or about to be, and not finished yet.

    ``holes`` are the spans from ``start`` to ``end`` that it need not hold: gaps, and what is known to be missing.
    """

    file: File
    name: str  # the track's own
    track: str  # as its files are called
    start: int
    end: int
    rate: int
    holes: Sequence[Span] = ()

    @property
    def landed(self) -> int:
        """How many samples of it the kernel has, holes included; final once the writer is done with the file."""
        return max(0, self.file.landed - HEADER_BYTES) // SAMPLE_BYTES

    def lost(self) -> list[Span]:
        """The audio that was queued, and that a failed file does not hold."""
        at, spans = self.start + self.landed, []
        for start, end in self.holes:
            if start > at:
                spans.append((at, start))
            at = max(at, end)
        if at < self.end:
            spans.append((at, self.end))
        return spans


def file_name(track: str, start: int) -> str:
    """What the file of a track is called that begins at ``start``, without its ending."""
    return f"{track}@{start}" if start else track


def track_of(stem: str) -> str:
    """The track of a file by its name without the ending; the name itself where that does not say a place alone."""
    track, _, start = stem.partition("@")
    return track if start.isdecimal() else stem


def place(stem: str) -> int:
    """Where a file begins, by its name without the ending: 0 where it does not say."""
    found = _PLACE.fullmatch(stem)
    return int(found[1]) if found else 0


def stem(track: str) -> str:
    """What a track's files are called, without their endings."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", track)[:64]  # safe already, should it ever not be
