"""The soak: calls that come and go for as long as you like, and what the server holds and loses meanwhile.

    python torture/soak.py [--minutes 1] [--streams 200] [--write]     # or: make soak SOAK_MINUTES=120

Two-track PCMU calls at the pace of real ones, of random lengths, ended in every way, a quarter of them with bad
messages; WAV files beside a sink that is too slow for all of them. Every file is compared with what was sent, to the
sample, and removed. Then a short run in asyncio's debug mode says what held the loop for more than 50 ms.

Exit code 1 if anything was lost, any call ended otherwise than it was to, anything is not given back in the end, or
memory grew: by more than 1 MiB an hour in runs of half an hour and more; shorter ones cannot tell, and only show it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from soak_check import FATES, Books
from soak_sender import VARIANTS
from voice import PERIOD_S, Voices
from watched import MIB, Watched

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from machine import described, load_average

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "soak.json"
SETTLE_S = 45.0
ROUND_S = 1.0
WARM_SHARE, WARM_MOST_S = 0.25, 300.0
"""Of a run, what memory is not judged by: caches fill, and the allocator takes what it will need."""

LONG_S = 1800.0
"""From this length on growth is judged."""

MOST_MIB_PER_HOUR = 1.0
TURN_S = 0.05
"""What a turn of the sweep may work. How long it takes on a busy machine is another matter."""

MOST_RECV_Q = 256 * 1024
SPARE_DESCRIPTORS = 4
SPARE_THREADS = 8
"""Pools that are filled when they are first needed."""

SLOW = re.compile(r"Executing (.*) took ([0-9.]+) seconds", re.DOTALL)
WAY = re.compile(r"/[^\s>']*/(?=[^/\s]+/[^/\s]+\.py)")
"""What of a file's path is this machine's: all but its folder and its name."""

BARS = "▁▂▃▄▅▆▇█"
CONFIG: Mapping[str, Mapping[str, object]] = {
    "sinks.wav": {"use": "wav"},
    "sinks.slow": {"use": str(HERE / "slow_sink.py"), "buffer_s": 2, "finish_timeout_s": 30},
}


@dataclass(frozen=True)
class Soak:
    """How much of it."""

    seconds: float
    streams: int
    shortest_s: float = 2.0
    longest_s: float = 40.0
    seed: int = 1

    def orders(self, served: Watched) -> str:
        """For the sender."""
        return json.dumps(
            {
                "port": served.address[1],
                "token": served.token,
                "streams": self.streams,
                "seconds": self.seconds,
                "shortest_s": self.shortest_s,
                "longest_s": self.longest_s,
                "seed": self.seed,
            }
        )


@dataclass
class Seen:
    """What was seen of the server, a value for each round."""

    at: list[float] = field(default_factory=list)
    rss: list[int] = field(default_factory=list)
    lag: list[float] = field(default_factory=list)  # upper bound of the worst in the round, seconds
    live: list[int] = field(default_factory=list)

    def slope(self, warm_s: float) -> tuple[float, float]:
        """MiB per hour of a straight line through the memory behind the warm-up, and its standard error."""
        points = [(at, rss) for at, rss in zip(self.at, self.rss, strict=True) if at >= warm_s]
        if len(points) < 3:
            return 0.0, float("inf")
        hours, mib = np.array([(at / 3600, rss / MIB) for at, rss in points]).T
        hours = hours - hours.mean()
        spread = float((hours**2).sum())
        slope = float((hours * mib).sum()) / spread
        rest = mib - mib.mean() - slope * hours
        return slope, float(np.sqrt((rest**2).sum() / (len(points) - 2) / spread))


@dataclass
class Outcome:
    """Of one run."""

    soak: Soak
    books: Books
    seen: Seen
    problems: list[str]
    values: dict[str, Any]


def worst_bucket(before: Mapping[str, float], after: Mapping[str, float], share: float = 1.0) -> float:
    """The bound below which that share of the loop's lags lie, of those between two scrapes; 0 without any."""
    grown = {
        float(key.split('"')[1]): value - before.get(key, 0.0)
        for key, value in after.items()
        if key.startswith("receiver_event_loop_lag_seconds_bucket")
    }
    most = max(grown.values(), default=0.0)
    return min((bound for bound, count in grown.items() if count >= share * most), default=0.0) if most else 0.0


@contextmanager
def sending(served: Watched, soak: Soak, books: Books) -> Iterator[subprocess.Popen[str]]:
    """The sender, once it has made its calls ready; what it says goes into the books as it comes."""
    command = [sys.executable, "-P", str(HERE / "soak_sender.py"), soak.orders(served)]
    environ = {**os.environ, "PYTHONPATH": str(HERE)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        lines = process.stdout
        reading = threading.Thread(target=lambda: [books.take(line) for line in lines])
        reading.start()
        yield process
        process.wait(60)
        reading.join()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def run(folder: Path, soak: Soak, *, debug: bool = False, show: bool = True) -> Outcome:
    """One run against a server of its own."""
    most = int(soak.longest_s / PERIOD_S)
    seen = Seen()
    with Watched(folder, CONFIG, probed=True, debug=debug).wait() as served:
        books = Books(served.root, {variant: Voices(variant, most) for variant in range(VARIANTS)})
        warm = Soak(1.0, 4, 0.3, 0.6, seed=0)  # what is made when it is first needed is made
        with sending(served, warm, books):
            pass
        problems = _settled(books, served, (1 << 20, 1 << 20, 1 << 20))
        base = served.descriptors(), served.threads(), served.tasks()
        starting = len(served.said())
        first = before = served.metrics()
        began = time.monotonic()
        with sending(served, soak, books) as sender:
            while sender.poll() is None:
                time.sleep(ROUND_S)
                after = served.metrics()
                seen.at.append(time.monotonic() - began)
                seen.rss.append(served.rss())
                seen.lag.append(worst_bucket(before, after))
                seen.live.append(int(sum(v for key, v in after.items() if key.startswith("receiver_streams{"))))
                before = after
                served.recv_q()
                books.look()
                if show and sys.stdout.isatty():
                    print(f"\r{seen.at[-1]:6.0f} s  {_line_of(seen, books)}   ", end="", flush=True)
        if show and sys.stdout.isatty():
            print()
        problems += _settled(books, served, base)
        end = served.descriptors(), served.threads(), served.tasks()
        last = served.metrics()
        probe = served.probe()
        for fate in FATES:
            if (counted := last[f"receiver_{fate}_frames_total"]) != books.fates[fate]:
                problems.append(f"the metric of {fate} frames says {counted:g}, the streams {books.fates[fate]}")
        if served.seen_recv_q > MOST_RECV_Q:
            problems.append(f"{served.seen_recv_q} bytes waited in a socket")
        code = served.stop()
        if code:
            problems.append(f"the server ended with {code}")
        said = served.said()
        errors = [line for line in said if line.get("level") in ("error", "critical")]
        problems += [f"the log has an error: {json.dumps(line)[:300]}" for line in errors[:5]]
        held = (SLOW.match(str(line["event"])) for line in said[starting:])
        slow = [(float(found[2]), WAY.sub("", found[1])[:300]) for found in held if found]
    values = {
        "seconds": round(soak.seconds, 1),
        "streams": soak.streams,
        "calls": books.checked,
        "ends": dict(books.ends),
        "messages": int(books.fates["received"]),
        "audio_mib": round(books.bytes / MIB, 1),
        "missed_by_the_slow_sink_s": round(books.dropped_s, 3),
        "descriptors": [base[0], end[0]],
        "threads": [base[1], end[1]],
        "tasks": [base[2], end[2]],
        "lag_p99_s": worst_bucket(first, last, 0.99),
        "lag_p999_s": worst_bucket(first, last, 0.999),
        "lag_worst_s": worst_bucket(first, last),
        "turn_worst_s": round(probe["turn_s"], 4),
        "turn_cpu_worst_s": round(probe["turn_cpu_s"], 4),
        "recv_q_worst": served.seen_recv_q,
        "sender_late_worst_s": round(books.late_s, 3),
        "held_the_loop": sorted(slow, reverse=True)[:20],
    }
    return Outcome(soak, books, seen, books.problems[:20] + problems, values)


def _settled(books: Books, served: Watched, base: tuple[int, int, int]) -> list[str]:
    """What is not as it was once everything is over, or once time is."""
    until = time.monotonic() + SETTLE_S
    spare = SPARE_DESCRIPTORS, SPARE_THREADS, 0
    names = "descriptors", "threads", "tasks"
    while True:
        books.look()
        now = served.descriptors(), served.threads(), served.tasks()
        problems = [
            f"{had} {name} before, {has} after"
            for name, had, has, more in zip(names, base, now, spare, strict=True)
            if has > had + more
        ]
        problems += [f"{len(books.waiting)} calls have no final files: {list(books.waiting)[:3]}"] * bool(books.waiting)
        problems += ["there are still live streams"] * bool(served.live())
        if not problems or time.monotonic() > until:
            return problems
        time.sleep(0.5)


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """A picture of a series in one line: the most of each piece of it. What has no bound is twice what has."""
    if not values:
        return ""
    bounded = max((value for value in values if np.isfinite(value)), default=0.0)
    series = np.nan_to_num(np.array(values, float), posinf=2 * bounded)
    pieces = np.array_split(series, min(width, len(values)))
    tops = np.array([piece.max() for piece in pieces])
    low, high = float(tops.min()), float(tops.max())
    scaled = (tops - low) / (high - low or 1) * (len(BARS) - 1)
    return "".join(BARS[round(float(bar))] for bar in scaled)


def in_ms(bound_s: float) -> str:
    """The bound of a bucket, for people; the last one has none."""
    return f"≤ {bound_s * 1000:g} ms" if np.isfinite(bound_s) else "beyond the last bucket (2.5 s)"


def _line_of(seen: Seen, books: Books) -> str:
    return f"{seen.rss[-1] / MIB:6.1f} MiB  {seen.live[-1]:4} live  {books.checked:6} calls checked"


def report(outcome: Outcome) -> list[str]:
    """For people."""
    seen, values = outcome.seen, outcome.values
    warm_s = min(outcome.soak.seconds * WARM_SHARE, WARM_MOST_S)
    slope, error = seen.slope(warm_s)
    behind = [rss for at, rss in zip(seen.at, seen.rss, strict=True) if at >= warm_s] or [0]
    values["rss_mib"] = [round(rss / MIB, 1) for rss in (behind[0], max(behind), behind[-1])]
    values["rss_mib_per_hour"] = [round(slope, 2), round(error, 2) if np.isfinite(error) else None]
    if values["turn_cpu_worst_s"] > TURN_S:
        outcome.problems.append(f"a turn of the sweep worked for {values['turn_cpu_worst_s'] * 1000:.0f} ms")
    if outcome.soak.seconds >= LONG_S and slope - 2 * error > MOST_MIB_PER_HOUR:
        outcome.problems.append(f"memory grows by {slope:.2f} MiB an hour")
    lines = [
        f"{outcome.soak.seconds / 60:.1f} minutes, {outcome.soak.streams} two-track streams at a time",
        f"  calls      {values['calls']}, {values['messages']} messages, {values['audio_mib']} MiB of audio compared",
        f"  ends       {', '.join(f'{count} {end}' for end, count in sorted(values['ends'].items()))}",
        f"  slow sink  missed {values['missed_by_the_slow_sink_s']} s, all of it counted",
        f"  memory     {seen.rss[0] / MIB:.1f} MiB at first, behind the warm-up {values['rss_mib'][0]}, "
        f"at the end {values['rss_mib'][2]}; {slope:+.2f} MiB/h (± {error:.2f})"
        if seen.rss
        else "  memory     was not seen",
        f"             {sparkline(seen.rss)}",
        f"  lag        p99 {in_ms(values['lag_p99_s'])}, p99.9 {in_ms(values['lag_p999_s'])}, "
        f"worst {in_ms(values['lag_worst_s'])}",
        f"             {sparkline(seen.lag)}",
        f"  sweep      at work for {values['turn_cpu_worst_s'] * 1000:.0f} ms in a turn at most, "
        f"for {values['turn_worst_s'] * 1000:.0f} ms with waiting",
    ]
    held = ("descriptors", "threads", "tasks")
    lines += [f"  {name:<12}{values[name][0]} before, {values[name][1]} after" for name in held]
    lines.append(
        f"  Recv-Q     {values['recv_q_worst']} bytes at most; the sender was {values['sender_late_worst_s']} s late"
    )
    return lines


def report_debug(outcome: Outcome) -> list[str]:
    """What held the loop, in debug mode."""
    held = outcome.values["held_the_loop"]
    lines = [f"{outcome.soak.seconds:.0f} s in debug mode: {len(held) or 'no'} callbacks above 50 ms"]
    return lines + [f"  {seconds:.3f} s  {what}" for seconds, what in held[:10]]


def main() -> int:
    """Run, print, write; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument(
        "--longest", type=float, default=None, help="seconds of the longest call (40, or a third of it)"
    )
    parser.add_argument("--debug-seconds", type=float, default=15.0, help="of the run in debug mode; 0: none")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=None, help="where recordings are made (a new one)")
    parser.add_argument("--write", action="store_true", help=f"keep the result in {RESULTS.parent.name}/{RESULTS.name}")
    asked = parser.parse_args()
    seconds = asked.minutes * 60
    longest = asked.longest or min(40.0, max(1.5, seconds / 3))
    soak = Soak(seconds, asked.streams, min(2.0, longest / 2), longest, asked.seed)
    busy = load_average()
    with tempfile.TemporaryDirectory(prefix="soak-", dir=asked.folder) as name:
        outcome = run(Path(name) / "long", soak)
        print("\n".join(report(outcome)), flush=True)
        problems = outcome.problems
        debug = None
        if asked.debug_seconds:
            short = Soak(asked.debug_seconds, asked.streams, 1.0, min(longest, asked.debug_seconds / 2), asked.seed + 1)
            debug = run(Path(name) / "debug", short, debug=True)
            print("\n".join(report_debug(debug)), flush=True)
            problems += [f"in debug mode: {problem}" for problem in debug.problems]
    for problem in problems:
        print(f"  PROBLEM: {problem}")
    print("passed" if not problems else "failed")
    if asked.write:
        result = {**described(), "load_before": busy, **outcome.values, "problems": problems}
        result["debug"] = None if debug is None else {"seconds": debug.soak.seconds, **debug.values}
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(result, indent=2).replace("Infinity", "null") + "\n")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
