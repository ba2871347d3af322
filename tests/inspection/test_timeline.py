from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from receiver.events import Cause
from receiver.inspection.report import DigitFigures, GapFigures, JumpFigures, MarkFigures, Odd, Report, TrackFigures
from receiver.inspection.timeline import legend, timeline
from receiver.waveform import LABEL, ROWS


def track(**changes: object) -> TrackFigures:
    given = {
        "rate": 8000, "duration_s": 10.0, "counters": None, "packets": None, "gaps": [], "gaps_s": {}, "odd": [],
        "discontinuities": [], "audio": None, "waveform": None, "audio_source": None,
    }  # fmt: skip
    return TrackFigures(**{**given, **changes})  # type: ignore[arg-type]


def report(*tracks: TrackFigures, **changes: object) -> Report:
    named = {f"t{number}": one for number, one in enumerate(tracks)}
    given = {"path": "x", "kind": "capture", "state": "ended", "duration_s": 10.0, "tracks": named}
    return Report(**{**given, **changes})  # type: ignore[arg-type]


def row(found: Report, name: str, columns: int = 20, encoding: str = "utf-8") -> str:
    lines = timeline(found, columns + LABEL, encoding).plain.splitlines()
    (line,) = [line[LABEL:] for line in lines if line[: LABEL - 1].strip() == name]
    return line


def test_a_letter_per_cause_small_where_less_than_half_of_the_column() -> None:
    gaps = [
        GapFigures(0.0, 1.0, Cause.UNSENT), GapFigures(2.0, 2.1, Cause.LOST), GapFigures(3.0, 3.5, Cause.REJECTED),
        GapFigures(4.0, 4.5, Cause.PAUSED), GapFigures(5.0, 5.5, Cause.DROPPED),
    ]  # fmt: skip
    found = report(track(gaps=gaps))
    assert row(found, "gaps") == "UU  l R P D         "
    assert legend(found) == [
        "gaps: L lost, R rejected, D dropped, P paused, U unsent; a small letter: less than half of its column"
    ]


def test_what_was_lost_shows_before_what_was_not_sent() -> None:
    gaps = [GapFigures(1.0, 1.45, Cause.UNSENT), GapFigures(1.45, 1.5, Cause.LOST)]
    assert row(report(track(gaps=gaps)), "gaps").strip() == "l"


def test_odd_messages_digits_and_marks_stand_at_their_time() -> None:
    odd = [Odd(1.0, "duplicate", 3), Odd(1.1, "duplicate", 1), Odd(2.0, "late", 1), Odd(2.1, "reordered", 1)]
    found = report(
        track(odd=odd, discontinuities=[JumpFigures(9.9, 1, 2)]),
        digits=[DigitFigures(0.0, "5", None, None), DigitFigures(10.0, "#", None, None)],
        marks=[MarkFigures(number / 2, "m") for number in range(11)],
    )
    assert row(found, "odd") == "  d +              !"
    assert row(found, "digits") == "5                  #"
    assert row(found, "marks") == "123456789++"
    assert legend(found) == ["odd: d duplicate, l late, r reordered, ! the peer's clock jumped"]


def test_the_axis_has_times_and_the_end() -> None:
    line = timeline(report(track()), 80, "utf-8").plain.splitlines()[-1]
    assert line[LABEL:].split("  ")[0] == "0 s" and line.endswith("10.0 s") and "2 s" in line and len(line) == 80
    line = timeline(report(track(), duration_s=7200.0), 80, "utf-8").plain.splitlines()[-1]
    assert "0:30:00" in line and "1:00:00" in line and line.endswith("7200.0 s") and len(line) == 80


@pytest.mark.parametrize("width", [1, 20, 80, 300])
def test_every_line_is_as_wide_as_asked(width: int, lab: ModuleType, tmp_path: Path) -> None:
    lines = timeline(lab.report(lab.whole(tmp_path)), width, "utf-8").plain.splitlines()
    assert max(map(len, lines)) == max(width, LABEL + 10)
    assert len(lines) == 2 * (1 + ROWS) + 3 + 2 + 2  # gaps, odd, odd; digits, marks; axis


def test_ascii_where_there_is_nothing_else(lab: ModuleType, tmp_path: Path) -> None:
    text = timeline(lab.report(lab.whole(tmp_path)), 80, "ascii").plain
    assert text.isascii() and "#" in text and "5" in row(lab.report(tmp_path / "a.jsonl"), "digits", 72, "ascii")


def test_no_track_and_no_time() -> None:
    assert timeline(report(duration_s=0.0), 40, "utf-8").plain.splitlines()[-1].endswith("0.0 s")
