"""The lower half of the picture: how far apart messages came, and how late by their timestamps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from receiver.inspection.report import Report
from receiver.inspection.series import SeriesFigures
from receiver.inspection.shown import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]

WIDTH_IN, ARRIVAL_IN, SIDE_IN = 14.0, 3.3, 0.5
NOTHING_IN = 1.1  # where there is nothing but a sentence
BREAK_S = 0.5  # without a message: no line is drawn across
INK, GRID = "#222222", "#dddddd"
TRACKS = ("#1f5f8b", "#c8553d", "#588157", "#8a4f7d")
"""Colours, in turn."""


def arrival_in(report: Report) -> float:
    """How high it is, in inches."""
    return ARRIVAL_IN if any(track.packets for track in report.tracks.values()) else NOTHING_IN


def draw_arrival(figure: Figure, report: Report, duration_s: float) -> None:
    """Draw it at the foot of the figure: left the spacing of messages, right how late they were, over time."""
    packets = {name: track.packets for name, track in report.tracks.items() if track.packets}
    if not packets:
        said = "When messages arrived is not known: there is no capture." if report.tracks else "There is no audio."
        figure.text(0.5, 0.3 / figure.get_figheight(), said, ha="center", color=INK)
        return
    half = (WIDTH_IN - 3 * SIDE_IN) / 2
    left = place(figure, SIDE_IN, 0.5, half, ARRIVAL_IN - 1.4)
    right = place(figure, WIDTH_IN - SIDE_IN - half, 0.5, half, ARRIVAL_IN - 1.4)
    resolution_ms = report.capture.resolution_ms if report.capture else 0
    note = f" (read every {resolution_ms} ms)" if resolution_ms else ""
    plain(left)
    left.set_title(f"messages by their spacing{note}", loc="left", fontsize=9)
    counts = [
        {one.from_ms: one.count for one in found.spacing_ms.histogram} if found.spacing_ms else {}
        for found in packets.values()
    ]
    edges = sorted(set().union(*counts))
    width = 0.85 / len(packets)
    for number, (name, heights) in enumerate(zip(packets, counts, strict=True)):
        places = np.arange(len(edges)) + (number + 0.5) * width - 0.425
        left.bar(
            places, [heights.get(edge, 0) for edge in edges], width, color=_colour(number), label=f" {shown(name)}"
        )
    left.set_xticks(range(len(edges)), [str(edge) for edge in edges])
    left.set_yscale("symlog", linthresh=1)
    most = max((count for heights in counts for count in heights.values()), default=1)
    decades = [10**power for power in range(8) if 10**power <= max(most, 1)]
    left.set_yticks([0, *decades], ["0", *(f"{decade:,}" for decade in decades)], minor=False)
    left.set_yticks([], minor=True)
    left.set_xlabel("milliseconds, and up to the next", fontsize=8, color=INK)
    left.legend(frameon=False, fontsize=8)
    plain(right)
    right.set_title(f"jitter: ms later than the least delayed packet, by its timestamp{note}", loc="left", fontsize=9)
    for number, found in enumerate(packets.values()):
        if found.jitter is None:
            continue
        times, low, high = _with_breaks(found.jitter.over_time)
        right.fill_between(times, low, high, color=_colour(number), alpha=0.35, linewidth=0)
        right.plot(times, high, color=_colour(number), linewidth=0.8)
    jitters = [found.jitter.over_time for found in packets.values() if found.jitter]
    right.set_xlim(0, max((len(one.low) * one.step_s for one in jitters), default=duration_s))
    right.set_ylim(bottom=0)
    right.set_xlabel("seconds since the start message", fontsize=8, color=INK)


def _with_breaks(series: SeriesFigures) -> tuple[Floats, Floats, Floats]:
    """Times, least and greatest; where nothing came for a while there is a NaN, across which no line is drawn."""
    points: list[tuple[float, float, float]] = []
    for index, (low, high) in enumerate(zip(series.low, series.high, strict=True)):
        at_s = (index + 0.5) * series.step_s
        if low is None or high is None:
            continue
        if points and at_s - points[-1][0] > max(BREAK_S, 1.5 * series.step_s):
            points.append((at_s, np.nan, np.nan))
        points.append((at_s, low, high))
    times, lows, highs = np.array(points, float).reshape(-1, 3).T
    return times, lows, highs


def place(figure: Figure, left: float, bottom: float, width: float, height: float, shared: Axes | None = None) -> Axes:
    """A place in the figure, in inches."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up), sharex=shared)


def plain(ax: Axes) -> None:
    """Take from a diagram what says nothing."""
    ax.grid(axis="x", color=GRID, linewidth=0.6)
    ax.set_axisbelow(True)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(GRID)
    ax.tick_params(colors=INK, labelsize=8)


def _colour(number: int) -> str:
    return TRACKS[number % len(TRACKS)]
