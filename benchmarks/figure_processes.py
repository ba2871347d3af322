"""P10: two processes on one port: what a message costs then, and how evenly streams are shared.

Each process has as many streams as the one that they are compared with: more processes are there to carry more.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import servers
from bench_run import Bench
from load import Load, Phase, run
from receiver.config import Server as ServerSettings
from recorded import check
from row import Row, missing, verdict

PROCESSES = 2
STREAMS = 400
"""Of each process."""


def figure(bench: Bench) -> list[Row]:
    """Against one process under the same load."""
    what, asked = f"{PROCESSES} processes, {STREAMS} streams each, µs per message", "≤ 1.1 × one, shared ± 20 %"
    if "reuse_port" not in ServerSettings.model_fields:
        return [missing("P10", what, asked, "this version has no server.reuse_port")]
    one = bench.cost("receiver", STREAMS)
    best, shares, problem = float("inf"), [0.0], None
    for _ in range(max(2, bench.rounds)):
        with tempfile.TemporaryDirectory(prefix="bench-") as place:
            folder = Path(place)
            settings = {"server": {"reuse_port": True}, "limits": {"streams": PROCESSES * STREAMS}}
            with servers.receiver(folder, settings, processes=PROCESSES) as server:
                found: list[list[float]] = []

                def note(phase: Phase, server: servers.Server = server, found: list[list[float]] = found) -> None:
                    if phase["phase"] == "paced":
                        found.append([server.alone(i).metric("receiver_streams{") for i in range(PROCESSES)])

                report = run(
                    bench.programs["load"], server, Load(PROCESSES * STREAMS, 1, bench.seconds, bench.warm), note
                )
                problem = report.problem or check(folder / "recordings", report, sample=50).problem
        if problem is None and report.us_per_message < best:
            best, shares = report.us_per_message, found[0]
    if best == float("inf"):
        return [missing("P10", what, asked, problem)]
    off = max(abs(share - STREAMS) for share in shares) / STREAMS
    got = f"{best:.1f} = {best / one:.2f} × {one:.1f}, {' + '.join(f'{share:.0f}' for share in shares)}"
    values = {"processes": best, "one": one, "off": off}
    return [Row("P10", what, asked, got, verdict(best <= 1.1 * one and off <= 0.2), values)]
