"""One track of a live stream: its audio into one file after the other, each in its place on the timeline.

A file is over where the rotation cuts, or where the disk did not take it. The next one is begun with the next audio: at
the last cut, or where the track's last file or loss ended if that was later.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Protocol

from receiver import files
from receiver.events import Samples

from .format import HEADER_BYTES, PART, SAMPLE_BYTES, header
from .losses import Losses, cause_of
from .segment import Span, Written, file_name

RETRY_S = 1.0
"""How long after a file was begun that failed the next one is begun: a disk that is full says so at once."""

MAX_HOLES = 1000
"""Holes of a file that are remembered until what is behind them is written. Were it more, the oldest would count as
audio if the file then failed."""


class Owner(Protocol):
    """Who is told of files that are over."""

    def passed(self, closed: Written | None) -> None:
        """The track has come to a cut; with its file, if there was one."""

    def broken(self, failed: Written) -> None:
        """A file could not be written on."""


class Track:
    """One track, taken event by event."""

    __slots__ = (
        "_began_at",
        "_begin",
        "_cause",
        "_directory",
        "_file",
        "_floor",
        "_holes",
        "_length",
        "_losing",
        "_losses",
        "_name",
        "_owed",
        "_owner",
        "_retry_at",
        "_stem",
        "_until",
        "position",
        "rate",
    )

    def __init__(
        self,
        name: str,
        stem: str,
        rate: int,
        length: int,
        directory: Path,
        losses: Losses,
        owner: Owner,
        floor: int = 0,
    ) -> None:
        """``length`` is the rotation's; before ``floor`` the audio is in files of an earlier call of the sink."""
        self.rate = rate
        self.position = 0
        """Up to where the track has come, recorded or not."""
        self._name, self._stem = name, stem
        self._directory = directory
        self._losses = losses
        self._owner = owner
        self._length = self._until = length
        self._floor = floor
        self._file: files.File | None = None
        self._begin = 0  # of that file
        self._began_at: float | None = None
        self._owed = 0  # samples of a hole that is not yet in it
        self._holes: list[Span] | None = None
        self._losing = False
        self._retry_at = 0.0
        self._cause = ""

    def frame(self, samples: Samples) -> None:
        """Take audio. Never waits, and raises nothing for a disk."""
        end = self.position + len(samples)
        file = self._file
        if file is not None and end < self._until and not self._owed and not self._losing:  # as nearly always
            try:
                # Samples are this machine's int16: little-endian, as WAV is, on every machine that we are built for.
                file.append(samples)
            except files.FileError:
                pass  # once more, and then it is dealt with
            else:
                self.position = end
                return
        while len(samples):
            piece = samples[: self._until - self.position]
            samples = samples[len(piece) :]
            self._put(piece)
            self.position += len(piece)
            if self.position == self._until:
                self._cut(self.end())

    def gap(self, length: int) -> None:
        """Take a gap: a hole in the file that is open, up to the next cut."""
        start, end = self.position, self.position + length
        if self._file is not None:
            self._hole(start, min(end, self._until))
        if end < self._until:
            self.position = end
            return
        closed = self.end()
        self.position = end
        self._cut(closed)

    def end(self) -> Written | None:
        """Have the file written to its end and closed, if there is one."""
        file = self._file
        if file is None:
            return None
        if self._owed:
            with suppress(files.FileError):  # a hole at the end: what is lost is declared, and a gap is no audio
                file.skip(self._owed * SAMPLE_BYTES)
        file.close()
        written = Written(file, self._name, self._stem, self._begin, self.position, self.rate, self._holes or ())
        self._file, self._holes, self._owed = None, None, 0
        return written

    def silence(self) -> None:
        """Begin a file of a track that has had nothing but gaps, if it has not come to a cut: so that it shows."""
        if self._began_at is None and 0 < self.position < self._until == self._length and not self._floor:
            self._open(self.position)

    def _cut(self, closed: Written | None) -> None:
        self._until = (self.position // self._length + 1) * self._length
        if self._losing:  # what is missing is declared at least once in every file's time
            self._losses.settle(self._name)
            self._losing = False
        self._owner.passed(closed)

    def _put(self, samples: Samples) -> None:
        """Append audio, to a new file if there has to be one; what nobody takes is lost."""
        start, end = self.position, self.position + len(samples)
        for _ in range(2):
            file = self._file or self._open(start)
            if file is None:
                break
            try:
                if self._owed:
                    file.skip(self._owed * SAMPLE_BYTES)
                    self._owed = 0
                file.append(samples)
            except files.FileError as problem:
                if problem.errno == errno.ENOBUFS and file.error is None:
                    self._lose(start, end, cause_of(None))
                    self._hole(start, end)
                    return
                self._give_up(file)
            else:
                self._settle(file)
                return
        self._lose(start, end, self._cause)

    def _open(self, position: int) -> files.File | None:
        """A new file, unless it is too early for that, and where it begins."""
        now = monotonic()
        if now < self._retry_at:
            return None
        self._began_at = now
        self._begin = max(position - position % self._length, self._floor)
        file = self._file = files.create(self._directory / f"{file_name(self._stem, self._begin)}.wav{PART}")
        if self._begin < position:
            self._hole(self._begin, position)
        try:
            file.append(header(self.rate))
        except files.FileError:
            self._give_up(file)
            return None
        return file

    def _give_up(self, file: files.File) -> None:
        """Go on without a file that has failed. What it does not hold shows when the writer is done with it."""
        self._cause = cause_of(file.error)
        self._retry_at = (self._began_at or 0.0) + RETRY_S
        self._floor = self.position
        self._losing = True
        self._losses.fail(self._name, self.rate, self._cause)
        if (written := self.end()) is not None:
            self._owner.broken(written)

    def _lose(self, start: int, end: int, cause: str) -> None:
        self._losses.add(self._name, start, end, self.rate, cause)
        self._losing = True
        self._floor = max(self._floor, end)

    def _settle(self, file: files.File) -> None:
        """See whether the kernel has anything that came behind the last loss."""
        if self._losing and self._begin + (file.landed - HEADER_BYTES) // SAMPLE_BYTES > max(self._floor, self._begin):
            self._losses.settle(self._name)
            self._losing = False

    def _hole(self, start: int, end: int) -> None:
        """Owe the file a hole, and remember it until what is behind it is written."""
        self._owed += end - start
        holes = self._holes = self._holes or []
        if holes and holes[-1][1] == start:
            holes[-1] = (holes[-1][0], end)
            return
        holes.append((start, end))
        file = self._file
        if len(holes) > 1 and file is not None:
            landed = self._begin + (file.landed - HEADER_BYTES) // SAMPLE_BYTES
            self._holes = [hole for hole in holes if hole[1] > landed][-MAX_HOLES:]
