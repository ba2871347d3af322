"""The command itself, and its table."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from outcome import CannotRun, Outcome, distribution, not_run, table, verdict

import torture

KEPT = Outcome("kill", "ms lost", 3, "≤ 150", "90", "kept", [], {"x": 1})
MISSED = Outcome("kill", "ms lost", 3, "≤ 150", "190", "missed", ["trial 2 (live, --seed 9): 190 ms were lost"])


def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["torture.py", "--folder", str(tmp_path), *arguments])
    monkeypatch.setattr(torture, "RESULTS", tmp_path / "results" / "torture.json")
    with pytest.raises(SystemExit) as ended:
        torture.main()
    return int(ended.value.code or 0)


def test_what_was_kept_is_told_and_written_with_machine_versions_and_date(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(torture.KINDS, "kill", lambda place, asked: [KEPT])
    assert run(monkeypatch, tmp_path, "--kinds", "kill", "--seed", "7", "--write") == 0
    assert "kill  ms lost  3       ≤ 150  90     kept" in capsys.readouterr().out
    written = json.loads((tmp_path / "results" / "torture.json").read_text())
    assert {"date", "machine", "system", "python", "versions", "seconds", "load_average_before"} <= written[
        "kill"
    ].keys()
    assert (written["kill"]["seed"], written["kill"]["outcomes"]) == (7, [vars(KEPT)])


def test_what_is_written_of_other_kinds_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for number, (kind, outcome) in enumerate([("kill", KEPT), ("power", KEPT), ("kill", MISSED)]):
        monkeypatch.setitem(torture.KINDS, kind, lambda place, asked, outcome=outcome: [outcome])
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.setattr(
            sys, "argv", ["torture.py", "--folder", str(folder), "--kinds", kind, "--seed", str(number), "--write"]
        )
        monkeypatch.setattr(torture, "RESULTS", tmp_path / "torture.json")
        with pytest.raises(SystemExit):
            torture.main()
    written = json.loads((tmp_path / "torture.json").read_text())
    assert {kind: (run["seed"], run["outcomes"][0]["verdict"]) for kind, run in written.items()} == {
        "kill": (2, "missed"),
        "power": (1, "kept"),
    }


def test_what_was_missed_fails_the_command_and_says_how_to_have_it_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(torture.KINDS, "kill", lambda place, asked: [MISSED])
    assert run(monkeypatch, tmp_path, "--kinds", "kill") == 1
    out = capsys.readouterr().out
    assert "trial 2 (live, --seed 9): 190 ms were lost" in out
    assert f"What went wrong lies below {tmp_path}" in out
    assert not (tmp_path / "results").exists()


def test_what_a_machine_cannot_do_is_told_and_no_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def cannot(place: Path, asked: object) -> list[Outcome]:
        raise CannotRun("strace is needed")

    monkeypatch.setitem(torture.KINDS, "power", cannot)
    assert run(monkeypatch, tmp_path, "--kinds", "power") == 0
    out = capsys.readouterr().out
    assert "not run" in out and "power: strace is needed" in out


def test_a_table_has_a_line_for_each_and_the_problems_below() -> None:
    lines = table([KEPT, not_run("ends", "black hole", "needs root")]).splitlines()
    assert [line.split()[0] for line in lines] == ["kind", lines[1].split()[0], "kill", "ends", "ends:"]
    assert (verdict(True), verdict(False)) == ("kept", "missed")


def test_a_distribution_says_where_figures_lie() -> None:
    assert distribution([]) == {"count": 0}
    assert distribution([3.0]) == {"count": 1, "p50": 3.0, "p90": 3.0, "p99": 3.0, "max": 3.0}
    assert distribution([float(n) for n in range(101)])["p90"] == 90.0
