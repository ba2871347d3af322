"""The table."""

from __future__ import annotations

from row import Row, missing, table, verdict


def test_what_is_missed_is_said_plainly() -> None:
    rows = [
        Row("P1", "speed", "≤ 1", "2", verdict(False), note="too slow"),
        Row("P4", "size", "≤ 5", "4", verdict(True)),
    ]
    lines = table(rows).splitlines()
    assert lines[2].split() == ["P1", "speed", "≤", "1", "2", "missed"]
    assert lines[3].endswith("met")
    assert lines[4] == "   P1 speed: too slow"


def test_what_could_not_be_measured_is_neither_met_nor_missed() -> None:
    assert "not measured" in table([missing("P2", "against another", "≤ 1/20", "it is not installed")])
