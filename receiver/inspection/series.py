"""A value over time, as its least and greatest per bucket; the buckets double when time goes on."""

from __future__ import annotations

import math

import msgspec

BUCKETS = 256
FIRST_S = 0.1


class SeriesFigures(msgspec.Struct, frozen=True):
    """Milliseconds per ``step_s`` seconds since the start message; null where there was nothing."""

    step_s: float
    low: list[float | None]
    high: list[float | None]


class Series:
    """Takes values in the order of their times, which are seconds."""

    def __init__(self) -> None:
        self._step_s = FIRST_S
        self._low = [math.inf] * BUCKETS
        self._high = [-math.inf] * BUCKETS
        self._last = -1

    def add(self, at: float, value: float) -> None:
        """Take a value."""
        while (index := max(int(at / self._step_s), 0)) >= BUCKETS:
            self._double()
        if value < self._low[index]:
            self._low[index] = value
        if value > self._high[index]:
            self._high[index] = value
        if index > self._last:
            self._last = index

    def figures(self) -> SeriesFigures:
        """All of it, above the least value of all."""
        zero = min(self._low)
        low = [_above(value, zero) for value in self._low[: self._last + 1]]
        return SeriesFigures(self._step_s, low, [_above(value, zero) for value in self._high[: self._last + 1]])

    def _double(self) -> None:
        empty = BUCKETS // 2
        self._low = [min(self._low[i : i + 2]) for i in range(0, BUCKETS, 2)] + [math.inf] * empty
        self._high = [max(self._high[i : i + 2]) for i in range(0, BUCKETS, 2)] + [-math.inf] * empty
        self._step_s *= 2
        self._last //= 2


def _above(value: float, zero: float) -> float | None:
    return round(value - zero, 3) + 0.0 if math.isfinite(value) else None
