"""The time axis in characters: a waveform per track, and rows below it for gaps, odd messages, digits and marks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from rich.text import Text

from receiver.events import Cause
from receiver.inspection.envelope import peaks
from receiver.inspection.report import GapFigures, Report, TrackFigures
from receiver.inspection.shown import shown
from receiver.waveform import LABEL, MARKS, bars, characters, gap_share

# Shown before the ones after it where a column has both: what was to be heard and is not comes first.
LETTERS = {Cause.LOST: "L", Cause.REJECTED: "R", Cause.DROPPED: "D", Cause.PAUSED: "P", Cause.UNSENT: "U"}
STYLES = {
    Cause.LOST: "bold red",
    Cause.REJECTED: "bold magenta",
    Cause.DROPPED: "bold yellow",
    Cause.PAUSED: "blue",
    Cause.UNSENT: "dim",
}
ODD = {"duplicate": "d", "late": "l", "reordered": "r", "jump": "!"}
TOUCHED = 1e-9
MAX_MARKS = 9  # have a number each; the others are a +
TICKS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200)
TICK_COLUMNS = 12


def timeline(report: Report, width: int, encoding: str) -> Text:
    """The whole picture, ``width`` characters wide, in what ``encoding`` has."""
    columns, duration_s = max(width - LABEL, 10), _duration_s(report)
    text = Text()
    for name, track in report.tracks.items():
        text.append(f"{shown(name, encoding)}\n", style="bold")
        text.append(_track(track, duration_s, columns, encoding))
    digits = [(digit.at_s, shown(digit.digit, encoding)[:1]) for digit in report.digits]
    if digits:
        text.append(_row("digits", _placed(digits, duration_s, columns), "bold green"))
    marks = [(mark.at_s, str(number)) for number, mark in enumerate(report.marks[:MAX_MARKS], 1)]
    marks += [(mark.at_s, "+") for mark in report.marks[MAX_MARKS:]]
    if marks:
        text.append(_row("marks", _placed(marks, duration_s, columns), "bold cyan"))
    text.append(_axis(duration_s, columns, encoding))
    return text


def legend(report: Report) -> list[str]:
    """What the letters mean that are in the picture."""
    causes = {gap.cause for track in report.tracks.values() for gap in track.gaps}
    kinds = {odd.kind for track in report.tracks.values() for odd in track.odd}
    jumps = any(track.discontinuities for track in report.tracks.values())
    lines = []
    if causes:
        named = ", ".join(f"{letter} {cause}" for cause, letter in LETTERS.items() if cause in causes)
        lines.append(f"gaps: {named}; a small letter: less than half of its column")
    named_odd = [f"{letter} {kind}" for kind, letter in ODD.items() if kind in kinds or (kind == "jump" and jumps)]
    if named_odd:
        lines.append(f"odd: {', '.join(named_odd)}".replace("! jump", "! the peer's clock jumped"))
    return lines


def _duration_s(report: Report) -> float:
    seen = [digit.at_s for digit in report.digits] + [mark.at_s for mark in report.marks]
    return max([report.duration_s, *seen, 0.001])


def _track(track: TrackFigures, duration_s: float, columns: int, encoding: str) -> Text:
    blocks = characters(encoding)
    share = gap_share([(gap.start_s, gap.end_s, gap.cause) for gap in track.gaps], duration_s, columns)
    heights = np.zeros(columns, np.int64)
    if track.waveform is not None and track.waveform.low:
        heights = peaks(track.waveform, duration_s, columns)
    text = bars(heights, share, blocks)
    if track.gaps:
        text.append(_gaps(track.gaps, duration_s, columns))
    odd = [(one.at_s, ODD[one.kind]) for one in track.odd]
    odd += [(jump.at_s, ODD["jump"]) for jump in track.discontinuities]
    if odd:
        text.append(_row("odd", _placed(odd, duration_s, columns), "bold yellow"))
    return text


def _gaps(gaps: Sequence[GapFigures], duration_s: float, columns: int) -> Text:
    letters, styles = [" "] * columns, [""] * columns
    for cause in reversed(LETTERS):
        share = gap_share([(gap.start_s, gap.end_s, cause) for gap in gaps if gap.cause == cause], duration_s, columns)
        for column in np.flatnonzero(share > TOUCHED):
            letter = LETTERS[cause]
            letters[column] = letter if share[column] > 0.5 else letter.lower()
            styles[column] = STYLES[cause]
    text = _label("gaps")
    for letter, style in zip(letters, styles, strict=True):
        text.append(letter, style=style)
    return text.append("\n")


def _placed(seen: Iterable[tuple[float, str]], duration_s: float, columns: int) -> list[str]:
    """A character per column; where two that differ fall into one, a ``+``."""
    row = [" "] * columns
    for at_s, letter in seen:
        column = min(int(at_s / duration_s * columns), columns - 1)
        row[column] = letter if row[column] in (" ", letter) else "+"
    return row


def _row(name: str, characters: Sequence[str], style: str) -> Text:
    return _label(name).append("".join(characters).rstrip(), style=style).append("\n")


def _label(name: str) -> Text:
    return Text().append(f"{name:>{LABEL - 1}} ", style="dim")


def _axis(duration_s: float, columns: int, encoding: str) -> Text:
    line = MARKS[characters(encoding)][2]
    wanted = duration_s * TICK_COLUMNS / columns
    step = next((tick for tick in TICKS_S if tick >= wanted), 86_400)
    times = " " * columns
    end = f"{duration_s:.1f} s"
    at_s = 0
    while at_s < duration_s:
        column, said = int(at_s / duration_s * columns), f"{at_s} s" if at_s < 600 else _clock(at_s)
        if column + len(said) + 1 < columns - len(end) or at_s == 0:
            times = times[:column] + said + times[column + len(said) :]
        at_s += step
    times = times[: columns - len(end)] + end
    return Text(" " * LABEL + line * columns + "\n" + " " * LABEL + times, style="dim")


def _clock(at_s: int) -> str:
    return f"{at_s // 3600}:{at_s // 60 % 60:02}:{at_s % 60:02}"
