"""What one message costs a server, as one figure: for profiling, and to see whether a change helped.

    python benchmarks/cost.py                                   # this server, 400 one-track streams, about 15 s
    python benchmarks/cost.py receiver floor job --streams 200 800 --seconds 8
    python benchmarks/cost.py receiver --streams 100 --tracks 2 --set server.latency_ms=20

A process's id is printed before its load begins, for a profiler.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import servers
from load import LATE_S, Load, Report, run
from programs import CannotMeasure, build
from recorded import check, check_sizes
from servers import Server

TRIES = 3
NAMES = ("receiver", "floor", "job", "obvious", "pipecat")


def serving(
    name: str,
    programs: Mapping[str, Path],
    folder: Path,
    settings: Mapping[str, Mapping[str, object]] | None = None,
    pipecat: Path | None = None,
) -> AbstractContextManager[Server]:
    """A server by its name."""
    if name == "floor":
        return servers.floor(programs, folder)
    if name == "job":
        return servers.job(programs, folder)
    if name == "obvious":
        return servers.obvious(folder)
    if name == "pipecat":
        if pipecat is None:
            raise CannotMeasure(
                "pipecat is not installed: --pipecat names the interpreter of an environment that has it"
            )
        return servers.pipecat(pipecat, folder)
    return servers.receiver(folder, settings)


def room_for(streams: int, settings: Mapping[str, Mapping[str, object]] | None = None) -> dict[str, dict[str, object]]:
    """The settings, with a limit that admits so many streams."""
    tables = {name: dict(table) for name, table in (settings or {}).items()}
    tables.setdefault("limits", {}).setdefault("streams", max(1000, streams + 100))
    return tables


def measure(
    name: str,
    programs: Mapping[str, Path],
    load: Load,
    settings: Mapping[str, Mapping[str, object]] | None = None,
    *,
    pipecat: Path | None = None,
    tries: int = TRIES,
    say: bool = True,
) -> Report:
    """One figure, taken again where the generator was late. Raises CannotMeasure when no run counts."""
    problem: str | None = "nothing was tried"
    for _ in range(tries):
        with tempfile.TemporaryDirectory(prefix="bench-") as place:
            folder = Path(place)
            with serving(name, programs, folder, room_for(load.streams, settings), pipecat) as server:
                if say:
                    print(f"{name}: process {', '.join(map(str, server.pids))}", file=sys.stderr, flush=True)
                report = run(programs["load"], server, load)
                problem = report.problem
                if problem is None and name in ("job", "obvious", "pipecat"):
                    problem = check_sizes(folder, report)
                elif problem is None and name == "receiver":
                    problem = check(folder / "recordings", report, sample=0 if load.more else 50).problem
        if problem is None:
            return report
        if say:
            print(f"{name}: does not count, {problem}", file=sys.stderr, flush=True)
    raise CannotMeasure(f"{name} at {load.streams} streams: {problem}")


def pipecat_python(named: str | None) -> Path | None:
    """The interpreter that has pipecat: the one that was named, or our own."""
    if named:
        return Path(named)
    import importlib.util

    return Path(sys.executable) if importlib.util.find_spec("pipecat") else None


def read_settings(texts: list[str]) -> dict[str, dict[str, object]]:
    """``server.latency_ms=20`` as tables."""
    tables: dict[str, dict[str, object]] = {}
    for text in texts:
        key, _, value = text.partition("=")
        table, _, name = key.rpartition(".")
        try:
            tables.setdefault(table, {})[name] = json.loads(value)
        except ValueError:
            tables.setdefault(table, {})[name] = value
    return tables


def main() -> None:
    parser = argparse.ArgumentParser(description="what one message costs a server")
    parser.add_argument("servers", nargs="*", default=["receiver"], metavar="SERVER", help=", ".join(NAMES))
    parser.add_argument("--streams", type=int, nargs="+", default=[400])
    parser.add_argument("--tracks", type=int, default=1, choices=(1, 2))
    parser.add_argument("--seconds", type=float, default=6.0, help="measured, after --warm seconds")
    parser.add_argument("--warm", type=float, default=2.0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the receiver")
    parser.add_argument("--pipecat", help="the interpreter of an environment with pipecat-ai")
    parser.add_argument("--tries", type=int, default=TRIES)
    parser.add_argument("--late-ms", type=float, default=LATE_S * 1000, help="on a busy machine, for orientation: more")
    parser.add_argument("--folder", help="where recordings go meanwhile")
    arguments = parser.parse_args()
    tempfile.tempdir = arguments.folder
    if unknown := set(arguments.servers) - set(NAMES):
        parser.error(f"no such server: {', '.join(sorted(unknown))}")
    print(f"{'':10}{'streams':>8}{'µs/message':>12}{'core':>7}{'late p99':>10}{'worst':>8}  (ms)")
    with tempfile.TemporaryDirectory(prefix="bench-build-") as place:
        try:
            programs = build(Path(place))
            for streams in arguments.streams:
                for name in arguments.servers:
                    load = Load(
                        streams, arguments.tracks, arguments.seconds, arguments.warm, late_s=arguments.late_ms / 1000
                    )
                    report = measure(
                        name,
                        programs,
                        load,
                        read_settings(arguments.set),
                        pipecat=pipecat_python(arguments.pipecat),
                        tries=arguments.tries,
                    )
                    print(
                        f"{name:10}{streams:8}{report.us_per_message:12.1f}{report.core_share:7.0%}"
                        f"{report.late_p99_s * 1000:10.1f}{report.late_worst_s * 1000:8.1f}",
                        flush=True,
                    )
        except CannotMeasure as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
