"""P6: handshakes accepted per second on one core, while running streams lose nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

import servers
from bench_run import Bench
from load import Load, run
from recorded import check
from row import Row, verdict

ASKED = 1000
RUNNING = 100
AT_ONCE = 64


def figure(bench: Bench) -> list[Row]:
    """As many as it takes; each is closed again at once."""
    more = ("--storm", "5000", "--storm-inflight", str(AT_ONCE))
    best, what = None, f"handshakes per second, {RUNNING} streams running"
    for _ in range(max(2, bench.rounds)):
        with tempfile.TemporaryDirectory(prefix="bench-") as place:
            folder = Path(place)
            with servers.receiver(folder, {"limits": {"streams": 2000}}) as server:
                before = server.metrics()
                report = run(bench.programs["load"], server, Load(RUNNING, 1, 5.0, 1.0, more))
                lag_s = server.lag_p99_s(before)
                problem = report.problem or check(folder / "recordings", report).problem
        away = report.refused + report.failed
        problem = problem or (f"{away} turned away ({report.error})" if away else None)
        share = f"{report.core_share:.0%} of a core"
        bench.say(f"{report.storm_per_s:.0f} handshakes per second, {share}, {problem or 'nothing lost'}")
        if best is None or (not problem, report.storm_per_s) > (not best[1], best[0].storm_per_s):
            best = report, problem, lag_s
    assert best is not None
    report, problem, lag_s = best
    got = f"{report.storm_per_s:.0f}, p99 {report.handshake_p99_s * 1000:.0f} ms, {AT_ONCE} at once"
    values = {"per_s": report.storm_per_s, "p50_s": report.handshake_p50_s, "p99_s": report.handshake_p99_s}
    values["loop_lag_p99_s"] = lag_s
    met = not problem and report.storm_per_s >= ASKED
    note = problem or f"the sockets' loop woke at most {lag_s * 1000:.0f} ms late meanwhile (p99)"
    return [Row("P6", what, f"≥ {ASKED}, none harmed", got, verdict(met), values, note)]
