"""P1, P2, P7 and what captures cost: processor time per message of one server, and of the others in the same run."""

from __future__ import annotations

from bench_run import Bench
from programs import CannotMeasure
from row import Row, missing, verdict

COMPARED = (200, 400, 800)
GROWTH = (50, 100, 200, 400, 800, 1600, 2000)
PIPECAT_STREAMS = 80  # more do not fit on its core
NOISE = 1.1


def against_c(bench: Bench) -> list[Row]:
    """P1: the full job against the floor and against the same job in C."""
    rows = []
    for streams in COMPARED:
        for _ in range(bench.rounds):
            for name in ("floor", "job", "receiver"):
                bench.cost(name, streams)
        floor, job, ours = (bench.costs[f"{name} {streams}"] for name in ("floor", "job", "receiver"))
        rows.append(
            Row(
                "P1",
                f"µs per message, {streams} one-track streams",
                "≤ 1.5 × floor, ≤ 1.0 × C job",
                f"{ours:.1f} = {ours / floor:.2f} × {floor:.1f}, {ours / job:.2f} × {job:.1f}",
                verdict(ours <= 1.5 * floor and ours <= job),
                {"receiver": ours, "floor": floor, "job": job},
            )
        )
    return rows


def against_python(bench: Bench) -> list[Row]:
    """P2: the full job against the obvious Python receiver, and against pipecat where it is installed."""
    rows = []
    for other, streams, share in (("obvious", 200, 4), ("pipecat", PIPECAT_STREAMS, 20)):
        what, asked = f"µs per message against {other}, {streams} streams", f"≤ 1/{share}"
        try:
            for _ in range(bench.rounds):
                theirs, ours = bench.cost(other, streams), bench.cost("receiver", streams)
        except CannotMeasure as error:
            rows.append(missing("P2", what, asked, error))
            continue
        values = {"receiver": ours, other: theirs}
        got = f"{ours:.1f} = 1/{theirs / ours:.1f} of {theirs:.1f}"
        rows.append(Row("P2", what, asked, got, verdict(ours * share <= theirs), values))
    return rows


def growth(bench: Bench) -> list[Row]:
    """P7: the cost per message from few streams to many."""
    costs: dict[int, float] = {}
    notes = []
    for streams in GROWTH:
        try:
            costs[streams] = bench.cost("receiver", streams)
        except CannotMeasure as error:
            notes.append(str(error))
    counts = list(costs)
    grew = [n for i, n in enumerate(counts) if i and costs[n] > NOISE * min(costs[m] for m in counts[:i])]
    if grew:
        notes.append(f"grew at {', '.join(map(str, grew))}")
    reached = not notes and bool(counts)
    return [
        Row(
            "P7",
            f"µs per message at {' / '.join(map(str, counts))} streams",
            "flat or falling",
            " / ".join(f"{cost:.1f}" for cost in costs.values()) or "-",
            verdict(reached),
            {str(streams): cost for streams, cost in costs.items()},
            "; ".join(notes),
        )
    ]


def captures(bench: Bench) -> list[Row]:
    """What keeping every message verbatim adds; no target."""
    plain = bench.cost("receiver", 400)
    kept = bench.cost("receiver", 400, settings={"captures": {"enabled": True}}, label="receiver with captures")
    values = {"without": plain, "with": kept}
    return [Row("", "captures on, 400 streams, µs more", "stated", f"+ {kept - plain:.1f} on {plain:.1f}", "", values)]
