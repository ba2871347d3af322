"""Spaces out what a capture says was read together: by its media's timestamps, as it was once sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from receiver.captures.capture import Batch, Entry
from receiver.dialects.dialect import Data
from receiver.simulate.fields import read_fields


def spaced(entries: Iterable[Entry], resolution_ms: int) -> Iterator[tuple[float, Data]]:
    """Every message of a capture with its due time: seconds after the first message, never decreasing.

    The last of those read together is due when they were read, and the others before it by the difference of their
    timestamps to the last one of their track; what has none goes with the one behind it. None is due before the
    batch before, nor more than ``resolution_ms`` before its own. Withheld messages are left out.
    """
    origin: float | None = None
    before = 0.0
    for entry in entries:
        if not isinstance(entry, Batch):
            continue
        data = [one for one in entry.data if not isinstance(one, int)]
        at = max(before, entry.at)
        for due, one in zip(_due(data, at, max(before, at - resolution_ms / 1000)), data, strict=True):
            if origin is None:
                origin = due
            yield round(due - origin, 6), one
        before = at


def _due(data: list[Data], at: float, earliest: float) -> list[float]:
    """When each of some messages is due that were read together at ``at``, and sent after ``earliest``."""
    due = [at] * len(data)
    if len(data) < 2 or earliest >= at:
        return due
    last_ms: dict[str, int] = {}
    next_due = at
    for i in range(len(data) - 1, -1, -1):
        fields = read_fields(data[i])
        if fields.stamp_ms is not None:
            back_ms = last_ms.setdefault(fields.track, fields.stamp_ms) - fields.stamp_ms
            next_due = max(earliest, min(next_due, at - back_ms / 1000))
        due[i] = next_due
    return due
