"""P5: memory of one more live two-track stream, and of one more connection that says nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

import servers
from bench_run import Bench
from load import Load, Phase, run
from machine import rss_bytes
from programs import CannotMeasure
from row import Row, verdict

KIB = 1024
FEW, MANY = 100, 500  # what a process takes once for all is in both
IDLE_FEW, IDLE_MANY = 200, 1000


def rss(bench: Bench, load: Load, at: str) -> int:
    """Memory of a new server under a load, at the end of a phase."""
    found: list[int] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        settings = {"limits": {"streams": 2000, "start_timeout_s": 120}}
        with servers.receiver(Path(place), settings) as server:

            def note(phase: Phase) -> None:
                if phase["phase"] == at:
                    found.append(rss_bytes(server.pids[0]))

            report = run(bench.programs["load"], server, load, note)
    if report.cut or report.failed or report.refused:
        raise CannotMeasure(report.error)
    return found[0]


def live(bench: Bench) -> float:
    """Bytes per live two-track stream."""
    few, many = (rss(bench, Load(streams, 2, 4.0, 2.0), "paced") for streams in (FEW, MANY))
    return (many - few) / (MANY - FEW)


def idle(bench: Bench, *more: str) -> float:
    """Bytes per connection that was let in and sends no media."""
    few, many = (
        rss(bench, Load(0, 1, 2.0, 0.0, ("--idle", str(number), "--nap-us", "1000", *more)), "paced")
        for number in (IDLE_FEW, IDLE_MANY)
    )
    return (many - few) / (IDLE_MANY - IDLE_FEW)


def figure(bench: Bench) -> list[Row]:
    """All three, in KiB."""
    rows = []
    for what, most, size in (
        ("KiB per live two-track stream, wav on", 64, live(bench)),
        ("KiB per idle authenticated connection", 24, idle(bench)),
        ("KiB per started stream without media", None, idle(bench, "--say-start")),
    ):
        kib = size / KIB
        asked = f"≤ {most}" if most else "stated"
        rows.append(Row("P5", what, asked, f"{kib:.1f}", verdict(kib <= most) if most else "", {"kib": kib}))
    return rows
