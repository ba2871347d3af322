"""A line of a transcript: what was said in a span of a track, as ``transcript.jsonl`` and annotations have it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from .engine import RATE, Word


class SaidWord(msgspec.Struct, frozen=True):
    """A word: samples at the line's rate, on the stream's timeline."""

    text: str
    start: int
    end: int
    confidence: float | None


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was said, or why that is not known. Positions are samples at ``rate``, on the stream's timeline."""

    track: str
    start: int
    end: int
    rate: int
    start_s: float
    end_s: float
    utterance: int  # counted per track, from 1
    final: bool
    text: str
    words: tuple[SaidWord, ...]
    error: str | None = None  # why the span is not transcribed

    def data(self) -> dict[str, Any]:
        """What an annotation of the span says of it."""
        told: dict[str, Any] = msgspec.to_builtins(self)
        return {name: value for name, value in told.items() if name not in ("track", "start", "end", "rate")}


def line(
    track: str,
    rate: int,
    span: tuple[int, int],
    *,
    utterance: int,
    final: bool = True,
    text: str = "",
    words: Sequence[Word] = (),
    error: str | None = None,
) -> Line:
    """A line of a span of samples at 16 kHz, on the stream's timeline, as are the words'.

    At the track's own ``rate`` a position is that of the nearest sample, the later one of two.
    """
    start, end = (at_rate(position, rate) for position in span)
    return Line(
        track=track,
        start=start,
        end=end,
        rate=rate,
        start_s=round(start / rate, 3),
        end_s=round(end / rate, 3),
        utterance=utterance,
        final=final,
        text=sayable(text),
        words=tuple(
            SaidWord(sayable(word.text), at_rate(word.start, rate), at_rate(word.end, rate), word.confidence)
            for word in words
        ),
        error=error,
    )


def at_rate(position: int, rate: int) -> int:
    """A position at 16 kHz as one at another rate: the nearest, in whole numbers, so that no length makes it wrong."""
    return (2 * position * rate + RATE) // (2 * RATE)


def sayable(text: str) -> str:
    """Text on one line, without what no file in UTF-8 and no terminal should get."""
    text = text.encode("utf-8", "replace").decode()
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
