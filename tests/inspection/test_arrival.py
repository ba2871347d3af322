from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from receiver.inspection.arrival import ARRIVAL_IN, WIDTH_IN, _with_breaks, draw_arrival
from receiver.inspection.report import Report
from receiver.inspection.series import SeriesFigures

Figure = pytest.importorskip("matplotlib.figure").Figure


def drawn(report: Report) -> tuple[list[str], list[list[float]]]:
    """The texts of the picture, and the heights of the bars of each track."""
    figure = Figure(figsize=(WIDTH_IN, ARRIVAL_IN))
    draw_arrival(figure, report, report.duration_s)
    texts = [text.get_text() for text in figure.texts] + [ax.get_title(loc="left") for ax in figure.axes]
    bars = [[bar.get_height() for bar in container] for ax in figure.axes for container in ax.containers]
    return texts, bars


def test_bars_are_the_histogram_and_lines_the_delay(lab: ModuleType, tmp_path: Path) -> None:
    texts, bars = drawn(lab.report(lab.whole(tmp_path)))
    assert texts == ["messages by their spacing", "jitter: ms later than the least delayed packet, by its timestamp"]
    assert [sum(heights) for heights in bars] == [47, 39]
    assert [max(heights) for heights in bars] == [45, 39]


def test_a_call_sent_fast_fills_the_picture(lab: ModuleType, tmp_path: Path) -> None:
    """Its time axis is that of arrival, and not that of the audio."""
    found = lab.report(lab.whole(tmp_path))
    figure = Figure(figsize=(WIDTH_IN, ARRIVAL_IN))
    draw_arrival(figure, found, found.duration_s * 8)
    assert figure.axes[1].get_xlim()[1] < 2 * found.duration_s


def test_what_cannot_be_told_apart_is_said(lab: ModuleType, tmp_path: Path) -> None:
    texts, _ = drawn(lab.report(lab.whole(tmp_path, resolution_ms=60)))
    assert all(text.endswith(" (read every 60 ms)") for text in texts)


def test_without_a_capture_it_says_so(lab: ModuleType, tmp_path: Path) -> None:
    assert drawn(lab.report(lab.finish(lab.recorded(tmp_path)))) == (
        ["When messages arrived is not known: there is no capture."],
        [],
    )
    assert drawn(lab.report(lab.capture(tmp_path / "a.jsonl", []))) == (["There is no audio."], [])


def test_one_message_has_no_spacing_and_one_without_a_timestamp_no_jitter(lab: ModuleType, tmp_path: Path) -> None:
    message = lab.media(1).replace('"timestamp": 0, ', "")
    _, bars = drawn(lab.report(lab.capture(tmp_path / "a.jsonl", [*lab.opening(), (0.1, message), lab.END])))
    assert bars == [[]]


def test_no_line_is_drawn_across_a_silence() -> None:
    lows = [1.0, None, 2.0, *[None] * 9, 3.0]
    times, low, high = _with_breaks(SeriesFigures(0.1, lows, [*lows[:-1], 4.0]))
    assert np.allclose(times, [0.05, 0.25, 1.25, 1.25])
    assert np.allclose(low, [1, 2, np.nan, 3], equal_nan=True) and np.allclose(high, [1, 2, np.nan, 4], equal_nan=True)
