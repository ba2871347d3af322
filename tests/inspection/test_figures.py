from __future__ import annotations

from pathlib import Path
from types import ModuleType

from receiver.inspection.figures import rows


def test_a_row_for_each_figure_and_a_column_for_each_track(lab: ModuleType, tmp_path: Path) -> None:
    found = rows(lab.report(lab.whole(tmp_path)).tracks)
    assert len({name for name, _ in found}) == len(found)
    said = dict(found)
    assert said["duration, s"] == ["1.00", "0.80"]
    assert said["media messages"] == ["48", "40"] and said["payload, bytes"] == ["15360", "12800"]
    assert said["packet, ms"] == ["20", "20"]
    assert said["spacing, ms: median"] == ["20.0", "20.0"]
    assert said["spacing, ms: least - most"] == ["0.4 - 80.0", "20.0 - 20.0"]
    assert said["jitter (RFC 3550), ms"][1] == "3.0, at most 4.7"
    assert said["delay, ms: p95, p99"] == ["0.0, 0.4", "20.0, 40.0"]
    assert said["chunks"] == ["1 - 50", "1 - 40"] and said["chunks skipped, times"] == ["3, 1", "1, 1"]
    assert said["received"] == ["48", "40"] and said["  duplicate"] == ["1", "0"]
    assert said["reordered"] == ["", "1"]
    assert said["gaps"] == ["1", "0"] and said["  lost, s"] == ["0.060", ""]
    assert said["peak, dBFS"] == ["-30.3", "-0.2"] and said["above -45 dBFS"] == ["100%", "100%"]
    assert said["audio from"] == ["capture", "capture"]


def test_without_a_capture_there_is_nothing_of_packets(lab: ModuleType, tmp_path: Path) -> None:
    said = dict(rows(lab.report(lab.finish(lab.recorded(tmp_path))).tracks))
    assert not any(name.startswith(("spacing", "jitter", "media")) for name in said)
    assert said["audio from"] == ["nowhere: there is no file"]


def test_silence_and_other_lengths(lab: ModuleType, tmp_path: Path) -> None:
    path = lab.capture(tmp_path / "a.jsonl", [*lab.opening(), (0.1, lab.media(1, level=0)), lab.END])
    said = dict(rows(lab.report(path).tracks))
    assert (said["peak, dBFS"], said["above -45 dBFS"]) == (["silence"], ["0%"])
    assert "spacing, ms: median" not in said  # of a single message
