"""Every way in which a connection ends, with real processes and, for the silent ones, a real cable that is cut.

Everything that had reached our kernel has to be in the files, ``end.reason`` has to be right, and the files final
within a second of when the end was noticed.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from caller import COUNT, Caller, Connect, callers, cast, connect
from folder import Found, folders, missing_from, read
from network import OURS, Network
from outcome import CannotRun, Outcome, Say, distribution, not_run, verdict
from pacing import pace, speak
from served import Served
from talking import TRACKS
from voice import Voice

ASKED_S = 1.0
DEAD_AFTER_S = 3
PING_S = 1
FINAL_S = 30.0
LONGEST_S = 3.0
HERE = Path(__file__).parent

Deed = Callable[[Caller], None]


def _stop_and_close(call: Caller) -> None:
    call.stop()
    call.close_frame()


def _fin_within_a_message(call: Caller) -> None:
    assert call.socket is not None
    call.socket.sendall(call.voices[0].frames[call.said][:200])
    call.finish()


@dataclass(frozen=True)
class End:
    """A way to end: what the caller does, and the reasons that say so."""

    deed: Deed
    reasons: tuple[str, ...]
    stop: bool = False
    noticed_s: float = 0.0  # how long it may take until anybody can notice


PLAIN: dict[str, End] = {
    "stop and close": End(_stop_and_close, ("stop",), stop=True),
    "stop without close": End(Caller.stop, ("stop",), stop=True),
    "close without stop": End(Caller.close_frame, ("close",)),
    "FIN": End(Caller.finish, ("fin",)),
    "FIN within a message": End(_fin_within_a_message, ("fin",)),
    "RST": End(Caller.reset, ("reset",)),
}
ROOT: dict[str, End] = {
    # Nobody is there any more; the machine is, and answers our next ping with a RST.
    "half-open": End(Caller.vanish, ("reset", "dead"), noticed_s=DEAD_AFTER_S + 2 * PING_S),
}
SECURED = ("stop without close", "close without stop", "FIN", "RST")
"""Those that are tried over TLS in the process as well, where other code reads the socket."""
CERTIFICATES = Path(__file__).parents[1] / "tests" / "asgi" / "tls"
TABLES = {
    "server": {"host": "0.0.0.0", "ping_interval_s": PING_S},
    "limits": {"dead_after_s": DEAD_AFTER_S, "close_timeout_s": 1},
    "recordings": {"path": "{parameters.name}/{stream_id}"},
}


@dataclass
class Tally:
    """What one way to end came to."""

    streams: int = 0
    messages: int = 0
    final_s: list[float] = field(default_factory=list)  # from when the server noticed to final files
    noticed_s: list[float] = field(default_factory=list)  # from the deed to when the server noticed
    late_s: float = 0.0
    problems: list[str] = field(default_factory=list)


def run(
    place: Path,
    *,
    streams: int = 20,
    rounds: int = 5,
    seed: int,
    say: Say,
    asked_s: float = ASKED_S,
    plain: bool = True,
    root: bool = True,
    longest_s: float = LONGEST_S,
) -> list[Outcome]:
    """All ways, a line each: ``plain`` those that anybody can take, ``root`` the others."""
    voices = cast(streams, longest_s + 1)
    dice = random.Random(seed)
    outcomes = []

    def rounds_of(server: Served, what: str, end: End, by: Connect | None = None) -> None:
        tally = Tally()
        for number in range(rounds):
            calls = callers(voices, f"{what.replace(' ', '-').replace(',', '')}-{number}")
            _round(server, calls, end, dice, tally, longest_s, by)
        outcomes.append(_outcome(what, tally, asked_s))
        say(f"ends: {what}: {outcomes[-1].worst} {outcomes[-1].verdict}")

    ways = (PLAIN if plain else {}) | (ROOT if root and os.geteuid() == 0 else {})
    with Served(place, _tables(place)).wait() as server:
        for what, end in ways.items():
            rounds_of(server, what, end)
        if plain:
            tally = Tally()
            for number in range(rounds):
                _killed(server, min(streams, 5), place, f"killed-{number}", dice, tally)
            outcomes.append(_outcome("process killed", tally, asked_s))
        if root:
            try:
                outcomes.append(_black_hole(server, voices, asked_s))
            except CannotRun as problem:
                outcomes.append(not_run("ends", "black hole", problem))
            if os.geteuid() != 0:
                outcomes += [not_run("ends", what, "needs root") for what in ROOT]
    if plain:
        with Served(place, _tables(place, secured=True), name="secured").wait() as server:
            for what in SECURED:
                rounds_of(server, f"{what}, TLS", PLAIN[what], _secured)
    if all(one.verdict != "missed" for one in outcomes):
        shutil.rmtree(place / "recordings")
    return outcomes


def _tables(place: Path, *, secured: bool = False) -> dict[str, dict[str, object]]:
    tables = {name: dict(table) for name, table in TABLES.items()}
    tables["recordings"]["directory"] = str(place / "recordings")
    if secured:
        tables["server.tls"] = {name: str(CERTIFICATES / f"{name}.pem") for name in ("certificate", "key")}
    return tables


def _secured(address: tuple[str, int]) -> socket.socket:
    context = ssl.create_default_context(cafile=str(CERTIFICATES / "certificate.pem"))
    return context.wrap_socket(connect(address), server_hostname=address[0])


def _round(
    server: Served,
    calls: list[Caller],
    end: End,
    dice: random.Random,
    tally: Tally,
    longest_s: float,
    by: Connect | None,
) -> None:
    """Some calls that all end in this way, each at a moment of its own."""
    for call in calls:
        call.dial(server.address, server.token, by=by)
    now = time.monotonic()
    due = {call: now + dice.uniform(0.3, longest_s - 0.5) for call in calls}
    done: dict[Caller, float] = {}

    def turn(call: Caller, at: float) -> None:
        speak(call, at)
        if at >= due[call] and call not in done:
            end.deed(call)
            done[call] = time.time()

    tally.late_s = max(tally.late_s, pace(calls, lambda: len(done) == len(calls), turn))
    _check(server, calls, [[len(sent) for sent in call.sent] for call in calls], end, done, tally)
    for call in calls:
        call.hang_up()


def _killed(server: Served, count: int, place: Path, name: str, dice: random.Random, tally: Tally) -> None:
    """Callers that are processes of their own, killed at a moment of theirs. What each has sent is in a file."""
    processes = []
    with ExitStack() as stack:
        for number in range(count):
            sent = place / f"{name}-{number}.sent"
            sent.write_bytes(bytes(COUNT.size * len(TRACKS)))
            host, port = server.address
            command = [sys.executable, str(HERE / "caller.py"), host, str(port), str(number), str(sent), name]
            process = subprocess.Popen(command, env={**os.environ, "RECEIVER_TOKEN": server.token})
            stack.callback(process.wait)
            stack.callback(process.kill)
            processes.append((process, sent))
        _wait(lambda: all(any(sent.read_bytes()) for _, sent in processes))
        time.sleep(dice.uniform(0.2, 1.0))
        calls = callers(cast(count, LONGEST_S * 5), name)
        done: dict[Caller, float] = {}
        counts = []
        for (process, sent), call in zip(processes, calls, strict=True):
            process.kill()
            done[call] = time.time()
            process.wait()
            counts.append([COUNT.unpack_from(sent.read_bytes(), place * COUNT.size)[0] for place in range(len(TRACKS))])
    end = End(Caller.hang_up, ("fin", "reset"))
    _check(server, calls, counts, end, done, tally, at_least=True)


def _black_hole(server: Served, voices: Sequence[Sequence[Voice]], asked_s: float) -> Outcome:
    """The cable is cut. What the other side's kernel knows to have arrived has to be there."""
    tally = Tally()
    calls = callers(voices, "black-hole")
    with Network() as network:
        for call in calls:
            call.dial((OURS, server.address[1]), server.token, by=network.connect)
        end_at = time.monotonic() + 1.0
        tally.late_s = pace(calls, lambda: time.monotonic() >= end_at)
        _wait(lambda: not any(call.unacknowledged() for call in calls))
        network.cut()
        done = dict.fromkeys(calls, time.time())
        counts = [[len(sent) for sent in call.sent] for call in calls]
        end = End(Caller.hang_up, ("dead",), noticed_s=DEAD_AFTER_S + 2 * PING_S)
        _check(server, calls, counts, end, done, tally)
        for call in calls:
            call.hang_up()
    return _outcome("black hole", tally, asked_s)


def _check(
    server: Served,
    calls: Sequence[Caller],
    counts: Sequence[Sequence[int]],
    end: End,
    done: dict[Caller, float],
    tally: Tally,
    *,
    at_least: bool = False,
) -> None:
    """Wait for the folders, and compare them. With ``at_least``, one message more may have been sent."""
    root = server.root / calls[0].stream_id.rpartition("-")[0]
    found: dict[str, Found] = {}
    _wait(lambda: len(_final(root, found)) >= len(calls))
    for call, wanted in zip(calls, counts, strict=True):
        tally.streams += 1
        one = found.get(call.stream_id)
        if one is None:
            tally.problems.append(f"{call.stream_id} has no files")
            continue
        tally.problems += [f"{call.stream_id}: {problem}" for problem in one.problems]
        said = one.said["end"]
        if said["reason"] not in end.reasons or said["stop_received"] is not end.stop:
            tally.problems.append(f"{call.stream_id} ended by {said}")
        for voice, count in zip(call.voices, wanted, strict=True):
            tally.messages += count
            whole, problem = missing_from(one.audio.get(voice.track), voice)
            if problem or not count <= whole <= count + at_least:
                tally.problems.append(f"{call.stream_id}: {problem or f'{whole} of {count} messages of {voice.track}'}")
        noticed = datetime.fromisoformat(one.said["ended"]).timestamp()
        tally.final_s.append(max(0.0, (one.path / "stream.json").stat().st_mtime - noticed))
        tally.noticed_s.append(max(0.0, noticed - done[call]))


def _final(root: Path, found: dict[str, Found]) -> dict[str, Found]:
    """Add the folders that have become final to those that are known."""
    known = {one.path for one in found.values()}
    for path in folders(root) if root.exists() else ():
        if path in known or not (path / "stream.json").exists() or (path / "journal.jsonl").exists():
            continue
        said = json.loads((path / "stream.json").read_bytes())
        if all(sink["status"] != "running" for sink in said["sinks"].values()):
            found[said["stream_id"]] = read(path)
    return found


def _wait(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + FINAL_S
    while not ready() and time.monotonic() < deadline:
        time.sleep(0.02)


def _outcome(what: str, tally: Tally, asked_s: float) -> Outcome:
    worst = max(tally.final_s, default=0.0)
    problems = list(tally.problems)
    if worst > asked_s:
        problems.append(f"files were final {worst:.2f} s after the end was noticed")
    values = {
        "messages": tally.messages,
        "final_s": distribution(tally.final_s),
        "noticed_s": distribution(tally.noticed_s),
        "sender_late_ms": round(tally.late_s * 1000, 1),
    }
    asked = f"≤ {asked_s:g} s, none lost"
    return Outcome("ends", what, tally.streams, asked, f"{worst:.2f} s", verdict(not problems), problems, values)
