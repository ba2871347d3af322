"""The open files of one live stream: ``<track>.wav.part``, placed by the timeline."""

from __future__ import annotations

import re
from concurrent.futures import Future
from pathlib import Path

from receiver import files
from receiver.events import Event, Frame, Gap

from .format import PART, SAMPLE_BYTES, header


class Tracks:
    """A file per track, begun with its first audio or gap."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[str, files.File] = {}

    def take(self, event: Event) -> None:
        """Queue a frame's samples, or a gap's hole; raises files.FileError where the disk did not take earlier ones."""
        if isinstance(event, Frame):
            file = self._files.get(event.track) or self._open(event.track, event.rate)
            # Samples are this machine's int16: little-endian, as WAV is, on every machine that we are built for.
            file.append(event.samples)
        elif isinstance(event, Gap):
            file = self._files.get(event.track) or self._open(event.track, event.rate)
            file.skip((event.end - event.start) * SAMPLE_BYTES)

    def _open(self, track: str, rate: int) -> files.File:
        file = self._files[track] = files.create(self._directory / f"{stem(track)}.wav{PART}")
        file.append(header(rate))
        return file

    def close(self) -> list[Future[int]]:
        """Have the files written to their ends and closed, whatever their state."""
        return [file.close() for file in self._files.values()]

    def paths(self) -> list[Path]:
        """The files, as they are named until they are complete."""
        return [file.path for file in self._files.values()]


def stem(track: str) -> str:
    """What a track's files are called, without their endings."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", track)[:64]  # safe already, should it ever not be
