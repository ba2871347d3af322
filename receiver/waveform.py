"""A recording, drawn in the terminal: loudness over time in dBFS, with the gaps visibly in it.

0 dBFS is the loudest sample that 16 bits hold; a level of silence is minus infinity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import soundfile
from rich.text import Text

from receiver.events import Samples

FULL_SCALE = 32768
FLOOR_DBFS = -48.0  # what is quieter draws as nothing; speech on a telephone lies between -40 and -6
ROWS = 3
READ_SAMPLES = 1 << 18  # at a time: memory does not grow with the file
TOUCHED = 1e-9  # of a column: less is rounding; one sample of a day's recording is more
LABEL = 8  # columns left of the picture, for the scale

UNICODE = " ▁▂▃▄▅▆▇█"
ASCII = " ..::||##"  # the same nine heights of a row
MARKS = {UNICODE: ("░", "╳", "─"), ASCII: ("/", "x", "-")}  # a gap, a gap on the axis, the axis

Span = tuple[float, float, str]
"""A gap: from and to in seconds, and its cause."""


class Levels(msgspec.Struct, frozen=True):
    """How loud, in dBFS; ``-inf`` for digital silence."""

    peak_dbfs: float
    rms_dbfs: float


class Shape(msgspec.Struct, frozen=True, eq=False):
    """A file, measured: enough to draw it and to say how loud it is."""

    duration_s: float
    levels: Levels
    peaks: npt.NDArray[np.int64]  # the largest magnitude per column, 0 to 32768


def levels(samples: Samples) -> Levels:
    """Peak and root mean square of one channel of int16."""
    wide = samples.astype(np.int64)
    return _levels(int(np.abs(wide).max(initial=0)), float(np.square(wide).sum()), len(wide))


def measure(path: Path, columns: int) -> Shape:
    """Read an audio file once; several channels count as one. Raises what soundfile raises for what is no audio."""
    with soundfile.SoundFile(path) as file:
        total = file.frames
        columns = max(1, min(columns, total))
        peaks = np.zeros(columns, np.int64)
        squares = 0.0
        position = 0
        for block in file.blocks(READ_SAMPLES, dtype="int16", always_2d=True):
            loudest = np.abs(block.astype(np.int64)).max(axis=1)
            squares += float(np.square(block.astype(np.float64)).mean(axis=1).sum())
            np.maximum.at(peaks, np.arange(position, position + len(block)) * columns // total, loudest)
            position += len(block)
        return Shape(total / file.samplerate, _levels(int(peaks.max()), squares, total), peaks)


def draw(shape: Shape, gaps: Sequence[Span] = (), *, encoding: str = "utf-8") -> Text:
    """The picture: rows of bars, and below them a time axis.

    A column that is mostly gap is shaded; on the axis, every column that a gap touches is marked, however short it is.
    Where ``encoding`` (of the stream to print to) has no block characters, ASCII stands for them.
    """
    blocks = characters(encoding)
    _, mark, line = MARKS[blocks]
    columns = len(shape.peaks)
    share = gap_share(gaps, shape.duration_s, columns)
    text = bars(shape.peaks, share, blocks)
    text.append(" " * LABEL)
    for column in range(columns):
        text.append(mark, style="red") if share[column] > TOUCHED else text.append(line, style="dim")
    end = f"{shape.duration_s:.1f} s"
    text.append("\n" + " " * LABEL + "0 s" + end.rjust(max(columns - 3, len(end) + 1)), style="dim")
    return text


def bars(peaks: npt.NDArray[np.int64], share: npt.NDArray[np.float64], blocks: str) -> Text:
    """The rows of bars alone, each with its level before it; a column whose ``share`` is mostly gap is shaded."""
    shade = MARKS[blocks][0]
    heights = _heights(peaks)
    step = -FLOOR_DBFS / ROWS
    text = Text()
    for row in range(ROWS):
        text.append(f"{-row * step:4.0f} dB ", style="dim")
        for column in range(len(peaks)):
            if share[column] > 0.5:
                text.append(shade, style="red")
            else:
                eighths = int(np.clip(heights[column] - 8 * (ROWS - 1 - row), 0, 8))
                text.append(blocks[eighths], style="cyan")
        text.append("\n")
    return text


def dbfs(magnitude: float) -> float:
    """A magnitude of 0 to 32768 in dBFS."""
    return 20 * math.log10(magnitude / FULL_SCALE) if magnitude else -math.inf


def _levels(peak: int, squares: float, count: int) -> Levels:
    return Levels(dbfs(peak), dbfs(math.sqrt(squares / count)) if count else -math.inf)


def _heights(peaks: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Eighths of a row above the floor; anything above the floor is at least one."""
    with np.errstate(divide="ignore"):
        above = 20 * np.log10(peaks / FULL_SCALE) - FLOOR_DBFS
    return np.where(above > 0, np.ceil(above / -FLOOR_DBFS * ROWS * 8), 0).astype(np.int64)


def gap_share(gaps: Sequence[Span], duration_s: float, columns: int) -> npt.NDArray[np.float64]:
    """Per column, the part of its time that is gap."""
    share = np.zeros(columns)
    if not duration_s:
        return share
    edges = np.arange(columns + 1) * (duration_s / columns)
    for start, end, _cause in gaps:
        first = max(0, int(np.searchsorted(edges, start, "right")) - 1)
        last = min(columns, int(np.searchsorted(edges, end, "left")))
        inside = np.minimum(end, edges[first + 1 : last + 1]) - np.maximum(start, edges[first:last])
        share[first:last] += inside * columns / duration_s
    return share


def characters(encoding: str) -> str:
    """UNICODE, or ASCII where ``encoding`` (of the stream to print to) has no block characters."""
    try:
        (UNICODE + "".join(MARKS[UNICODE])).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE
