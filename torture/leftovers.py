"""A thousand streams that a killed server has left: how long the next start takes with them, and what it leaves alone.

They are copies, under ids of their own, of twenty calls that a server was really killed in. Beside them lie files that
are none of ours, and a second server has live calls below the same root.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
import uuid
from pathlib import Path

from caller import Caller, callers, cast
from folder import HEADER, read
from outcome import Outcome, Say, verdict
from pacing import pace
from served import Served

ASKED_S = 10.0
CALLS = 20
LIVE = 4
LIVE_S = 120.0
PATIENCE_S = 20.0
ENCODING = ".wav.part"

Tree = dict[str, tuple[int, int, int, str]]


def run(place: Path, *, streams: int = 1000, seconds: float = 3.0, say: Say, asked_s: float = ASKED_S) -> Outcome:
    """All of it below a new folder of ``place``, which is removed where nothing went wrong."""
    problems: list[str] = []
    with Served(place, name="empty").wait() as empty:
        empty_s = empty.listening_at - empty.started_at
    say(f"leftovers: a start without any takes {empty_s:.2f} s")
    originals = crashed(place / "crash", min(CALLS, streams), seconds)
    root = place / "recordings"
    with Served(place, name="neighbour").wait() as neighbour:
        live = callers(cast(LIVE, LIVE_S), "live")
        for call in live:
            call.dial(neighbour.address, neighbour.token)
        over = threading.Event()
        talking = threading.Thread(target=pace, args=(live, over.is_set))
        talking.start()
        try:
            live_before = _all_live(root)
            audio = multiplied(originals, root / "2026-01-01", streams)
            bystanders = _bystanders(root / "2026-01-01")
            say(f"leftovers: {streams} streams of {seconds:g} s are there")
            with Served(place, name="second").wait() as second:
                took_s = second.listening_at - second.started_at
                recovered = [line["streams"] for line in second.said() if line["event"] == "recovered"]
            say(f"leftovers: the start took {took_s:.2f} s")
            problems += [] if recovered == [streams] else [f"{recovered} streams were finished, not {streams}"]
            if _journals(root) != live_before or len(live_before) != LIVE:
                problems.append("a live process's folders were not left alone")
            problems += _unfinished(audio)
            problems += [f"{path} has changed" for path, content in bystanders.items() if path.read_bytes() != content]
            once = tree(root / "2026-01-01")
            with Served(place, name="third").wait() as third:
                again_s = third.listening_at - third.started_at
            if tree(root / "2026-01-01") != once:
                problems.append("a second start changed something")
        finally:
            over.set()
            talking.join()
        problems += _live_ends(live, root)
    if took_s - empty_s > asked_s:
        problems.append(f"the start took {took_s - empty_s:.1f} s longer than one without leftovers")
    values = {"empty_start_s": empty_s, "start_s": took_s, "second_start_s": again_s, "seconds_of_audio": seconds}
    if not problems:
        shutil.rmtree(root)
        shutil.rmtree(place / "crash")
    return Outcome(
        "leftovers",
        f"{streams} crashed streams finished at start, s",
        1,
        f"≤ {asked_s:g}",
        f"{took_s - empty_s:.1f}",
        verdict(not problems),
        problems,
        {name: round(value, 2) for name, value in values.items()},
    )


def crashed(place: Path, streams: int, seconds: float) -> list[Path]:
    """The folders of calls that a server was killed in."""
    place.mkdir()
    calls = callers(cast(streams, seconds + 1), "crashed")
    server = Served(place).wait()
    try:
        for call in calls:
            call.dial(server.address, server.token)
        end = time.monotonic() + seconds
        pace(calls, lambda: time.monotonic() >= end)
    finally:
        server.kill()
    for call in calls:
        call.hang_up()
    return sorted(path.parent for path in (place / "recordings").rglob("journal.jsonl"))


def multiplied(originals: list[Path], day: Path, count: int) -> dict[Path, dict[str, str]]:
    """So many copies under new ids; of each the digest of every track's audio."""
    day.mkdir(parents=True)
    audio: dict[Path, dict[str, str]] = {}
    for number in range(count):
        original = originals[number % len(originals)]
        copy = day / str(uuid.uuid4())
        shutil.copytree(original, copy)
        journal = copy / "journal.jsonl"
        journal.write_bytes(journal.read_bytes().replace(original.name.encode(), copy.name.encode(), 1))
        audio[copy] = {
            part.name.removesuffix(ENCODING): _digest(part.read_bytes()[HEADER.size :])
            for part in original.glob(f"*{ENCODING}")
        }
    return audio


def tree(root: Path) -> Tree:
    """Everything below a folder: size, mode, time and content of each file."""
    found: Tree = {}
    for path in sorted(root.rglob("*")):
        if path.is_file():
            status = path.stat()
            found[str(path)] = (status.st_size, status.st_mode, status.st_mtime_ns, _digest(path.read_bytes()))
    return found


def _journals(root: Path) -> set[Path]:
    return {path.parent for path in root.rglob("journal.jsonl")}


def _all_live(root: Path) -> set[Path]:
    """The folders of the live calls, once all of them are there, or time is over."""
    deadline = time.monotonic() + PATIENCE_S
    while len(found := _journals(root)) < LIVE and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def _bystanders(day: Path) -> dict[Path, bytes]:
    """Files that are none of ours: beside folders, in one, and with the name that a recording wants."""
    first, second = sorted(day.iterdir())[:2]
    there = {day / "notes.txt": b"mine", first / "mine.wav.backup": b"mine", second / "inbound.wav": b"x" * 100}
    for path, content in there.items():
        path.write_bytes(content)
    return there


def _unfinished(audio: dict[Path, dict[str, str]]) -> list[str]:
    """What is not as it was said: of every folder, all audio that was there, under the name or the next free one."""
    problems = []
    for folder, tracks in audio.items():
        said = json.loads((folder / "stream.json").read_bytes())
        if (said["id"], said["end"]["reason"]) != (folder.name, "crash"):
            problems.append(f"{folder.name} is told to be {said['id']}, ended by {said['end']['reason']}")
        if left := [path.name for path in folder.iterdir() if path.suffix == ".part" or path.name == "journal.jsonl"]:
            problems.append(f"{folder.name} still has {left}")
        there = {_digest(path.read_bytes()[HEADER.size :]) for path in folder.glob("*.wav")}
        problems += [f"{folder.name}: {track} is gone" for track, digest in tracks.items() if digest not in there]
    return problems


def _live_ends(live: list[Caller], root: Path) -> list[str]:
    """End the live calls: all of them, and all that was said, are in the neighbour's folders."""
    for call in live:
        call.stop()
    problems = []
    deadline = time.monotonic() + PATIENCE_S
    wanted = {call.stream_id: call for call in live}
    while wanted and time.monotonic() < deadline:
        for path in root.glob("*/*/stream.json"):
            if (call := wanted.get(json.loads(path.read_bytes())["stream_id"])) is None:
                continue
            if (path.parent / "journal.jsonl").exists():
                continue
            del wanted[call.stream_id]
            found = read(path.parent)
            problems += [f"live {call.number}: {problem}" for problem in found.problems]
            for voice in call.voices:
                size = call.said * 160
                if found.reason != "stop" or found.audio[voice.track].tolist() != voice.samples[:size].tolist():
                    problems.append(
                        f"live {call.number}: {voice.track} is not what was said, or ended by {found.reason}"
                    )
        time.sleep(0.05)
    for call in live:
        call.hang_up()
    return problems + [f"{name} did not end" for name in wanted]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
