"""The picture of a report, by matplotlib: waveforms with gaps on one time axis, and below them how packets arrived."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from receiver.events import Cause
from receiver.inspection.arrival import INK, SIDE_IN, WIDTH_IN, arrival_in, draw_arrival, place, plain
from receiver.inspection.folder import InspectionError
from receiver.inspection.report import Report, TrackFigures
from receiver.inspection.shown import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TOP_IN, LABELS_IN, TRACK_IN = 0.62, 0.5, 1.45
DPI = 110
COLUMNS = 1500  # of a picture; gaps closer to each other than that become one
MAX_LABELS = 40  # of digits and marks: more would lie over each other
MAX_LABEL = 28  # characters
AUDIO = "#1f5f8b"
GAPS = {
    Cause.LOST: "#d62728",
    Cause.REJECTED: "#9467bd",
    Cause.DROPPED: "#ff9f1c",
    Cause.PAUSED: "#4c9be8",
    Cause.UNSENT: "#c9c9c9",
}
ODD = {"duplicate": "#ff7f0e", "late": "#8c564b", "reordered": "#17becf"}
"""Colours."""


def png(report: Report) -> bytes:
    """The picture as PNG. Raises InspectionError where matplotlib is not installed."""
    return _rendered(report, "png", dpi=DPI)


def svg(report: Report) -> str:
    """The picture as an SVG element, without anything around it, to stand in a page."""
    text = _rendered(report, "svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}).decode()
    return text[text.index("<svg") :]


def _rendered(report: Report, kind: str, **options: Any) -> bytes:
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InspectionError(
            f"pictures need matplotlib: pip install 'media-stream-receiver[plot]' ({error})"
        ) from None
    out = io.BytesIO()
    style: dict[Any, Any] = {
        "svg.fonttype": "path",
        "svg.hashsalt": "receiver",
        "text.parse_math": False,
        "font.size": 9,
    }
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(?s)Glyph .* missing from", category=UserWarning)
        heights = [LABELS_IN] * _labelled(report) + [TRACK_IN] * len(report.tracks)
        figure = Figure(figsize=(WIDTH_IN, TOP_IN + sum(heights) + arrival_in(report)), facecolor="white")
        FigureCanvasAgg(figure)
        _draw(figure, report, heights)
        figure.savefig(out, format=kind, **options)
    return out.getvalue()


def _draw(figure: Figure, report: Report, heights: Sequence[float]) -> None:
    height = figure.get_figheight()
    figure.text(SIDE_IN / WIDTH_IN, 1 - 0.12 / height, _title(report), va="top", fontsize=11, color=INK)
    _legend(figure, report)
    duration_s = max(report.duration_s, 0.001)
    axes: list[Axes] = []
    top = height - TOP_IN
    for each in heights:
        top -= each
        axes.append(place(figure, SIDE_IN, top, WIDTH_IN - 2 * SIDE_IN, each - 0.06, axes[0] if axes else None))
        axes[-1].tick_params(labelbottom=len(axes) == len(heights))
    if _labelled(report):
        _labels(axes.pop(0), report)
    for ax, (name, track) in zip(axes, report.tracks.items(), strict=True):
        _track(ax, name, track, duration_s)
        for at_s in _thinned(
            [*(digit.at_s for digit in report.digits), *(mark.at_s for mark in report.marks)], duration_s
        ):
            ax.axvline(at_s, color="#2ca02c", linewidth=0.7, alpha=0.6)
        ax.set_xlim(0, duration_s)
        ax.set_xlabel("seconds of the stream" if ax is axes[-1] else "", fontsize=8, color=INK)
    draw_arrival(figure, report, duration_s)


def _labelled(report: Report) -> bool:
    return bool(report.tracks and (report.digits or report.marks))


def _title(report: Report) -> str:
    stream = report.stream
    if stream is None:
        return shown(report.path, limit=100)
    sound = stream.format
    call = f"call {stream.call_id}" if stream.call_id else f"stream {stream.stream_id}"
    end = f"ended: {report.end.reason}" if report.end else report.state
    when = f"{stream.started}   " if stream.started else ""
    return shown(f"{call}   {when}{sound.encoding} {sound.rate} Hz   {report.duration_s:.2f} s   {end}")


def _track(ax: Axes, name: str, track: TrackFigures, duration_s: float) -> None:
    plain(ax)
    ax.set_ylim(-1, 1)
    ax.set_yticks([-1, 0, 1], ["", shown(name, limit=MAX_LABEL), ""], rotation=90, va="center")
    ax.tick_params(axis="y", length=0)
    for cause, colour in GAPS.items():
        spans = _spans([(gap.start_s, gap.end_s) for gap in track.gaps if gap.cause == cause], duration_s)
        if spans:
            ax.broken_barh(spans, (-1, 2), facecolor=colour, alpha=0.55, linewidth=0)
    waveform = track.waveform
    if waveform is not None and waveform.low:
        low = np.array([np.nan if value is None else value / 32768 for value in waveform.low])
        high = np.array([np.nan if value is None else value / 32768 for value in waveform.high])
        times = (np.arange(len(low)) + 0.5) * waveform.step_s
        ax.fill_between(times, low, high, color=AUDIO, linewidth=0.4)
    for kind, colour in ODD.items():
        times_s = _thinned([odd.at_s for odd in track.odd if odd.kind == kind], duration_s)
        ax.plot(times_s, [0.9] * len(times_s), "v", color=colour, markersize=5, clip_on=False)
    jumps = _thinned([jump.at_s for jump in track.discontinuities], duration_s)
    for at_s in jumps:
        ax.axvline(at_s, color="black", linewidth=1.2, linestyle="--")


def _labels(ax: Axes, report: Report) -> None:
    """Digits and marks, in turn on two lines, so that neighbours do not meet."""
    plain(ax)
    ax.set_ylim(0, 2)
    ax.set_yticks([])
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.tick_params(length=0)
    seen = [(digit.at_s, digit.digit, True) for digit in report.digits]
    seen += [(mark.at_s, shown(mark.name, limit=MAX_LABEL), False) for mark in report.marks]
    for number, (at_s, text, pressed) in enumerate(sorted(seen)[:MAX_LABELS]):
        box = {"boxstyle": "round,pad=0.2", "facecolor": "#d9f2d9" if pressed else "#e8eef7", "edgecolor": "none"}
        right = at_s > report.duration_s * 0.85
        ax.text(at_s, 1.45 - number % 2, text, ha="right" if right else "left", va="center", fontsize=8, bbox=box)


def _legend(figure: Figure, report: Report) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    tracks = report.tracks.values()
    causes = {gap.cause for track in tracks for gap in track.gaps}
    kinds = {odd.kind for track in tracks for odd in track.odd}
    entries: list[Any] = [
        Patch(facecolor=colour, alpha=0.55, label=f"gap: {cause}") for cause, colour in GAPS.items() if cause in causes
    ]
    entries += [
        Line2D([], [], marker="v", linestyle="", color=colour, label=kind)
        for kind, colour in ODD.items()
        if kind in kinds
    ]
    if any(track.discontinuities for track in tracks):
        entries.append(Line2D([], [], color="black", linestyle="--", label="the peer's clock jumped"))
    if entries:
        place = (1 - SIDE_IN / WIDTH_IN, 1 - 0.45 / figure.get_figheight())
        figure.legend(
            handles=entries, loc="center right", bbox_to_anchor=place, ncols=len(entries), frameon=False, fontsize=8
        )


def _spans(gaps: Sequence[tuple[float, float]], duration_s: float) -> list[tuple[float, float]]:
    """Gaps as (start, width), wide enough to be seen, and together where a picture cannot tell them apart."""
    least = duration_s / COLUMNS
    spans: list[tuple[float, float]] = []
    for start, end in gaps:
        if spans and start - (spans[-1][0] + spans[-1][1]) < least:
            spans[-1] = spans[-1][0], max(end - spans[-1][0], spans[-1][1])
        else:
            spans.append((start, max(end - start, least)))
    return spans


def _thinned(times: Sequence[float], duration_s: float) -> list[float]:
    """One of all that would fall into the same column."""
    return list({int(at_s / duration_s * COLUMNS / 3): at_s for at_s in times}.values())
