"""Rotation: where on the timeline a track's file is continued in the next one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite

from .format import HEADER_BYTES, SAMPLE_BYTES

SEGMENT_S = 3600.0
"""What is finished can be listened to, encoded and taken away while the call goes on."""

SEGMENT_BYTES = 2**30
"""A quarter of what a WAV header can say: an hour of stereo at 48 kHz has 691 MB."""

LEAST_S = 1.0
LEAST_BYTES = 2**16
NEVER = 2**62


@dataclass(frozen=True, slots=True)
class Rotation:
    """Cuts every track at multiples of one length, so that both sides of a call are cut at the same sample.

    ``channels`` are those of the widest file that the layout makes; 0 seconds or bytes are no bound.
    """

    segment_s: float = SEGMENT_S
    segment_bytes: int = SEGMENT_BYTES
    channels: int = 2

    def length(self, rate: int) -> int:
        """How many samples of a track lie between two cuts: at least one."""
        lengths = [NEVER]
        if self.segment_s:
            lengths.append(round(self.segment_s * rate))
        if self.segment_bytes:
            lengths.append((self.segment_bytes - HEADER_BYTES) // (self.channels * SAMPLE_BYTES))
        return max(min(lengths), 1)

    def period(self, position: int, rate: int) -> int:
        """Between which two cuts a sample lies, from 0."""
        return position // self.length(rate)


def problems(segment_s: float, segment_bytes: int) -> Iterator[tuple[str, str]]:
    """Options that cannot be meant, each with what is wrong."""
    if segment_s and not (isfinite(segment_s) and segment_s >= LEAST_S):
        yield "segment_s", f"must be at least {LEAST_S:g}, or 0 for never"
    if segment_bytes and segment_bytes < LEAST_BYTES:
        yield "segment_bytes", f"must be at least {LEAST_BYTES}, or 0 for never"
