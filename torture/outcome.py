"""What a kind of torture came to: a line of the table, and what stands in the file of results."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Say = Callable[[str], None]
Verdict = Literal["kept", "missed", "not run"]


class CannotRun(Exception):
    """What this machine lacks, in one sentence."""


@dataclass(frozen=True)
class Outcome:
    """One line. ``problems`` are all that went wrong, each with what is needed to have it again."""

    kind: str
    what: str
    trials: int
    asked: str
    worst: str
    verdict: Verdict
    problems: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)


def verdict(kept: bool) -> Verdict:
    """The word for it."""
    return "kept" if kept else "missed"


def not_run(kind: str, what: str, why: object) -> Outcome:
    """A line for what this machine cannot do."""
    return Outcome(kind, what, 0, "", "", "not run", [str(why)])


def distribution(values: Sequence[float]) -> dict[str, float]:
    """Of figures: how many, and where they lie."""
    if not values:
        return {"count": 0}
    cuts = statistics.quantiles(values, n=100, method="inclusive") if len(values) > 1 else [values[0]] * 99
    named = {"p50": cuts[49], "p90": cuts[89], "p99": cuts[98], "max": max(values)}
    return {"count": len(values), **{name: round(value, 3) for name, value in named.items()}}


def table(outcomes: Sequence[Outcome]) -> str:
    """All lines, in columns as wide as they need, and the problems below."""
    lines = [("kind", "what", "trials", "asked", "worst", "verdict")]
    lines += [(one.kind, one.what, str(one.trials), one.asked, one.worst, one.verdict) for one in outcomes]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    text.insert(1, "  ".join("-" * width for width in widths))
    text += [f"   {one.kind}: {problem}" for one in outcomes for problem in one.problems]
    return "\n".join(text)


def say(text: str) -> None:
    """Tell how far it is."""
    print(f"  {text}", file=sys.stderr, flush=True)
