"""System calls that fail, and disks that are full: no call is ended, no process dies, and what is lost is declared.

In a trial of the first kind one call fails, the n-th of its thread below the recordings, as strace has it (with -P it
looks at calls for some paths alone). In the others a disk is full, or there are no descriptors left, for a while.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import random
import re
import resource
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from caller import Caller, callers, cast
from folder import samples_of
from outcome import CannotRun, Outcome, Say, distribution, verdict
from pacing import pace, pace_for
from served import Served, Tables
from voice import RATE, Samples, Voice

SPOKEN_S = 1.6
STREAMS = 6
"""Of two tracks: with their journals about 300 writes, all in one thread."""

AT_ONCE = 6
"""Trials, each with a server of its own: most of the time they wait."""

DEGRADED_S = 1.0
FINAL_S = 45.0
"""What failed at the end is tried again after 5 and 30 seconds."""

FILES = (
    "journal.jsonl journal.jsonl.new stream.json stream.json.part stereo.wav stereo.wav.assembling "
    "inbound.wav inbound.wav.part outbound.wav outbound.wav.part"
).split()

PLAN = {
    "write": (("ENOSPC", "EIO"), 300),
    "openat": (("EMFILE", "ENOSPC", "EIO"), 40),
    "fsync": (("EIO", "ENOSPC"), 30),
    "rename": (("EIO", "ENOSPC"), 20),
    "close": (("EIO",), 20),
    "ftruncate": (("EIO",), 10),
    "pwrite64": (("ENOSPC",), 10),
    "syncfs": (("EIO",), 3),
}
"""Calls, how they fail, and up to which n: beyond that no thread makes as many."""


@dataclass(frozen=True)
class Fault:
    """The n-th call of this name in a thread fails so."""

    call: str
    error: str
    number: int

    def __str__(self) -> str:
        return f"{self.call} {self.error} n={self.number}"


@dataclass
class Trial:
    """What came of a fault. ``declared_s`` is the audio that was said not to be recorded.

    ``late`` are streams that were not finished when the server ended, as the fault came back with every attempt.
    """

    name: str
    struck: int = 0
    declared_s: float = 0.0
    segments: int = 0
    late: list[str] = field(default_factory=list)
    degraded_after_s: float | None = None
    problems: list[str] = field(default_factory=list)


def plan(most: int | None = None, seed: int = 0) -> list[Fault]:
    """Every fault, or so many of them by chance, each call among them."""
    faults = [
        Fault(call, errors[number % len(errors)], number)
        for call, (errors, last) in PLAN.items()
        for number in range(1, last + 1)
    ]
    if most is None or most >= len(faults):
        return faults
    dice = random.Random(seed)
    first = [dice.choice(list(group)) for _, group in itertools.groupby(faults, lambda fault: fault.call)]
    rest = [fault for fault in faults if fault not in first]
    return (first + dice.sample(rest, max(most - len(first), 0)))[:most]


def run(place: Path, faults: Sequence[Fault], *, say: Say) -> Outcome:
    """Fault by fault, some at once. Raises CannotRun."""
    if shutil.which("strace") is None:
        raise CannotRun("strace is needed: on Debian, apt-get install strace")
    voices = cast(STREAMS, SPOKEN_S + 1)
    done: list[Trial] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for trial in pool.map(lambda numbered: _one(*numbered, place, voices), enumerate(faults)):
            done.append(trial)
            if len(done) % 20 == 0 or trial.problems:
                say(f"faults: {len(done)} of {len(faults)}, {sum(bool(one.problems) for one in done)} with problems")
    return _outcome("one call that fails", done)


def _one(number: int, fault: Fault, place: Path, voices: Sequence[Sequence[Voice]]) -> Trial:
    """A server, calls, and one call of its threads that fails."""
    name = f"fault-{number:04}"
    folder = place / name
    folder.mkdir(parents=True)
    root = folder / "recordings"
    calls = callers(voices, name)
    folders = [root / name / str(call.number) for call in calls]
    paths = [root, *folders, *(path / file for path in folders for file in FILES)]
    trace = folder / "trace"
    strace = [  # -D: the server stays our own child, which signals reach
        *("strace", "-D", "-f", "--seccomp-bpf", "-q", "-ttt", "-o", str(trace)),
        *("-e", f"trace={fault.call}", "-e", "signal=none"),
        *("-e", f"inject={fault.call}:error={fault.error}:when={fault.number}"),
        *itertools.chain.from_iterable(("-P", str(path)) for path in paths),
    ]
    trial = Trial(str(fault))
    tables: Tables = {"recordings": {"directory": str(root), "path": "{parameters.name}/{parameters.number}"}}
    with Served(folder, tables, before=strace).wait() as server:
        with _watched(server) as degraded:
            _talk(calls, server)
            trial.late = _left(folders, FINAL_S)
            _told(degraded)
        for call in calls:
            call.hang_up()
        if server.process.poll() is not None:
            trial.problems.append(f"the process ended with {server.process.returncode}")
    struck = [float(found[1]) for found in re.finditer(r"^\d+ +(\d+\.\d+).*\(INJECTED\)", trace.read_text(), re.M)]
    trial.struck = len(struck)
    if trial.late:  # each of its threads had its own n-th call
        _finished_by_the_next_start(folder, tables, folders, trial)
    _judge(trial, server, calls, folders)
    _judge_degraded(trial, struck[0] if struck else None, degraded)
    if not trial.problems:
        shutil.rmtree(folder)
    return trial


def full_disk(place: Path, *, rounds: int, say: Say) -> Outcome:
    """A disk of its own (a tmpfs) that is full for two seconds of every call. Raises CannotRun. Needs root."""
    done = []
    voices = cast(STREAMS, 7.0)
    for number in range(rounds):
        trial = Trial(f"full disk, round {number}")
        folder = place / f"full-{number}"
        (root := folder / "recordings").mkdir(parents=True)
        with _mounted(root):
            ballast = root / "ballast"
            trial = _for_a_while(trial, folder, voices, lambda server, ballast=ballast: _fill(ballast), ballast.unlink)
        done.append(trial)
        say(f"full disk: round {number + 1}, {trial.declared_s:.1f} s not recorded, {trial.segments} new files")
    return _outcome("a disk full for 2 s", done)


def no_descriptors(place: Path, *, rounds: int, say: Say) -> Outcome:
    """No descriptor is left for two seconds, while streams begin and others live. Nobody can ask how it is then."""
    done = []
    voices = cast(STREAMS, 7.0)
    for number in range(rounds):
        trial = Trial(f"no descriptors, round {number}")
        folder = place / f"descriptors-{number}"
        folder.mkdir(parents=True)
        servers: list[Served] = []

        def take(server: Served, servers: list[Served] = servers) -> None:
            servers.append(server)
            used = max(int(one) for one in os.listdir(f"/proc/{server.process.pid}/fd")) + 1
            resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (used, 4096))

        def give(servers: list[Served] = servers) -> None:
            resource.prlimit(servers[0].process.pid, resource.RLIMIT_NOFILE, (4096, 4096))

        done.append(_for_a_while(trial, folder, voices, take, give, asked=False))
        say(f"no descriptors: round {number + 1}, {trial.declared_s:.1f} s not recorded")
    return _outcome("no descriptors for 2 s", done)


def _for_a_while(
    trial: Trial,
    folder: Path,
    voices: Sequence[Sequence[Voice]],
    begin: Callable[[Served], object],
    end: Callable[[], object],
    *,
    asked: bool = True,
) -> Trial:
    """Calls of 6 s, and others that begin with the fault; it begins after 1.5 s and ends after 3.5 s."""
    calls = callers(voices, "all")
    folders = [folder / "recordings" / "all" / str(call.number) for call in calls]
    tables: Tables = {
        "recordings": {"directory": str(folder / "recordings"), "path": "{parameters.name}/{parameters.number}"},
        "limits": {"free_bytes": 0},
    }
    with Served(folder, tables).wait() as server, _watched(server) as degraded:
        early, late = calls[::2], calls[1::2]
        for call in early:
            call.dial(server.address, server.token)
        for call in late:
            call.dial(server.address, server.token, start=False)
        pace_for(early, 1.5)
        begin(server)
        struck = time.time()
        for call in late:
            call.start()
        pace_for(calls, 2.0)
        end()
        pace_for(calls, 2.5)
        for call in calls:
            call.stop()
        left = _left(folders, FINAL_S)
        trial.problems += [f"stream {name} is not finished after {FINAL_S:g} s" for name in left]
        for call in calls:
            call.hang_up()
        if server.process.poll() is not None:
            trial.problems.append(f"the process ended with {server.process.returncode}")
        _judge(trial, server, calls, folders)
        if asked and (trial.declared_s or trial.segments):
            _judge_degraded(trial, struck, degraded)
        trial.struck = 1
    return trial


def _talk(calls: list[Caller], server: Served) -> None:
    for call in calls:
        call.dial(server.address, server.token)
    end = time.monotonic() + SPOKEN_S
    pace(calls, lambda: time.monotonic() >= end)
    for call in calls:
        call.stop()


@contextlib.contextmanager
def _watched(server: Served) -> Iterator[list[tuple[float, str]]]:
    """Ask ``/readyz`` ten times a second: when it was not ready, and why (seconds since 1970)."""
    seen: list[tuple[float, str]] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.1):
            try:
                urllib.request.urlopen(f"{server.management}/readyz", timeout=10).close()
            except urllib.error.HTTPError as refused:
                with refused:
                    seen.append((time.time(), json.loads(refused.read())["reason"]))
            except OSError:
                pass  # there is no descriptor left for us either

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def _left(folders: Sequence[Path], within_s: float) -> list[str]:
    """Wait until every folder is final: those that are not by then."""
    deadline = time.monotonic() + within_s
    while True:
        left = [
            path.name for path in folders if (path / "journal.jsonl").exists() or not (path / "stream.json").exists()
        ]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.02)


def _finished_by_the_next_start(folder: Path, tables: Tables, folders: Sequence[Path], trial: Trial) -> None:
    with Served(folder, tables, name="next").wait():
        trial.problems += [f"stream {name} is not finished by the next start" for name in _left(folders, 0)]


def _judge(trial: Trial, server: Served, calls: Sequence[Caller], folders: Sequence[Path]) -> None:
    reasons = {line["stream"]: line["reason"] for line in server.said() if line.get("event") == "stream_ended"}
    if (others := set(reasons.values()) - {"stop"}) or len(reasons) != len(calls):
        trial.problems.append(f"{len(reasons)} of {len(calls)} streams ended, by {sorted(others) or 'stop'}")
    for call, folder in zip(calls, folders, strict=True):
        if call.cut:
            trial.problems.append(f"stream {call.number} was cut")
        if unfinished := [path.name for path in folder.iterdir() if path.suffix in (".part", ".assembling")]:
            trial.problems.append(f"stream {folder.name}: {', '.join(unfinished)} is left")
        if (folder / "stream.json").exists():
            told = json.loads((folder / "stream.json").read_bytes())
            for voice, sent in zip(call.voices, call.sent, strict=True):
                _judge_track(trial, folder, told, voice, len(sent) * 160)


def _judge_track(trial: Trial, folder: Path, told: dict[str, Any], voice: Voice, length: int) -> None:
    """Every sample that was said is in a file, or declared as not recorded, and no other is."""
    here = np.zeros(length, bool)
    where = f"stream {folder.name} {voice.track}"
    for path, start in _files(folder, voice.track):
        audio: Samples = samples_of(path)
        known = voice.samples[start : start + len(audio)]
        right = audio[: len(known)] == known
        if len(audio) > length - start or (audio[: len(known)][~right] != 0).any():
            trial.problems.append(f"{where}: {path.name} has audio that nobody said there")
            return
        here[start : start + len(audio)] |= right
        trial.segments += start > 0
    declared = np.zeros(length, bool)
    for note in told["annotations"]:
        if (note["kind"], note["track"]) == ("not_recorded", voice.track):
            declared[note["start"] : note["end"]] = True
    if (here & declared).any():
        trial.problems.append(f"{where}: {int((here & declared).sum())} samples are there and declared as missing")
    if hidden := int((~here & ~declared).sum()):
        trial.problems.append(f"{where}: {hidden} samples are missing, and nothing says so")
    trial.declared_s += float(declared.sum()) / RATE


def _files(folder: Path, track: str) -> Iterator[tuple[Path, int]]:
    """A track's files, and where on the timeline each begins."""
    for path in sorted(folder.glob(f"{track}*.wav")):
        if found := re.fullmatch(rf"{track}(?:@(\d+))?", path.stem):
            yield path, int(found[1] or 0)


def _told(degraded: Sequence[tuple[float, str]]) -> None:
    """Wait until it was said that the disk fails, as long as that may take: the call that failed may be the last."""
    deadline = time.monotonic() + DEGRADED_S
    while time.monotonic() < deadline and not any(why == "disk" for _, why in degraded):
        time.sleep(0.05)


def _judge_degraded(trial: Trial, struck: float | None, degraded: Sequence[tuple[float, str]]) -> None:
    """Whether others were told in time not to send new streams here."""
    if struck is None:
        return
    after = [at for at, why in degraded if at >= struck and why == "disk"]
    if after:
        trial.degraded_after_s = after[0] - struck
    if not after or after[0] - struck > DEGRADED_S + 0.2:  # it is asked ten times a second
        trial.problems.append("not said to be degraded in time" if after else "never said to be degraded")


@contextlib.contextmanager
def _mounted(directory: Path) -> Iterator[None]:
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(directory)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        raise CannotRun("a disk of its own needs root, and mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        for size in (65_536, 512):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as problem:
                if problem.errno != errno.ENOSPC:
                    raise


def _outcome(what: str, done: Sequence[Trial]) -> Outcome:
    struck = [trial for trial in done if trial.struck]
    problems = [f"{trial.name}: {problem}" for trial in done for problem in trial.problems]
    degraded = [trial.degraded_after_s for trial in done if trial.degraded_after_s is not None]
    return Outcome(
        "faults",
        f"{what}; {STREAMS} calls",
        len(struck),
        "no call ended, nothing lost that is not declared",
        f"{max((trial.declared_s for trial in done), default=0):.2f} s declared, {len(problems)} problems",
        verdict(not problems),
        problems,
        {
            "trials": len(done),
            "trials_in_which_a_call_failed": len(struck),
            "declared_s": distribution([trial.declared_s for trial in struck]),
            "degraded_after_s": distribution(degraded),
            "new_segments": sum(trial.segments for trial in done),
            "streams_finished_by_the_next_start": sum(len(trial.late) for trial in done),
        },
    )
