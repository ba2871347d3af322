"""Which files a stream is left with: its tracks' files, paired as the layout says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from receiver.sinks import Stream

from .codec import CODECS
from .format import HEADER_BYTES, SAMPLE_BYTES, read_header
from .listing import matching
from .segment import Segment, file_name, place, stem, track_of
from .stereo import assemble, holds, length

Layout = Literal["separate", "stereo", "both"]

LEFT, RIGHT = "inbound", "outbound"
STEREO = "stereo"

_STEREO = re.compile(r"stereo(@\d{1,18})?(-\d+)?")


def pair(directory: Path, group: Sequence[Segment], layout: Layout, *, both: bool) -> Path | None:
    """Make the stereo file of what the sides have in one period; None where there is to be none, or is one. Blocks.

    ``both``: the stream has both sides, so that one that has nothing in this period is silent. Raises OSError, and
    ValueError where the rates differ or what was written does not read back: every file is still there then.
    """
    left = [segment for segment in group if segment.track == LEFT]
    right = [segment for segment in group if segment.track == RIGHT]
    if layout == "both" and not (both and _whole(directory, left, right)):
        return None
    made = None
    if not any(_made_before(directory, left, right, layout)):
        start = min(segment.start for segment in group)
        made = assemble(left, right, directory / f"{file_name(STEREO, start)}.wav")
    if layout == "stereo":
        for segment in group:
            segment.path.unlink()
    return made


def _whole(directory: Path, left: list[Segment], right: list[Segment]) -> bool:
    """False where a side is not there since it has been encoded: then the pair was made before that."""
    if left and right:
        return True
    other, start = (RIGHT, left[0].start) if left else (LEFT, right[0].start)
    return not any((directory / f"{file_name(other, start)}{codec.suffix}").exists() for codec in CODECS.values())


def _made_before(directory: Path, left: list[Segment], right: list[Segment], layout: Layout) -> Iterator[bool]:
    """For each stereo file whether it holds these. Where they are to stay, one that was made of them is not read."""
    group = [*left, *right]
    first = min(segment.start for segment in group)
    frames = max(segment.start + _frames(segment.path) for segment in group) - first
    newest = max(segment.path.stat().st_mtime_ns for segment in group)
    for file in matching(directory, f"{STEREO}*.wav"):
        start = place(file.stem)
        if not _STEREO.fullmatch(file.stem) or not file.is_file() or start > first:
            continue
        later = layout == "both" and file.stat().st_mtime_ns >= newest
        yield (later and start == first and length(file) == frames) or holds(file, left, right, start=start)


def _frames(mono: Path) -> int:
    return (mono.stat().st_size - HEADER_BYTES) // SAMPLE_BYTES


def left_over(stream: Stream) -> list[Path]:
    """Finished WAV files with the names of this stream's, segments among them: an earlier run did not come further."""
    names = {LEFT, RIGHT, STEREO, *(stem(track) for track in stream.facts.tracks)}
    files = matching(stream.directory, "*.wav")
    return [file for file in files if track_of(file.stem) in names and file.is_file() and _is_ours(file)]


def _is_ours(file: Path) -> bool:
    """Whether it has a header of ours. A name that was taken and not used has none; others' files are left alone."""
    with file.open("rb") as content:
        return read_header(content.read(HEADER_BYTES)) is not None


def declare(stream: Stream, wav: Path) -> None:
    """List a WAV file among the stream's."""
    stream.add_file(wav, kind="audio", media_type="audio/wav")
