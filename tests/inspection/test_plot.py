from __future__ import annotations

import builtins
import io
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from receiver.events import Cause
from receiver.inspection import plot
from receiver.inspection.arrival import ARRIVAL_IN, NOTHING_IN, WIDTH_IN
from receiver.inspection.folder import InspectionError
from receiver.inspection.report import DigitFigures, GapFigures, JumpFigures, MarkFigures, Odd, Report

pytest.importorskip("matplotlib")


def pixels(report: Report) -> Any:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(plot.png(report))).convert("RGB")).astype(int)


def share(image: Any, colour: str) -> float:
    """Of the picture, that is about of a colour."""
    wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return float((np.abs(image - wanted).max(axis=2) < 12).mean())


def test_the_picture_shows_audio_and_gaps(lab: ModuleType, tmp_path: Path) -> None:
    image = pixels(lab.report(lab.whole(tmp_path)))
    height = plot.TOP_IN + plot.LABELS_IN + 2 * plot.TRACK_IN + ARRIVAL_IN
    assert image.shape == (pytest.approx(height * plot.DPI, abs=1), round(WIDTH_IN * plot.DPI), 3)
    assert share(image, "#ffffff") < 0.95
    assert share(image, plot.AUDIO) > 0.1  # the outbound square wave is nearly as loud as can be
    assert share(image, "#e88788") > 0.005  # a gap of 60 ms of a second on one of the tracks


def test_each_track_adds_its_height(lab: ModuleType, tmp_path: Path) -> None:
    one = pixels(lab.report(lab.capture(tmp_path / "a.jsonl", [*lab.opening(), *lab.packets([1, 2]), lab.END])))
    entries = [*lab.opening(), *lab.packets([1]), *lab.packets([2], track="other"), lab.END]
    two = pixels(lab.report(lab.capture(tmp_path / "b.jsonl", entries)))
    assert two.shape[0] - one.shape[0] == pytest.approx(plot.TRACK_IN * plot.DPI, abs=1)


def test_the_svg_is_an_element_that_needs_nothing(lab: ModuleType, tmp_path: Path) -> None:
    found = lab.report(lab.whole(tmp_path))
    text = plot.svg(found)
    assert text.startswith("<svg") and ElementTree.fromstring(text).tag.endswith("svg")
    assert text == plot.svg(found)  # nothing of today, and no random ids
    assert "<image" not in text and "<script" not in text and "DOCTYPE" not in text


def test_a_peers_text_is_drawn_as_it_is(lab: ModuleType, tmp_path: Path) -> None:
    """Neither mathematics, nor letters that no font has, nor anything endless stops the picture."""
    found = lab.report(lab.whole(tmp_path))
    found.marks += [MarkFigures(0.9, "$\\frac{1"), MarkFigures(0.91, "你好\x00\n</svg>"), MarkFigures(0.2, "x" * 4000)]
    found.marks += [MarkFigures(number / 100, "m") for number in range(100)]
    text = plot.svg(found)
    assert text.count("</svg>") == 1 and ElementTree.fromstring(text) is not None


def test_everything_odd_at_once(lab: ModuleType, tmp_path: Path) -> None:
    found = lab.report(lab.whole(tmp_path))
    track = found.tracks["inbound"]
    track.gaps.extend(GapFigures(0.3 + number / 10, 0.35 + number / 10, cause) for number, cause in enumerate(Cause))
    track.odd.extend([Odd(0.1, "late", 1), Odd(0.9, "reordered", 2)])
    track.discontinuities.append(JumpFigures(0.5, 1, 2))
    found.digits.append(DigitFigures(0.99, "#", None, None))
    assert share(pixels(found), "#ffffff") < 0.95


@pytest.mark.parametrize("entries", [0, 1])
def test_nothing_to_draw_is_drawn(entries: int, lab: ModuleType, tmp_path: Path) -> None:
    found = lab.report(lab.capture(tmp_path / "a.jsonl", lab.opening() if entries else []))
    assert pixels(found).shape[1] == round(WIDTH_IN * plot.DPI)


def test_a_recording_without_a_capture_is_drawn(lab: ModuleType, tmp_path: Path) -> None:
    image = pixels(lab.report(lab.finish(lab.recorded(tmp_path))))
    height = plot.TOP_IN + plot.LABELS_IN + plot.TRACK_IN + NOTHING_IN
    assert image.shape[0] == pytest.approx(height * plot.DPI, abs=1)
    assert share(image, "#e88788") > 0.01  # a gap, and no waveform


def test_gaps_that_nobody_can_tell_apart_are_drawn_as_one() -> None:
    gaps = [(0.0, 1.0), (1.000_1, 2.0), (50.0, 50.0)]
    assert plot._spans(gaps, 100.0) == [(0.0, 2.0), (50.0, 100.0 / plot.COLUMNS)]
    many = [(number / 100, number / 100 + 0.001) for number in range(10_000)]
    assert len(plot._spans(many, 100.0)) <= plot.COLUMNS
    assert len(plot._thinned([number / 1000 for number in range(100_000)], 100.0)) <= plot.COLUMNS


def test_without_matplotlib_the_extra_is_named(
    lab: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any) -> Any:
        if name.partition(".")[0] == "matplotlib":
            raise ImportError("No module named 'matplotlib'")
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InspectionError, match=r"pip install 'media-stream-receiver\[plot\]'"):
        plot.png(lab.report(lab.whole(tmp_path)))


def test_it_is_loaded_for_a_picture_and_never_pyplot(lab: ModuleType, tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
import receiver.cli.inspect
from receiver.inspection.folder import inspect
report = inspect(Path(sys.argv[1]))
assert "matplotlib" not in sys.modules
from receiver.inspection import plot
assert "matplotlib" not in sys.modules
plot.png(report), plot.svg(report)
assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules
"""
    path = lab.whole(tmp_path)
    subprocess.run([sys.executable, "-c", program, str(path)], check=True, timeout=50)
