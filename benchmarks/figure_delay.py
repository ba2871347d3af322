"""P9: from a message's arrival in the kernel to a sink's hands.

On the loopback a message arrives when it is sent. When that was due is known; how late it was sent is in the figure.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np

import servers
from bench_run import Bench
from load import Load, Report, run
from programs import HERE
from recorded import FRAME
from row import Row, missing, verdict

STREAMS = 200
ASKED_S = {None: 0.150, 20: 0.060}


def delays(root: Path, report: Report) -> np.ndarray:
    """Seconds, one for each message of the measured window."""
    found: list[np.ndarray] = []
    units = report.streams * report.tracks
    first = report.frames - round(report.window_s / report.period_s)
    for path in root.glob("*/*/delays.csv"):
        facts = json.loads((path.parent / "stream.json").read_text())
        index = int(facts["parameters"]["number"])
        for line in path.read_text().splitlines():
            at, track, start, end = line.split(",")
            place = index + ("inbound", "outbound").index(track) * report.streams
            frames = np.arange(int(start) // FRAME, int(end) // FRAME)
            due = report.t0 + report.period_s * (frames + place / units)
            found.append(float(at) - due[frames >= first])
    return np.concatenate(found) if found else np.zeros(0)


def figure(bench: Bench) -> list[Row]:
    """Both settings."""
    rows = []
    for latency_ms, asked_s in ASKED_S.items():
        what = f"ms to the sink, {'default latency' if latency_ms is None else f'latency_ms = {latency_ms}'}"
        asked = f"p99 ≤ {asked_s * 1000:.0f}"
        settings = {"server": {"latency_ms": latency_ms}} if latency_ms else {}
        for _ in range(max(3, bench.rounds)):
            with tempfile.TemporaryDirectory(prefix="bench-") as place:
                folder = Path(place)
                with servers.receiver(folder, settings, sinks={"delay": HERE / "delay_sink.py"}) as server:
                    report = run(bench.programs["load"], server, Load(STREAMS, 1, bench.seconds, bench.warm))
                    problem = report.problem
                # The server has ended, so every sink has.
                seconds = delays(folder / "recordings", report)
            if problem is None:
                break
        expected = report.messages_in_window
        if problem or len(seconds) < 0.99 * expected:
            rows.append(
                missing("P9", what, asked, problem or f"{len(seconds)} of {expected} messages came to the sink")
            )
            continue
        p50, p99, worst = (float(np.quantile(seconds, share)) for share in (0.5, 0.99, 1.0))
        got = f"p50 {p50 * 1000:.0f}, p99 {p99 * 1000:.0f}, worst {worst * 1000:.0f}"
        values = {"p50_s": p50, "p99_s": p99, "worst_s": worst}
        bench.say(f"{what}: {got}")
        rows.append(Row("P9", what, asked, got, verdict(p99 <= asked_s), values))
    return rows
