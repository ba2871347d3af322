"""Everything that is asked of this project's speed, measured in one run: a table, and a JSON file beside it.

python benchmarks/bench.py                      # all of it, about 25 minutes on a quiet machine with two cores
python benchmarks/bench.py --only P1 P3         # some figures
python benchmarks/bench.py --quick              # short windows, one round: shows that it runs, not how fast
python benchmarks/bench.py --write              # keep the result in benchmarks/results
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import figure_capacity
import figure_cost
import figure_delay
import figure_handshakes
import figure_memory
import figure_opus
import figure_processes
import figure_start
import middle
import process
import storm
from bench_run import Bench
from cost import pipecat_python
from machine import cores, described, load_average
from programs import CannotMeasure, build, compiler_version
from row import Row, missing, table, verdict

RESULTS = Path(__file__).parent / "results" / "bench.json"


def middle_alone(bench: Bench) -> list[Row]:
    """P4: from text to events, in this process."""
    data = [middle.media(number) for number in range(1, middle.MESSAGES + 1)]
    rows = []
    for what, size in (("batches of 5", 5), ("one by one", 1)):
        asked = middle.ASKED[what]
        cost = middle.best(lambda size=size: middle.session_cost(data, size))
        rows.append(
            Row(
                "P4",
                f"the middle alone, µs, {what}",
                f"≤ {asked:g}",
                f"{cost:.2f}",
                verdict(cost <= asked),
                {"us": cost},
            )
        )
    return rows


def processing(bench: Bench) -> list[Row]:
    """P8: a capture to WAV files."""
    minutes = 30.0
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        folder = Path(place)
        process.write_capture(folder / "capture.jsonl", minutes)
        rounds = [
            asyncio.run(process.process(folder / "capture.jsonl", folder / str(n))) for n in range(process.ROUNDS)
        ]
    times = minutes * 60 / min(rounds)[0]
    what, asked = "receiver process, × real time", f"≥ {process.ASKED:.0f}"
    return [Row("P8", what, asked, f"{times:.0f}", verdict(times >= process.ASKED), {"times": times})]


def reconnects(bench: Bench) -> list[Row]:
    """The storm of benchmarks/storm.py."""
    blown = storm.Storm(seconds=max(5.0, bench.seconds))
    what = f"{blown.idle} idle, {blown.active} active, {blown.rate} handshakes per second"
    reports, found, problems = storm.blow(bench.programs["load"], blown)
    problems += storm.too_slow(reports, blown)
    accepted = min(report.storm_per_s for report in reports)
    got = f"{accepted:.0f} per s; {found[0].descriptors} → {found[-1].descriptors} descriptors"
    values = {"accepted_per_s": accepted, "rss_before": found[0].rss, "rss_after": found[-1].rss}
    return [Row("storm", what, "none lost, all given back", got, verdict(not problems), values, "; ".join(problems))]


FIGURES: dict[str, tuple[str, Callable[[Bench], list[Row]]]] = {
    "P1": ("µs per message against C", figure_cost.against_c),
    "P2": ("µs per message against Python", figure_cost.against_python),
    "P3": ("live two-track calls on one core", figure_capacity.figure),
    "P4": ("the middle alone", middle_alone),
    "P5": ("memory of one more stream", figure_memory.figure),
    "P6": ("handshakes per second", figure_handshakes.figure),
    "P7": ("µs per message from few streams to many", figure_cost.growth),
    "P8": ("receiver process, × real time", processing),
    "P9": ("delay to a sink", figure_delay.figure),
    "P10": ("two processes on one port", figure_processes.figure),
    "P11": ("start to first accepted stream", figure_start.figure),
    "P12": ("OPUS above PCMU", figure_opus.figure),
    "captures": ("captures on", figure_cost.captures),
    "storm": ("the reconnect storm", reconnects),
}


def measured(bench: Bench, names: list[str]) -> list[Row]:
    """The rows of these figures. One that cannot be measured here does not keep the others from it."""
    rows = []
    for name in names:
        title, figure = FIGURES[name]
        print(f"{name}: {title}", file=sys.stderr, flush=True)
        try:
            found = figure(bench)
        except CannotMeasure as error:
            found = [missing(name, title, "", error)]
        for row in found:
            bench.say(f"{row.what}: {row.got} {row.verdict} {row.note}".rstrip())
        rows += found
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="measure everything")
    parser.add_argument(
        "--only", nargs="+", choices=FIGURES, default=list(FIGURES), metavar="FIGURE", help=" ".join(FIGURES)
    )
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measured window")
    parser.add_argument("--rounds", type=int, default=2, help="of which the best counts")
    parser.add_argument("--quick", action="store_true", help="3 s and one round")
    parser.add_argument("--write", action="store_true", help=f"write results/{RESULTS.name} also after part of it")
    parser.add_argument("--folder", help="where recordings go meanwhile: a disk that takes 35 MB/s, or a tmpfs")
    parser.add_argument("--pipecat", metavar="PYTHON", help="the interpreter of an environment with pipecat-ai")
    arguments = parser.parse_args()
    if sys.platform != "linux":
        sys.exit("This benchmark needs Linux: it pins processes to cores and reads /proc.")
    tempfile.tempdir = arguments.folder
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-build-") as place:
        try:
            programs = build(Path(place))
        except CannotMeasure as error:
            sys.exit(f"Cannot measure: {error}")
        if cores() is None:
            print("Only one core: server and load share it, and no figure counts as met or missed.", file=sys.stderr)
        bench = Bench(
            programs,
            seconds=3.0 if arguments.quick else arguments.seconds,
            warm=1.0 if arguments.quick else 2.0,
            rounds=1 if arguments.quick else arguments.rounds,
            pipecat=pipecat_python(arguments.pipecat),
        )
        busy = load_average()
        rows = measured(bench, arguments.only)
    if cores() is None:
        rows = [replace(row, verdict="") if row.verdict in ("met", "missed") else row for row in rows]
    print(table(rows))
    if busy > 0.5:
        print(f"Other programs were running (load average {busy:.1f} before the first figure): not to be quoted.")
    if arguments.quick:
        print("A quick run: shows that everything works, not how fast it is.")
    if arguments.write or (arguments.only == list(FIGURES) and not arguments.quick):
        result = {
            **described(),
            "compiler": compiler_version(),
            "load_average_before": busy,
            "seconds": round(time.monotonic() - began),
            "window_s": bench.seconds,
            "rounds": bench.rounds,
            "us_per_message": {name: round(cost, 2) for name, cost in bench.costs.items()},
            "figures": [vars(row) for row in rows],
        }
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
        print(f"Written to {RESULTS}")


if __name__ == "__main__":
    main()
