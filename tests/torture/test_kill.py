"""A few kills of a few calls, in every phase. How much they cost is asserted by nobody here: machines are slow."""

from __future__ import annotations

import math
from pathlib import Path

import kill
import pytest
from outcome import say


def test_a_killed_server_leaves_files_that_are_exact_and_readable(tmp_path: Path) -> None:
    phases = [phase for phase in kill.PHASES if phase != "live"]
    outcome = kill.run(tmp_path, trials=3, streams=3, seed=1, say=say, phases=phases, asked_ms=math.inf, longest_s=1.0)
    assert outcome.problems == []
    assert outcome.verdict == "kept"
    assert outcome.values["lost_ms_of_track"]["count"] == 3 * 3 * 2
    assert [outcome.values["by_phase"][phase]["count"] for phase in phases] == [1, 1, 1]
    assert not list((tmp_path / "recordings").iterdir())  # nothing of a trial that went well is kept


def test_a_trial_that_loses_more_than_is_asked_says_so_and_how_to_have_it_again(tmp_path: Path) -> None:
    outcome = kill.run(tmp_path, trials=1, streams=2, seed=5, say=say, phases=["live"], asked_ms=-1, longest_s=1.0)
    assert outcome.verdict == "missed"
    assert outcome.problems[0].startswith("trial 0 (live, --seed 5): ")
    assert "ms were lost, the sender being" in outcome.problems[0]


@pytest.mark.parametrize("problems", [[], ["something"]])
def test_only_the_folder_of_a_trial_that_missed_stays(tmp_path: Path, problems: list[str]) -> None:
    folder = tmp_path / "recordings" / "trial-0007"
    folder.mkdir(parents=True)
    kill.keep_or_remove(kill.Trial(7, 1, "live", problems=problems), tmp_path)
    assert folder.exists() == bool(problems)
