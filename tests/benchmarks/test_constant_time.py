"""What the statistics are made of; what they say of this machine is not a test's to judge."""

from __future__ import annotations

import constant_time
import pytest


def test_two_classes_that_are_apart_are_seen_and_two_that_are_not_are_not() -> None:
    apart = constant_time.welch_t([10, 11, 9, 10] * 100, [12, 11, 13, 12] * 100)
    assert apart < -constant_time.LEAK_T
    assert constant_time.welch_t([10, 11, 9, 10] * 100, [10, 9, 11, 10] * 100) == 0


def test_all_three_are_measured_by_class(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(constant_time, "SAMPLES", 1000)
    assert constant_time.main() in (0, 1)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed[:3]] == ["compared", "refused", "stops_early"]


def test_the_tokens_are_as_far_apart_as_they_are_said_to_be() -> None:
    shared = [one == other for one, other in zip(constant_time.NEAR, constant_time.TOKEN, strict=True)]
    assert shared == [True] * (len(shared) - 1) + [False]
    assert not any(one == other for one, other in zip(constant_time.FAR, constant_time.TOKEN, strict=True))
