from __future__ import annotations

import random

import numpy as np
import pytest

from receiver.inspection import distribution
from receiver.inspection.distribution import Bin, Distribution, Spread


def spread(*values: float, above_least: bool = False) -> Spread:
    distribution = Distribution()
    for value in values:
        distribution.add(value)
    found = distribution.spread(above_least=above_least)
    assert found is not None
    return found


def test_nothing_has_no_spread() -> None:
    assert Distribution().spread() is None


def test_the_figures_of_a_few_values_are_theirs() -> None:
    found = spread(20, 20, 20, 20, 40, 0.4)
    assert (found.count, found.min, found.median, found.p95, found.p99, found.max) == (6, 0.4, 20, 40, 40, 40)
    assert found.mean == 20.067
    assert [one for one in found.histogram if one.count] == [Bin(0, 1, 1), Bin(19, 21, 4), Bin(40, 60, 1)]
    assert [one.from_ms for one in found.histogram] == [0, 1, 2, 5, 10, 15, 19, 21, 25, 30, 40]


def test_above_the_least_the_promptest_is_zero() -> None:
    found = spread(-7.5, -7.5, 2.5, above_least=True)
    assert (found.min, found.median, found.max, found.mean) == (0, 0, 10, 3.333)
    assert found.histogram == [Bin(0, 1, 2), Bin(1, 2, 0), Bin(2, 5, 0), Bin(5, 10, 0), Bin(10, 15, 1)]


def test_the_last_bin_has_no_end_and_the_first_takes_what_is_below_it() -> None:
    assert spread(99_999).histogram == [Bin(5000, None, 1)]
    assert spread(-3).histogram == [Bin(0, 1, 1)]


def test_many_values_are_as_exact_as_the_step() -> None:
    values = np.random.default_rng(1).exponential(20, 50_000)
    found = spread(*values)
    for name, share in (("median", 50), ("p95", 95), ("p99", 99)):
        assert getattr(found, name) == pytest.approx(float(np.percentile(values, share)), abs=0.1)
    assert sum(one.count for one in found.histogram) == 50_000
    assert found.max == round(values.max(), 3)


def test_memory_does_not_grow_with_how_different_values_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "MAX_KEYS", 100)
    many = Distribution()
    values = [random.Random(number).uniform(-1000, 1000) for number in range(20_000)]
    for value in values:
        many.add(value)
        assert len(many._counts) <= 100
    found = many.spread()
    assert found is not None
    assert found.count == 20_000 and found.min == round(min(values), 3) and found.max == round(max(values), 3)
    assert found.median == pytest.approx(float(np.median(values)), abs=40)
