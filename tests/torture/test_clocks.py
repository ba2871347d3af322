"""The wall clock goes forward by fifteen days and back by an hour, while streams begin, live and end."""

from __future__ import annotations

from pathlib import Path

import clock
import clocks
import pytest
from outcome import say


@pytest.mark.system
@pytest.mark.timeout(180)
def test_a_wall_clock_that_is_put_forward_and_back_has_no_effect(tmp_path: Path) -> None:
    outcomes = clocks.run(tmp_path, steps=(clocks.DAYS_S, -clocks.HOUR_S), streams=2, say=say)
    assert [one.problems for one in outcomes] == [[]] * len(outcomes)
    assert [one.verdict for one in outcomes] == ["kept"] * 5


def test_without_libfaketime_the_table_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "PLACES", (str(tmp_path),))
    (outcome,) = clocks.run(tmp_path, say=say)
    assert outcome.verdict == "not run"
    assert "apt-get install libfaketime" in outcome.problems[0]
