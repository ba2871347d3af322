"""Putting what an engine heard where it belongs: within what it was fed."""

from __future__ import annotations

from ..engine import Heard, Word


def placed(heard: Heard, begin: int, end: int) -> Heard:
    """The same, moved by ``begin``, and kept between ``begin`` and ``end``: engines round."""

    def at(position: int) -> int:
        return min(max(begin + position, begin), end)

    words = tuple(
        Word(word.text, at(word.start), at(max(word.end, word.start)), word.confidence) for word in heard.words
    )
    return Heard(heard.text, heard.final, at(heard.start), at(max(heard.end, heard.start)), words)


def newest(heard: list[Heard]) -> list[Heard]:
    """The finals, and the partial that nothing came after."""
    return [one for at, one in enumerate(heard) if one.final or at == len(heard) - 1]
