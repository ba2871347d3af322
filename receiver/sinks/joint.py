"""A joint: several lanes become one, mixed or side by side.

All lanes are held to one position. It advances to where every lane has arrived. A lane more than the skew behind the
first is not waited for: it counts as silent there, and what it brings later for that time is cut and counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np

from receiver.sinks.lane import Audio, Span


class _Arrived:
    """What of one lane lies beyond the joint's position."""

    def __init__(self) -> None:
        self.spans: deque[Span] = deque()
        self.head = 0


class Joint:
    """Mixes all tracks (shape (n,)), or pairs inbound (left) with outbound (right) to shape (n, 2).

    A mix waits for a second track as long as the skew allows; a pair has no place for other tracks.
    """

    def __init__(self, how: Literal["mix", "pair"], skew: int) -> None:
        self._how = how
        self._skew = skew
        self._position = 0
        self._lanes = {"inbound": _Arrived(), "outbound": _Arrived()} if how == "pair" else {}
        self.late: dict[str, int] = {}
        """Samples of audio that came too late, by track."""

    def put(self, track: str, spans: Iterable[Span]) -> Iterator[Span]:
        """What a lane brought; the joint spans that are complete now."""
        lane = self._lanes.get(track)
        if lane is None:
            if self._how == "pair":
                return
            lane = self._lanes[track] = _Arrived()
        for length, audio in spans:
            late = min(max(self._position - lane.head, 0), length)
            lane.head += length
            if late and audio is not None:
                self.late[track] = self.late.get(track, 0) + late
            if late < length:
                lane.spans.append((length - late, None if audio is None else audio[late:]))
        heads = [lane.head for lane in self._lanes.values()]
        yield from self._advance(max(min(heads) if len(heads) > 1 else 0, max(heads) - self._skew))

    def finish(self) -> Iterator[Span]:
        """All that is left; the shorter lanes are silent to the end."""
        yield from self._advance(max((lane.head for lane in self._lanes.values()), default=0))

    def _advance(self, end: int) -> Iterator[Span]:
        lanes = list(self._lanes.values())
        while self._position < end:
            # as far as no lane changes between audio, gap and nothing
            length = min([end - self._position] + [lane.spans[0][0] for lane in lanes if lane.spans])
            self._position += length
            parts = [_cut(lane.spans, length) for lane in lanes]
            audible = [part for part in parts if part is not None]
            if not audible:
                yield length, None
            elif self._how == "pair":
                yield length, np.stack([np.zeros_like(audible[0]) if part is None else part for part in parts], axis=1)
            else:
                yield length, _mixed(audible)


def _cut(spans: deque[Span], length: int) -> Audio | None:
    """Take ``length``, which is no longer than the first span, off the front."""
    if not spans:
        return None
    had, audio = spans.popleft()
    if had > length:
        spans.appendleft((had - length, None if audio is None else audio[length:]))
    return None if audio is None else audio[:length]


def _mixed(parts: list[Audio]) -> Audio:
    """The sum, held within the range of the sample type."""
    if len(parts) == 1:
        return parts[0]
    if parts[0].dtype == np.float32:
        mixed: Audio = np.clip(np.sum(parts, axis=0), -1, 1)
    else:
        mixed = np.clip(np.sum(parts, axis=0, dtype=np.int32), -32768, 32767).astype(np.int16)
    return mixed
