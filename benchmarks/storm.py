"""The reconnect storm: idle and active connections, and hundreds of handshakes a second between them.

    python benchmarks/storm.py [--short] [--idle 1000] [--active 1000] [--rate 500] [--seconds 10]

Passes if no message of a running stream was lost, nobody was refused or cut, and what the process holds is at its base
afterwards: descriptors and threads as before, memory as after the first storm (what an allocator keeps, it keeps once).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import servers
from load import Load, Report, run
from machine import descriptors, rss_bytes, threads
from programs import CannotMeasure, build
from recorded import check
from servers import Server

MIB = 1024 * 1024
SETTLE_S = 30.0
RSS_SHARE = 0.05
ACCEPTED_SHARE = 0.95
RSS_BYTES = 4 * MIB


@dataclass(frozen=True)
class Held:
    """What a process holds."""

    descriptors: int
    threads: int
    rss: int
    streams: float

    def __str__(self) -> str:
        held = f"{self.descriptors} descriptors, {self.threads} threads, {self.rss / MIB:.0f} MiB"
        return f"{held}, {self.streams:g} streams"


@dataclass(frozen=True)
class Storm:
    """How hard it blows."""

    idle: int = 1000
    active: int = 1000
    rate: int = 500
    seconds: float = 10.0
    times: int = 2
    start: bool = False  # whether each of them starts a stream, and stops it at once
    more: tuple[str, ...] = ()  # further options of the generator

    def load(self) -> Load:
        """As the generator has it."""
        more = ("--idle", str(self.idle), "--say-start", "--storm", str(self.rate), "--storm-inflight", str(self.rate))
        more += ("--storm-start",) if self.start else ()
        return Load(self.active, 1, self.seconds, 2.0, more + self.more)


SHORT = Storm(idle=20, active=20, rate=100, seconds=2.0, times=1, more=("--nap-us", "1000"))


def held(server: Server) -> Held:
    """Of its only process, now."""
    (pid,) = server.pids
    return Held(descriptors(pid), threads(pid), rss_bytes(pid), server.metric("receiver_streams{"))


def settled(server: Server, base: Held) -> Held:
    """The same once connections are gone, which takes a moment, or once time is over."""
    until = time.monotonic() + SETTLE_S
    while (now := held(server)).descriptors > base.descriptors or now.streams or now.threads > base.threads:
        if time.monotonic() > until:
            break
        time.sleep(0.2)
    return now


def blow(program: Path, storm: Storm) -> tuple[list[Report], list[Held], list[str]]:
    """All storms against one server: what the generator reports, what was held before and after, what harm was done."""
    reports, problems = [], []
    settings = {"limits": {"streams": storm.idle + storm.active + storm.rate * 2}}
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        folder = Path(place)
        with servers.receiver(folder, settings) as server:
            run(program, server, Load(20, 2, 1.0, 0.0))  # threads and pools that are made once, and stay
            time.sleep(1.0)
            found = [held(server)]
            for number in range(storm.times):
                prefix = ("--prefix", f"storm{number}")
                load = storm.load()
                report = run(program, server, Load(load.streams, 1, load.seconds, load.warm, load.more + prefix))
                reports.append(report)
                recorded = check(folder / "recordings", report, sample=100, prefix=prefix[1])
                found.append(settled(server, found[0]))
                problems += [f"storm {number + 1}: {text}" for text in _harm(report, recorded.problem) if text]
    before, *after = found
    problems += [
        f"left behind: {held}"
        for held in after
        if held.descriptors > before.descriptors or held.threads > before.threads
    ]
    if len(after) > 1 and after[-1].rss > after[0].rss * (1 + RSS_SHARE) + RSS_BYTES:
        problems.append(f"memory grew from {after[0].rss / MIB:.0f} to {after[-1].rss / MIB:.0f} MiB")
    return reports, found, problems


def _harm(report: Report, recorded: str | None) -> list[str | None]:
    turned_away = report.refused + report.failed
    return [report.harm, recorded, f"{turned_away} turned away ({report.error})" if turned_away else None]


def too_slow(reports: Sequence[Report], storm: Storm) -> list[str]:
    """Where the storm was less than asked for, or the generator late: a busy machine, or a server that is too slow."""
    found = []
    for number, report in enumerate(reports, 1):
        if report.storm_per_s < ACCEPTED_SHARE * storm.rate:
            found.append(
                f"storm {number}: {report.storm_per_s:.0f} of {storm.rate} handshakes per second were accepted"
            )
        if report.problem != report.harm:
            found.append(f"storm {number}: {report.problem}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="a reconnect storm between running streams")
    parser.add_argument("--short", action="store_true", help="a small one, of a few seconds")
    parser.add_argument("--idle", type=int)
    parser.add_argument("--active", type=int)
    parser.add_argument("--rate", type=int, help="handshakes per second")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--start", action="store_true", default=None, help="each starts a stream, and stops it at once")
    arguments = parser.parse_args()
    base = SHORT if arguments.short else Storm()
    given = {name: value for name, value in vars(arguments).items() if name != "short" and value is not None}
    storm = Storm(**{**vars(base), **given})
    with tempfile.TemporaryDirectory(prefix="bench-build-") as place:
        try:
            reports, found, problems = blow(build(Path(place))["load"], storm)
        except CannotMeasure as error:
            sys.exit(str(error))
    problems += too_slow(reports, storm)
    print(f"{storm.idle} idle, {storm.active} active, {storm.rate} handshakes per second for {storm.seconds:g} s")
    print(f"before       {found[0]}")
    for number, (report, now) in enumerate(zip(reports, found[1:], strict=True), 1):
        print(f"after {number}      {now}")
        print(
            f"             {report.storm_accepted} accepted ({report.storm_per_s:.0f} per second), "
            f"p99 {report.handshake_p99_s * 1000:.0f} ms; {report.messages} messages, {report.core_share:.0%} of a core"
        )
    for problem in problems:
        print(f"MISSED: {problem}")
    print("passed" if not problems else f"{len(problems)} missed")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
