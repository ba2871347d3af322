"""One line of the table: what was asked, what was got, and whether that is enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["met", "missed", "not measured", ""]


@dataclass(frozen=True)
class Row:
    """``figure`` is the number under which it was asked for; without a verdict it is there to compare with."""

    figure: str
    what: str
    asked: str
    got: str
    verdict: Verdict = ""
    values: dict[str, float] = field(default_factory=dict)
    note: str = ""


def verdict(met: bool) -> Verdict:
    """The word for it."""
    return "met" if met else "missed"


def missing(figure: str, what: str, asked: str, why: object) -> Row:
    """A line for what could not be measured here."""
    return Row(figure, what, asked, "-", "not measured", note=str(why))


def table(rows: Sequence[Row]) -> str:
    """All rows as text, in columns as wide as they need."""
    lines = [("", "figure", "asked", "got", ""), *((r.figure, r.what, r.asked, r.got, r.verdict) for r in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    text.insert(1, "  ".join("-" * width for width in widths))
    text += [f"   {row.figure} {row.what}: {row.note}" for row in rows if row.note]
    return "\n".join(text)
