"""The WAV files of a stream that is over: the tracks complete, and paired as the layout says."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from receiver.sinks import Stream

from .format import HEADER_BYTES, PART, complete
from .stereo import assemble, holds
from .tracks import stem

Layout = Literal["separate", "stereo", "both"]

LEFT, RIGHT = "inbound", "outbound"
STEREO = "stereo.wav"


def lay_out(stream: Stream, parts: list[Path], layout: Layout) -> tuple[list[Path], Exception | None]:
    """The files that were made, and why ``stereo.wav`` is not among them if it should be. Blocks.

    Raises OSError where not even a track's own file could be completed.
    """
    made = {part.name.removesuffix(f".wav{PART}"): complete(part, stream.format.rate) for part in parts}
    left, right = [made.get(name) or _existing(stream.directory / f"{name}.wav") for name in (LEFT, RIGHT)]
    kept = list(made.values())
    try:
        if layout == "both" and left and right:
            kept += _pair(stream, left, right)
        elif layout == "stereo" and (left or right):
            kept += _pair(stream, left, right)
            for side in (left, right):
                if side is not None:
                    side.unlink()
    except (OSError, ValueError) as problem:
        return _there(kept), problem
    return _there(kept), None


def left_over(stream: Stream, made: list[Path]) -> list[Path]:
    """Finished WAV files, beside ``made``, with the names of this stream's: an earlier run did not come further."""
    names = [LEFT, RIGHT, Path(STEREO).stem, *(stem(track) for track in stream.facts.tracks)]
    there = [_existing(stream.directory / f"{name}.wav") for name in dict.fromkeys(names)]
    return [file for file in there if file is not None and file not in made]


def _pair(stream: Stream, left: Path | None, right: Path | None) -> list[Path]:
    """The stereo file, unless a run before this one has made it already."""
    if any(holds(file, left, right) for file in stream.directory.glob("stereo*.wav")):
        return []
    return [assemble(left, right, stream.directory / STEREO)]


def _existing(file: Path) -> Path | None:
    return file if file.is_file() and file.stat().st_size >= HEADER_BYTES else None


def _there(files: list[Path]) -> list[Path]:
    return [file for file in files if file.exists()]


def declare(stream: Stream, wav: Path) -> None:
    """List a WAV file among the stream's."""
    stream.add_file(wav, kind="audio", media_type="audio/wav")
