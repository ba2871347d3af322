"""P3: live two-track calls on one core, none of their messages lost, and how far the growing files are behind."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

import servers
from bench_run import Bench
from load import Load, Phase, Report, run
from recorded import FRAME, HEADER, Recorded, check, frames_of, samples_of
from row import Row, missing, verdict

CALLS = (1000, 900, 800, 600, 400, 200)
BEHIND_S = 0.3
WATCHED = 60
EVERY_S = 0.1


class Behind:
    """Looks at growing files, and notes for how long the oldest missing message of each has been on its way."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.seconds: list[float] = []

    def on_phase(self, phase: Phase) -> None:
        """Begin with the pacing, and end with it."""
        if phase["phase"] == "pacing":
            self._thread = threading.Thread(target=self._watch, args=(phase["t0"], phase["streams"]))
            self._thread.start()
        elif phase["phase"] == "paced":
            self._stop.set()
            if self._thread:
                self._thread.join()

    def _watch(self, t0: float, streams: int) -> None:
        # What is written during the warm-up is not counted, but says whose file it is: its frames carry their unit.
        self._stop.wait(t0 + 1.5 - time.monotonic())
        parts = sorted(self._root.glob("*/*/*.wav.part"))
        watched = []
        for path in random.Random(1).sample(parts, min(WATCHED, len(parts))):
            _, units = frames_of(samples_of(path)[:FRAME])
            if len(units) and units[0] >= 0:
                watched.append((path, int(units[0]), 2 * streams))
        while not self._stop.wait(EVERY_S):
            for path, unit, units_in_all in watched:
                frames = (path.stat().st_size - HEADER) // (2 * FRAME)
                now = time.monotonic()
                place = unit // 2 + unit % 2 * streams  # in the order in which a period's messages are sent
                due = t0 + 0.02 * (frames + place / units_in_all)  # of the first message that is not in the file
                self.seconds.append(max(0.0, now - due))


def carried(bench: Bench, calls: int, seconds: float) -> tuple[Report, Recorded, list[float]]:
    """One run with so many two-track calls; everything that was recorded is read back."""
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        folder = Path(place)
        with servers.receiver(folder, {"limits": {"streams": calls + 100}}) as server:
            behind = Behind(folder / "recordings")
            report = run(bench.programs["load"], server, Load(calls, 2, seconds, 3.0), behind.on_phase)
            found = Recorded(problem=report.problem) if report.problem else check(folder / "recordings", report)
    return report, found, behind.seconds


def figure(bench: Bench) -> list[Row]:
    """The most calls of a falling list that are carried whole."""
    notes = []
    asked = f"{CALLS[0]}, none lost, ≤ {BEHIND_S * 1000:.0f} ms behind"
    for calls in CALLS:
        for _ in range(bench.rounds):
            report, found, behind = carried(bench, calls, bench.seconds)
            late = float(np.quantile(behind, 0.99)) if behind else float("nan")
            problem = found.problem
            bench.say(
                f"{calls} calls: {report.us_per_message:.1f} µs, {report.core_share:.0%} of a core, "
                f"{late * 1000:.0f} ms behind, {problem or 'nothing lost'}"
            )
            if problem is None and late <= BEHIND_S:
                break
        else:
            notes.append(f"{calls}: {problem or f'{late * 1000:.0f} ms behind'}")
            continue
        got = f"{calls}, {report.us_per_message:.1f} µs, {report.core_share:.0%} of a core, {late * 1000:.0f} ms behind"
        values = {
            "calls": calls,
            "us_per_message": report.us_per_message,
            "core": report.core_share,
            "behind_p99_s": late,
            "messages_per_s": report.messages_in_window / report.window_s,
            "generator_us_per_message": report.sending_s / report.messages_in_window * 1e6,
        }
        return [
            Row(
                "P3",
                "live two-track calls on one core",
                asked,
                got,
                verdict(calls == CALLS[0]),
                values,
                "; ".join(notes),
            )
        ]
    return [missing("P3", "live two-track calls on one core", asked, "; ".join(notes))]
