"""The kind of torture that has thousands of conversations: a few of them."""

from __future__ import annotations

from pathlib import Path

import accounting
import pytest
from outcome import CannotRun


@pytest.mark.system  # a pytest within a pytest: once is enough
def test_some_conversations_are_accounted_for(tmp_path: Path) -> None:
    said: list[str] = []
    (outcome,) = accounting.run(tmp_path, conversations=3, say=said.append)
    assert (outcome.verdict, outcome.trials, outcome.problems) == ("kept", 3, [])
    assert said == ["3 conversations"]


def test_what_is_not_accounted_for_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    test = tmp_path / "test_failing.py"
    test.write_text("def test_it() -> None:\n    raise ValueError('a sample is gone')\n")
    monkeypatch.setattr(accounting, "TEST", test)
    (outcome,) = accounting.run(tmp_path, conversations=1, say=lambda text: None)
    assert outcome.verdict == "missed"
    assert outcome.problems == [f"see {tmp_path / 'accounting.log'}", "ValueError: a sample is gone"]


def test_without_the_tests_it_cannot_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounting, "TEST", tmp_path / "nothing")
    with pytest.raises(CannotRun, match="as it is in its repository"):
        accounting.run(tmp_path, conversations=1, say=lambda text: None)
