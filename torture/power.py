"""A power cut at every moment of two calls: what a real server did to its files, replayed up to there, and recovered.

strace writes down what a server does while two calls begin, live and, one of them, end. From that the tree is built as
it may be on the disk after each system call, with five kinds of luck (``disk.py``), and the recovery runs over it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import os
import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from receiver_plugins.wav import plugin

import calls as traced
from caller import Caller, callers, cast
from calls import Call
from disk import Disk, Luck
from folder import UNFINISHED, Unreadable, folders, missing_from, read, samples_of
from outcome import Outcome, Say, distribution, verdict
from pacing import pace, speak
from receiver.recordings import recover
from served import Served

ASKED_S = 1.0
SETTLED_S = 30.0
JOURNAL = "journal.jsonl"
BRIEF_S = 0.2
"""How long a call lasts that is over before anything of it has been synced."""


@dataclass
class Recorded:
    """What a server did for some calls. ``ahead_s`` is what the clock of the calls says less than that of strace."""

    root: Path
    calls: list[Call]
    callers: list[Caller]
    ahead_s: float
    final_at: dict[Caller, float]  # when a call that ended was in its files


@dataclass
class Remains:
    """What the recovery makes of one tree: the messages that are there whole, by stream and track."""

    whole: dict[tuple[str, str], int] = field(default_factory=dict)
    left: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass
class Tally:
    """What the cuts came to."""

    cuts: int = 0
    different: int = 0
    lost_ms: dict[Luck, list[float]] = field(default_factory=lambda: {luck: [] for luck in Luck})
    left: int = 0  # folders left for a person: not even the first line of the journal had come to the disk
    problems: list[str] = field(default_factory=list)


def run(
    place: Path,
    *,
    seconds: float = 12.0,
    stride: int = 1,
    seed: int,
    say: Say,
    asked_s: float = ASKED_S,
) -> Outcome:
    """All of it below a new folder of ``place``. With a ``stride`` only every so manieth moment is looked at.

    Raises CannotRun without strace.
    """
    recorded = record(place, seconds)
    writes = sum(call.kind == "write" for call in recorded.calls)
    syncs = sum(call.kind in ("sync", "sync_all") for call in recorded.calls)
    say(f"power: {len(recorded.calls)} calls below the root, {writes} writes and {syncs} syncs among them")
    memory = Path("/dev/shm")
    replays = (memory if os.access(memory, os.W_OK) else place) / f"torture-{os.getpid()}"
    replays.mkdir()
    try:
        tally = asyncio.run(_replayed(recorded, replays, stride, seed, say))
    finally:
        shutil.rmtree(replays)
    worst_ms = max((max(lost, default=0.0) for lost in tally.lost_ms.values()), default=0.0)
    if worst_ms > asked_s * 1000:
        tally.problems.append(f"{worst_ms:.0f} ms of a track were lost")
    shown = tally.problems[:20] + ([f"… {len(tally.problems)} in all"] if len(tally.problems) > 20 else [])
    values = {luck.value: distribution(lost) for luck, lost in tally.lost_ms.items()}
    return Outcome(
        "power",
        f"power cut after each of {len(recorded.calls)} calls, ms lost",
        tally.cuts,
        f"≤ {asked_s * 1000:g}",
        f"{worst_ms:.0f}",
        verdict(not tally.problems),
        shown,
        {"lost_ms": values, "different_trees": tally.different, "folders_left_for_a_person": tally.left},
    )


def record(place: Path, seconds: float) -> Recorded:
    """Three calls to a server under strace: one ends, one is over when it has hardly begun, one is live at the end."""
    traces = place / "trace"
    traces.mkdir()
    said = callers(cast(3, seconds + 1), "power")
    server = Served(place, before=traced.command(traces / "thread")).wait()
    final_at: dict[Caller, float] = {}
    try:
        first, second, brief = said
        began = time.monotonic()

        joins = {first: 0.0, second: seconds * 0.25, brief: seconds * 0.4}
        leaves = {first: seconds * 0.6, brief: seconds * 0.4 + BRIEF_S}

        def turn(caller: Caller, now: float) -> None:
            if caller.socket is None and now >= began + joins[caller]:
                caller.dial(server.address, server.token)
            if caller in leaves and not caller.over and now >= began + leaves[caller]:
                caller.stop()
            if caller.socket is not None:
                speak(caller, now)

        def over() -> bool:
            for caller in leaves:
                if caller.over and caller not in final_at and _is_final(server.root, caller):
                    final_at[caller] = time.monotonic()
            now = time.monotonic()
            return now >= began + seconds and (len(final_at) == len(leaves) or now > began + SETTLED_S)

        pace(said, over, turn)
        ahead_s = time.time() - time.monotonic()
    finally:
        server.kill()
    for caller in said:
        caller.hang_up()
    _written(traces)
    return Recorded(server.root, traced.read(traces / "thread", server.root), said, ahead_s, final_at)


def _is_final(root: Path, caller: Caller) -> bool:
    """Whether there is nothing left to do for this call."""
    done = [path for path in root.rglob("stream.json") if f'"{caller.stream_id}"'.encode() in path.read_bytes()]
    return bool(done) and not any((path.parent / "journal.jsonl").exists() for path in done)


def _written(traces: Path) -> None:
    """Wait until strace has written the last line of every thread."""
    deadline = time.monotonic() + SETTLED_S
    while time.monotonic() < deadline:
        if all(b"\n+++ " in b"\n" + _tail(path) or b" +++ " in _tail(path) for path in traces.iterdir()):
            return
        time.sleep(0.05)


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 200))
        return file.read()


async def _replayed(recorded: Recorded, place: Path, stride: int, seed: int, say: Say) -> Tally:
    """Cut the power after every call, in each way; what is there again and again is recovered once."""
    logging.getLogger("receiver").setLevel(logging.CRITICAL)  # it says of every torn journal that it is torn
    tally = Tally()
    disk = Disk(recorded.root)
    known: dict[bytes, Remains] = {}
    began = said_at = time.monotonic()
    async with plugin() as opened:
        assert opened.recover is not None
        recovered = partial(recover, recoverers={"wav": opened.recover})
        for number, (call, ends) in enumerate(_in_time(recorded.calls)):
            if not ends:
                disk.begin(call)
                continue
            disk.do(call)
            if number % stride and call.kind == "write":
                continue  # whatever else happens is rare, and looked at
            for luck in Luck:
                left = disk.left(luck, random.Random(f"{seed} {number} {luck}"))
                digest = _digest(left)
                if digest not in known:
                    known[digest] = _remains(left, place / str(len(known)), recovered, recorded.callers)
                tally.cuts += 1
                _count(tally, known[digest], recorded, call, luck)
            if time.monotonic() - said_at > 10:
                said_at = time.monotonic()
                say(f"power: {tally.cuts} cuts, {len(known)} of them different, {said_at - began:.0f} s")
    tally.left = sum(remains.left for remains in known.values())
    tally.different = len(known)
    return tally


def _in_time(calls: Sequence[Call]) -> list[tuple[Call, bool]]:
    """All calls by when they came back, and syncs once more by when they began."""
    events = [(call.at, True, call) for call in calls]
    events += [(call.begun, False, call) for call in calls if call.kind in ("sync", "sync_all")]
    return [(call, ends) for _, ends, call in sorted(events, key=lambda event: event[:2])]


def _remains(
    left: list[tuple[str, bytes | None]],
    place: Path,
    recovered: Callable[[Path], list[Path]],
    callers: Sequence[Caller],
) -> Remains:
    """Put it there, have it recovered, and read it."""
    root = place / "recordings"
    root.mkdir(parents=True)
    for path, content in left:
        if content is None:
            (root / path).mkdir()
        else:
            (root / path).write_bytes(content)
    remains = Remains()
    recovered(root)
    once = _tree(root)
    if recovered(root) or _tree(root) != once:
        remains.problems.append("a second recovery changed something")
    named = {caller.stream_id: caller for caller in callers}
    for folder in folders(root):
        torn = not (folder / JOURNAL).exists() or not (folder / JOURNAL).read_bytes().strip(b"\0")
        if not (folder / "stream.json").exists():
            remains.left += 1
            remains.problems += [] if torn else [f"{folder.name} was not recovered"]
            remains.problems += _unreadable(folder)
            continue
        found = read(folder)
        if torn and (lying := f"{JOURNAL} was left") in found.problems:
            # The stream was over before a word of its journal had come to the disk: stream.json has all of it.
            remains.left += 1
            found.problems.remove(lying)
        remains.problems += found.problems
        for voice in named[found.stream_id].voices:
            whole, problem = missing_from(found.audio.get(voice.track), voice)
            remains.whole[found.stream_id, voice.track] = whole
            remains.problems += [problem] if problem else []
    shutil.rmtree(place)
    return remains


def _unreadable(folder: Path) -> list[str]:
    """What is wrong with a folder that is left for a person: nothing, unless it has files that look finished.

    An empty one is a name that was taken for what still lies there under another.
    """
    problems = []
    for path in folder.glob("*.wav"):
        if path.stat().st_size == 0 and any(path.with_name(path.name + end).exists() for end in UNFINISHED):
            continue
        try:
            samples_of(path, 2 if path.name == "stereo.wav" else 1)
        except Unreadable as problem:
            problems.append(str(problem))
    return problems


def _count(tally: Tally, remains: Remains, recorded: Recorded, call: Call, luck: Luck) -> None:
    """What that costs if the power fails when ``call`` comes back."""
    at = call.at - recorded.ahead_s
    for caller in recorded.callers:
        for voice, sent in zip(caller.voices, caller.sent, strict=True):
            whole = remains.whole.get((caller.stream_id, voice.track), 0)
            lost_ms = max(0.0, at - sent[whole]) * 1000 if whole < len(sent) else 0.0
            tally.lost_ms[luck].append(lost_ms)
            if lost_ms and at > recorded.final_at.get(caller, math.inf) + ASKED_S:
                tally.problems.append(
                    f"{luck.value}, after {call.kind}: {voice.track} of a call that was final is lost"
                )
    tally.problems += [f"{luck.value}, after {call.kind} of {call.path}: {problem}" for problem in remains.problems]


def _digest(left: list[tuple[str, bytes | None]]) -> bytes:
    digest = hashlib.sha256()
    for path, content in left:
        digest.update(f"{path} {-1 if content is None else len(content)}\n".encode())
        digest.update(content or b"")
    return digest.digest()


def _tree(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
