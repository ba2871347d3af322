"""Sinks in every trouble, beside a recorder, in a real server: stuck for a minute, raising, slow, deaf to cancellation.

    python torture/sinks.py [--short] [--streams 100]

One call ends while its sinks are late, another just before SIGTERM, a third is live then. Nothing may be missing of the
recordings, every sink's own loss has to be counted to the sample, sinks that are late have to finish while the process
drains, and no socket may wait. Then 100 streams with a stuck sink show that what waits for it stays in its bounds.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from outcome import Outcome, Say, verdict
from sink_matrix import CASES, LONG, OVERFLOWS, SHORT, TROUBLES, Lengths, configured, missed_s, wrong_with
from talking import STOP, TRACKS, close, greeting, upgrade
from voice import FRAME, PERIOD_S, Voices
from watched import MIB, Watched

HERE = Path(__file__).parent
HEADER = 44
MOST_RECV_Q = 256 * 1024
CALLS = ("early", "stopped", "live")
FEEDS_MIB = 32
SPARE = 1.25
"""What a feed holds is reckoned at a round figure for each event."""


class Speaker:
    """One call over a socket, from this process."""

    def __init__(self, served: Watched, call: str, material: Voices) -> None:
        self.call = call
        self.frames = 0
        self._material = material
        self._socket = socket.create_connection(served.address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(upgrade("/stream", served.token))
        answer = self._socket.recv(4096)
        if b" 101 " not in answer:
            raise RuntimeError(answer.decode(errors="replace"))
        self._socket.sendall(greeting(call))

    def speak(self) -> None:
        """The next frame of both tracks."""
        self._socket.sendall(b"".join(self._material.said(track, self.frames) for track in TRACKS))
        self.frames += 1
        if select.select([self._socket], [], [], 0)[0]:
            self._socket.recv(4096)  # pings need no answer of a peer that talks

    def stop(self) -> None:
        """End it as a platform does."""
        self._socket.sendall(STOP + close(1000))

    def wait(self) -> None:
        """Until the server has ended the connection."""
        self._socket.settimeout(30)
        try:
            while self._socket.recv(4096):
                pass
        except ConnectionError:
            pass
        self._socket.close()


@dataclass
class Row:
    """Of the table: one trouble with one ``overflow``."""

    trouble: str
    overflow: str
    missed_s: dict[str, float]
    problem: str | None


def matrix(folder: Path, lengths: Lengths) -> tuple[list[Row], dict[str, float], list[str]]:
    """The whole table in one run: its rows, figures of the server, and what was lost elsewhere."""
    tables = configured(lengths)
    tables["server"] = {"drain_timeout_s": 0.5}
    most = int(lengths.call_s * 2 / PERIOD_S)
    material = {call: Voices(seed, most) for seed, call in enumerate(CALLS)}
    problems: list[str] = []
    with Watched(folder, tables).wait() as served:
        speakers = {call: Speaker(served, call, material[call]) for call in CALLS}
        with looked_at(served):
            speak(list(speakers.values()), lengths.call_s / 2)
            speakers["early"].stop()
            speak([speakers["stopped"], speakers["live"]], lengths.call_s / 2)
            speakers["stopped"].stop()
        speakers["early"].wait()
        speakers["stopped"].wait()
        began = time.monotonic()
        code = served.stop(within_s=lengths.finish_s + 30)
        took_s = time.monotonic() - began
        speakers["live"].wait()
        if code:
            problems.append(f"the server ended with {code}")
        if served.seen_recv_q > MOST_RECV_Q:
            problems.append(f"{served.seen_recv_q} bytes waited in a socket")
        rows = [Row(trouble, overflow, {}, None) for trouble in TROUBLES for overflow in OVERFLOWS]
        for call, reason in zip(CALLS, ("stop", "stop", "drain"), strict=True):
            directory = served.root / call
            expected = {track: material[call].samples(track, speakers[call].frames) for track in TRACKS}
            problems += [f"{call}: {problem}" for problem in wrong_with_recording(directory, reason, expected)]
            missed = missed_s(directory)
            for case in CASES:
                (row,) = (row for row in rows if (row.trouble, row.overflow) == (case.trouble, case.overflow))
                row.missed_s[case.on_error] = row.missed_s.get(case.on_error, 0.0) + missed[case.name]
                if problem := wrong_with(directory, case, expected):
                    row.problem = row.problem or f"{call}, {case.on_error}: {problem}"
    return rows, {"recv_q": served.seen_recv_q, "drain_s": took_s}, problems


def wrong_with_recording(folder: Path, reason: str, expected: dict[str, np.ndarray]) -> Iterator[str]:
    """What the recorder beside all of them has missed."""
    told = json.loads((folder / "stream.json").read_text())
    if told["end"]["reason"] != reason:
        yield f"ended by {told['end']['reason']}"
    if (told["sinks"]["wav"]["status"], told["sinks"]["wav"]["dropped_s"]) != ("ok", {}):
        yield f"wav: {told['sinks']['wav']}"
    for track, samples in expected.items():
        counters = told["tracks"][track]["counters"]
        if counters["placed"] * FRAME != len(samples) or counters["received"] != counters["placed"]:
            yield f"{track}: {counters}"
        if not np.array_equal(np.fromfile(folder / f"{track}.wav", "<i2", offset=HEADER), samples):
            yield f"{track}.wav is not what was sent"


def speak(speakers: Sequence[Speaker], seconds: float) -> None:
    """At the pace of a call."""
    began = time.monotonic()
    for number in range(int(seconds / PERIOD_S)):
        for speaker in speakers:
            speaker.speak()
        time.sleep(max(0.0, began + (number + 1) * PERIOD_S - time.monotonic()))


@contextmanager
def looked_at(served: Watched) -> Iterator[list[int]]:
    """Look at the sockets and at the memory twenty times a second."""
    over = threading.Event()
    rss: list[int] = []

    def look() -> None:
        while not over.wait(0.05):
            served.recv_q()
            rss.append(served.rss())

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield rss
    finally:
        over.set()
        looking.join()


def memory(folder: Path, streams: int, seconds: float, feeds_mib: int, *, stuck: bool) -> dict[str, float]:
    """What so many streams take, with or without a sink that is stuck all the time."""
    tables: dict[str, dict[str, object]] = {"sinks.wav": {"use": "wav"}, "limits": {"feeds_bytes": feeds_mib * MIB}}
    if stuck:
        tables["sinks.stuck"] = {"use": str(HERE / "troubled_sink.py"), "finish_timeout_s": 1}
        tables["sinks.stuck.options"] = {"trouble": "blocks", "stall_s": seconds + 30}
    orders = {"streams": streams, "seconds": seconds, "shortest_s": seconds, "longest_s": seconds + 1, "seed": 1}
    with Watched(folder, tables).wait() as served:
        base = served.rss()
        command = json.dumps({"port": served.address[1], "token": served.token, **orders})
        environ = {**os.environ, "PYTHONPATH": str(HERE)}
        with looked_at(served) as rss:
            subprocess.run(
                [sys.executable, "-P", str(HERE / "soak_sender.py"), command],
                env=environ,
                stdout=subprocess.DEVNULL,
                check=True,
            )
        figures = served.metrics()
        lag = sum(value for key, value in figures.items() if key == 'receiver_event_loop_lag_seconds_bucket{le="0.1"}')
        lagged = figures["receiver_event_loop_lag_seconds_count"] - lag
        served.kill()  # what the sink is stuck in is not waited for
    return {
        "base_mib": round(base / MIB, 1),
        "most_mib": round(max(rss) / MIB, 1),
        "recv_q": served.seen_recv_q,
        "lags_above_100_ms": lagged,
    }


def shown(rows: Sequence[Row]) -> list[str]:
    """The table, for people."""
    lines = [f"  {'trouble':<22}{'overflow':<13}{'missed, stop':>14}{'restart':>11}"]
    for row in rows:
        stop, restart = (row.missed_s.get(on_error, 0.0) for on_error in ("stop", "restart"))
        verdict = row.problem or "counted to the sample"
        lines.append(f"  {row.trouble:<22}{row.overflow:<13}{stop:>12.3f} s{restart:>9.3f} s  {verdict}")
    return lines


def run(place: Path, *, lengths: Lengths = LONG, streams: int = 100, say: Say) -> list[Outcome]:
    """The same for the table of the torture: a line for every trouble, one for everybody else, one for the memory."""
    rows, figures, problems = matrix(place / "matrix", lengths)
    for line in shown(rows):
        say(line)
    outcomes = []
    for trouble in TROUBLES:
        mine = [row for row in rows if row.trouble == trouble]
        found = [f"{row.overflow}: {row.problem}" for row in mine if row.problem]
        missed = {row.overflow: row.missed_s for row in mine}
        worst = (
            f"{max(max(row.missed_s.values()) for row in mine):.1f} s missed, all counted" if not found else "not so"
        )
        asked = "its loss counted to the sample"
        trials = len(mine) * len(CALLS) * 2
        outcomes.append(Outcome("sinks", trouble, trials, asked, worst, verdict(not found), found, missed))
    worst = f"none; {figures['recv_q']:g} bytes in a socket; drained in {figures['drain_s']:.0f} s"
    elsewhere = Outcome("sinks", "everybody else", 3, "nothing lost", worst, verdict(not problems), problems, figures)
    outcomes.append(elsewhere)
    if streams:
        found, more = _memory(place, streams, lengths.stall_s, say)
        what, asked = f"memory of {streams} streams", f"≤ {FEEDS_MIB * SPARE:g} MiB of {FEEDS_MIB}"
        values = {"mib": round(more, 1)}
        outcomes.append(Outcome("sinks", what, 1, asked, f"{more:.1f} MiB", verdict(not found), found, values))
    return outcomes


def main() -> int:
    """Run, print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="stalls of a second instead of a minute, and no memory")
    parser.add_argument("--streams", type=int, default=100, help="of the part about memory")
    asked = parser.parse_args()
    lengths = SHORT if asked.short else LONG
    print(f"{len(CASES)} sinks and a recorder on {len(CALLS)} calls; stalls of {lengths.stall_s:g} s", flush=True)
    with tempfile.TemporaryDirectory(prefix="sinks-") as name:
        folder = Path(name)
        rows, figures, problems = matrix(folder / "matrix", lengths)
        print("\n".join(shown(rows)))
        print(f"  Recv-Q {figures['recv_q']:g} bytes at most; drained in {figures['drain_s']:.1f} s", flush=True)
        problems += [f"{row.trouble}, {row.overflow}: {row.problem}" for row in rows if row.problem]
        if not asked.short:
            found, more = _memory(
                folder, asked.streams, lengths.stall_s, say=lambda text: print(f"  {text}", flush=True)
            )
            print(f"  what waits for the stuck sink takes {more:.1f} MiB; limits.feeds_bytes was {FEEDS_MIB} MiB")
            problems += found
    for problem in problems:
        print(f"  PROBLEM: {problem}")
    print("passed" if not problems else "failed")
    return bool(problems)


def _memory(folder: Path, streams: int, seconds: float, say: Say) -> tuple[list[str], float]:
    """What is wrong with the memory that a stuck sink takes, and how much that is in MiB."""
    problems = []
    grown = []
    for stuck in (False, True):
        seen = memory(folder / f"memory-{stuck}", streams, seconds, FEEDS_MIB, stuck=stuck)
        grown.append(seen["most_mib"] - seen["base_mib"])
        say(f"{streams} streams, {'a stuck sink' if stuck else 'no stuck sink'}: {seen}")
        if seen["recv_q"] > MOST_RECV_Q:
            problems.append(f"{seen['recv_q']} bytes waited in a socket")
    more = grown[1] - grown[0]
    if more > FEEDS_MIB * SPARE:
        problems.append(f"a stuck sink took {more:.1f} MiB, with {FEEDS_MIB} MiB for all feeds")
    return problems, more


if __name__ == "__main__":
    sys.exit(main())
