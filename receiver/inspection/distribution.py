"""How values are spread: ends, percentiles and a histogram, in memory that does not grow with their number."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence

import msgspec

MAX_KEYS = 20_000
"""Different values that are told apart; beyond that they are counted twice as coarsely."""

STEP_MS = 0.1

EDGES_MS = (0, 1, 2, 5, 10, 15, 19, 21, 25, 30, 40, 60, 80, 100, 200, 500, 1000, 2000, 5000)
"""Where the bins of a histogram begin; the last has no end. Fixed, so that histograms compare; 20 ms is a packet."""


class Bin(msgspec.Struct, frozen=True):
    """A bar of a histogram: values from ``from_ms`` to below ``to_ms``; None: no end."""

    from_ms: int
    to_ms: int | None
    count: int


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds. Percentiles are exact to 0.1 ms, more coarsely where the values differ wildly."""

    count: int
    min: float
    median: float
    p95: float
    p99: float
    max: float
    mean: float
    histogram: list[Bin]  # from the first bin that is not empty to the last


class Distribution:
    """Takes milliseconds, one by one."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._step = STEP_MS
        self._count = 0
        self._sum = 0.0
        self._min = self._max = 0.0

    def add(self, value: float) -> None:
        """Take a value."""
        if not self._count:
            self._min = self._max = value
        elif value < self._min:
            self._min = value
        elif value > self._max:
            self._max = value
        self._count += 1
        self._sum += value
        self._counts[round(value / self._step)] += 1
        while len(self._counts) > MAX_KEYS:
            self._coarsen()

    def spread(self, *, above_least: bool = False) -> Spread | None:
        """What there is to say; None of nothing. ``above_least``: of how far values lie above the least of them."""
        if not self._count:
            return None
        zero = self._min if above_least else 0.0
        keys = sorted(self._counts)
        return Spread(
            count=self._count,
            min=_ms(self._min - zero),
            median=_ms(self._percentile(keys, 0.5) - zero),
            p95=_ms(self._percentile(keys, 0.95) - zero),
            p99=_ms(self._percentile(keys, 0.99) - zero),
            max=_ms(self._max - zero),
            mean=_ms(self._sum / self._count - zero),
            histogram=self._histogram(keys, zero),
        )

    def _percentile(self, keys: Sequence[int], share: float) -> float:
        """The least value that ``share`` of all are not above."""
        due = share * self._count
        seen = 0
        for key in keys:
            seen += self._counts[key]
            if seen >= due:
                return min(max(key * self._step, self._min), self._max)
        return self._max

    def _histogram(self, keys: Sequence[int], zero: float) -> list[Bin]:
        counts = [0] * len(EDGES_MS)
        for key in keys:
            value = round(min(max(key * self._step, self._min), self._max) - zero, 6)
            counts[max(bisect_right(EDGES_MS, value) - 1, 0)] += self._counts[key]
        filled = [index for index, count in enumerate(counts) if count]
        ends = [*EDGES_MS[1:], None]
        return [Bin(EDGES_MS[index], ends[index], counts[index]) for index in range(filled[0], filled[-1] + 1)]

    def _coarsen(self) -> None:
        self._step *= 2
        coarse: Counter[int] = Counter()
        for key, count in self._counts.items():
            coarse[key // 2] += count
        self._counts = coarse


def _ms(value: float) -> float:
    return round(value, 3) + 0.0
