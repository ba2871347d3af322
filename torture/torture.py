"""Everything that is promised of a process, a disk, a network and a clock that fail, tried on real ones: a table.

    python torture/torture.py                       # all of it, about half an hour
    python torture/torture.py --kinds kill ends     # some kinds
    python torture/torture.py --trials 20           # fewer kills
    python torture/torture.py --kinds kill --seed 1234 --trials 1    # a trial again, by the seed that its problem names
    python torture/torture.py --write               # keep the result in torture/results

What needs root, strace or libfaketime is left out without them, and the table says so.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import accounting
import clocks
import ends
import faults
import kill
import leftovers
import power
import sinks
from outcome import CannotRun, Outcome, not_run, say, table

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from machine import described, load_average

RESULTS = Path(__file__).parent / "results" / "torture.json"

Arguments = argparse.Namespace
Kind = Callable[[Path, Arguments], list[Outcome]]

KINDS: dict[str, Kind] = {
    "kill": lambda place, asked: [
        kill.run(place, trials=asked.trials, streams=asked.streams, seed=asked.seed, say=say)
    ],
    "leftovers": lambda place, asked: [leftovers.run(place, streams=asked.leftovers, say=say)],
    "power": lambda place, asked: [power.run(place, seed=asked.seed, stride=asked.stride, say=say)],
    "faults": lambda place, asked: [
        faults.run(place, faults.plan(asked.faults, asked.seed), say=say),
        faults.full_disk(place, rounds=asked.rounds, say=say),
        faults.no_descriptors(place, rounds=asked.rounds, say=say),
    ],
    "ends": lambda place, asked: ends.run(place, streams=asked.streams, rounds=asked.rounds, seed=asked.seed, say=say),
    "clocks": lambda place, asked: clocks.run(place, say=say),
    "sinks": lambda place, asked: sinks.run(place, say=say),
    "accounting": lambda place, asked: accounting.run(place, conversations=asked.conversations, say=say),
}


def tried(kind: str, asked: Arguments, place: Path) -> list[Outcome]:
    """One kind in a folder of its own, which is left where something went wrong."""
    folder = place / kind
    folder.mkdir()
    print(f"{kind}:", file=sys.stderr, flush=True)
    try:
        return KINDS[kind](folder, asked)
    except CannotRun as problem:
        return [not_run(kind, "", problem)]


def write(kind: str, outcomes: list[Outcome], run: Mapping[str, object]) -> None:
    """Keep what came of a kind, with how it was run. What is there of other kinds stays."""
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    known[kind] = {**described(), **run, "outcomes": [vars(one) for one in outcomes]}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(known, indent=2, ensure_ascii=False) + "\n")


def parser() -> argparse.ArgumentParser:
    """What may be asked for."""
    known = argparse.ArgumentParser(description="kill it, cut its power and its lines, put its clock wrong")
    known.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND", help=" ".join(KINDS))
    known.add_argument("--trials", type=int, default=200, help="kills (200)")
    known.add_argument("--streams", type=int, default=20, help="live calls of two tracks at a kill or an end (20)")
    known.add_argument("--leftovers", type=int, default=1000, help="crashed streams to be finished (1000)")
    known.add_argument("--faults", type=int, help="calls that fail, chosen by chance (all)")
    known.add_argument("--rounds", type=int, default=5, help="of each way to end, and of full disks (5)")
    known.add_argument("--conversations", type=int, default=10_000, help="that are accounted for (10000)")
    known.add_argument("--stride", type=int, default=1, help="look at every so manieth write only, for power (1)")
    known.add_argument("--seed", type=int, help="of the dice; else a new one, which is told")
    known.add_argument("--folder", type=Path, help="where recordings go meanwhile, and stay where something went wrong")
    known.add_argument("--write", action="store_true", help=f"keep the results in results/{RESULTS.name}")
    return known


def main() -> None:
    asked = parser().parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit("stopped"))  # and servers with it
    if sys.platform != "linux":
        sys.exit("This needs Linux: its signals, its sockets and its /proc.")
    asked.seed = random.SystemRandom().randrange(10**6) if asked.seed is None else asked.seed
    place = Path(tempfile.mkdtemp(prefix="torture-", dir=asked.folder))
    busiest, outcomes = 0.0, list[Outcome]()
    print(f"Seed {asked.seed}, below {place}", file=sys.stderr)
    for kind in asked.kinds:
        began, busy = time.monotonic(), load_average()
        found = tried(kind, asked, place)
        if asked.write:
            run = {"load_average_before": busy, "seconds": round(time.monotonic() - began), "seed": asked.seed}
            write(kind, found, run)
        busiest = max(busy, busiest)
        outcomes += found
    print(table(outcomes))
    missed = [one for one in outcomes if one.verdict == "missed"]
    if busiest > 0.5:
        print(f"Other programs were running (load average {busiest:.1f}): times are theirs as well.")
    if missed:
        print(f"What went wrong lies below {place}")
    if asked.write:
        print(f"Written to {RESULTS}")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
