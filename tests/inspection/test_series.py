from __future__ import annotations

from receiver.inspection.series import BUCKETS, FIRST_S, Series


def test_the_least_and_the_greatest_of_each_bucket_above_the_least_of_all() -> None:
    series = Series()
    for at, value in ((0.0, 5.0), (0.05, -1.0), (0.25, 3.0)):
        series.add(at, value)
    found = series.figures()
    assert (found.step_s, found.low, found.high) == (FIRST_S, [0.0, None, 4.0], [6.0, None, 4.0])


def test_buckets_double_when_time_goes_on() -> None:
    series = Series()
    for second in range(36_000):  # ten hours
        series.add(float(second), 100.0 if second == 20_000 else second % 7)
    found = series.figures()
    assert len(found.high) <= BUCKETS and found.step_s == FIRST_S * 2**11
    assert found.high[int(20_000 / found.step_s)] == 100
    assert set(found.low) == {0.0}
    assert found.step_s * len(found.high) >= 36_000


def test_a_time_before_the_start_counts_as_the_start() -> None:
    series = Series()
    series.add(-1.0, 2.0)
    assert series.figures().high == [0.0]
