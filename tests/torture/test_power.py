"""A short call under strace, and the power cut at some of its moments."""

from __future__ import annotations

from pathlib import Path

import power
import pytest
from disk import Luck
from outcome import say


@pytest.mark.system
@pytest.mark.timeout(240)
def test_after_a_power_cut_every_file_can_be_read(tmp_path: Path) -> None:
    outcome = power.run(tmp_path, seconds=2.0, stride=25, seed=1, say=say, asked_s=60.0)
    assert outcome.problems == []
    assert outcome.verdict == "kept"
    assert outcome.trials > 100
    assert set(outcome.values["lost_ms"]) == {luck.value for luck in Luck}
