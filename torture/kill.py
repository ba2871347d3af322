"""``kill -9`` at a random moment of twenty live calls: what the next start makes of it, to the message.

A server finishes what the trial before has left, and takes the next calls until it is killed. Half of the trials kill
it in the middle of the calls, the others while streams begin, while they end, or again while it finishes what the first
kill has left.
"""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from caller import Caller, callers, cast
from folder import NEW, Found, folders, lost_s, read
from outcome import Outcome, Say, distribution, verdict
from pacing import Turn, pace, speak
from readers import QUICK, disagreement
from served import Scheduled, Served, Tables

LATENCY_MS = 100
ASKED_MS = LATENCY_MS + 50
PHASES = {"live": 10, "start": 4, "end": 3, "recovery": 3}
"""When the process is killed, and in how many of twenty trials."""
LONGEST_S = 2.5
"""No call lasts longer."""
LOOK_S = 0.5
"""So long before a kill begins the look at what the server's threads wait for."""
SAMPLE = 10
"""Of so many trials one has its files read by all programs."""

WHAT = "kill -9, ms of a track lost"


@dataclass
class Trial:
    """One kill. ``lost_s`` is by track; ``late_s`` is how late the worst message left the sender.

    ``waited_s`` is how long a thread of the server had waited for a processor just before the kill, and ``disk`` if one
    waited for a disk then.
    """

    number: int
    seed: int
    phase: str
    lost_s: list[float] = field(default_factory=list)
    late_s: float = 0.0
    waited_s: float = 0.0
    disk: bool = False
    problems: list[str] = field(default_factory=list)

    @property
    def worst_ms(self) -> float:
        """Of its tracks."""
        return max(self.lost_s, default=0.0) * 1000


class Killer(threading.Thread):
    """Kills a server at a moment, and looks how long its threads had to wait for a processor just before."""

    def __init__(self, server: Served, at: float) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._due = at
        self.at: float | None = None
        self.waited_s = 0.0
        self.disk = False
        self.start()

    def run(self) -> None:
        """Wait, and do it."""
        time.sleep(max(0.0, self._due - LOOK_S - time.monotonic()))
        looked_at, before = time.monotonic(), self._server.scheduled()
        time.sleep(max(0.0, self._due - time.monotonic()))
        after = self._server.scheduled()
        self.at = self._server.kill()
        for thread, now in after.items():
            then = before.get(thread, Scheduled())
            # The kernel adds a wait up when it is over.
            stuck = then.state == now.state == "R" and now.ran_s == then.ran_s
            waited_s = self.at - looked_at if stuck else now.waited_s - then.waited_s
            self.waited_s = max(self.waited_s, waited_s)
            self.disk = self.disk or now.state == "D"


def run(
    place: Path,
    *,
    trials: int = 200,
    streams: int = 20,
    seed: int,
    say: Say,
    phases: Sequence[str] = (),
    asked_ms: float = ASKED_MS,
    longest_s: float = LONGEST_S,
) -> Outcome:
    """All trials below a new folder of ``place``; that of a trial that failed stays there."""
    done: list[Trial] = []
    voices = cast(streams, longest_s + 1)
    tables: Tables = {"recordings": {"directory": str(place / "recordings"), "path": "{parameters.name}/{stream_id}"}}
    began = time.monotonic()
    for number in range(trials):
        dice = random.Random(seed + number)
        phase = phases[number % len(phases)] if phases else dice.choices(list(PHASES), list(PHASES.values()))[0]
        trial = Trial(number, seed + number, phase)
        done.append(trial)
        calls = callers(voices, f"trial-{number:04}")
        _one(trial, place, tables, calls, dice, longest_s)
        if trial.worst_ms > asked_ms:
            trial.problems.append(
                f"{trial.worst_ms:.0f} ms were lost, the sender being {trial.late_s * 1000:.0f} ms late, "
                f"and the server having waited {trial.waited_s * 1000:.0f} ms for a processor"
                + (" and just then for a disk" if trial.disk else "")
            )
        keep_or_remove(trial, place)
        if (number + 1) % 10 == 0 or trial.problems:
            worst = max(one.worst_ms for one in done)
            say(f"kill: {number + 1} of {trials}, worst {worst:.0f} ms, {time.monotonic() - began:.0f} s")
            for problem in trial.problems:
                say(f"kill: {problem}")
    return _outcome(done, streams, asked_ms)


def _one(trial: Trial, place: Path, tables: Tables, calls: list[Caller], dice: random.Random, longest_s: float) -> None:
    server = Served(place, tables).wait()
    try:
        killer, turn = _plan(trial.phase, server, calls, dice, longest_s)
        trial.late_s = pace(calls, lambda: killer.at is not None, turn)
    finally:
        server.kill()
    for call in calls:
        call.hang_up()
    killer.join()
    assert killer.at is not None
    trial.waited_s, trial.disk = killer.waited_s, killer.disk
    if trial.phase == "recovery":
        for number in range(dice.randint(1, 2)):
            _interrupt(Served(place, tables, name=f"interrupted-{number}"), _root(place, trial), dice)
    with Served(place, tables).wait() as again:
        trial.problems += _look(trial, _root(place, trial), calls, killer.at)
        trial.problems += [f"the start said {line['event']}" for line in again.said() if line.get("level") == "error"]


def _plan(
    phase: str, server: Served, calls: list[Caller], dice: random.Random, longest_s: float
) -> tuple[Killer, Turn]:
    """When the kill comes, and what callers do until then."""
    now = time.monotonic()
    if phase == "start":
        joining = {call: now + dice.uniform(0.0, 0.3) for call in calls}

        def join(call: Caller, at: float) -> None:
            if call.socket is None and at >= joining[call] and not call.cut:
                _dial(call, server)
            elif call.socket is not None:
                speak(call, at)

        return Killer(server, now + dice.uniform(0.02, 0.6)), join
    for call in calls:
        _dial(call, server)
    at = time.monotonic() + dice.uniform(0.2, longest_s - 0.5)
    leaving = {call: at - dice.uniform(-0.1, 0.5) for call in calls}

    def leave(call: Caller, now: float) -> None:
        if now >= leaving[call] and not call.over:
            call.stop()
        speak(call, now)

    return Killer(server, at), leave if phase == "end" else speak


def _dial(call: Caller, server: Served) -> None:
    try:
        call.dial(server.address, server.token)
    except OSError:  # it was killed meanwhile
        call.cut = True


def _interrupt(server: Served, root: Path, dice: random.Random) -> None:
    """Kill a server that finishes what is below ``root``, a moment after it has begun with that."""
    waiting = len(list(root.rglob("journal.jsonl")))
    deadline = time.monotonic() + 10
    while server.process.poll() is None and time.monotonic() < deadline:
        if waiting == 0 or len(list(root.rglob("journal.jsonl"))) < waiting:
            break
        time.sleep(0.001)
    time.sleep(dice.uniform(0.0, 0.1))
    server.kill()


def _look(trial: Trial, root: Path, calls: Sequence[Caller], at: float) -> list[str]:
    """What is wrong with what is there now; and what is lost of every track, into ``trial``."""
    problems: list[str] = []
    found: dict[str, Found] = {}
    for path in folders(root):
        if {child.name for child in path.iterdir()} == {NEW}:
            continue  # it was killed before there was anything to say of the stream
        one = read(path)
        found[one.stream_id] = one
        problems += [f"{path.name}: {problem}" for problem in one.problems]
        programs = None if trial.number % SAMPLE == 0 and len(found) == 1 else QUICK
        for track, samples in one.audio.items():
            problems += disagreement(path / f"{track}.wav", len(samples), programs)
    for call in calls:
        one_found = found.get(call.stream_id)
        lost, wrong = lost_s(call, one_found, at)
        trial.lost_s += lost
        problems += wrong
        if one_found is not None and one_found.reason not in ("crash", "stop" if call.over else "crash"):
            problems.append(f"stream {call.number} ended by {one_found.reason}")
    return problems


def _root(place: Path, trial: Trial) -> Path:
    return place / "recordings" / f"trial-{trial.number:04}"


def keep_or_remove(trial: Trial, place: Path) -> None:
    """What a trial has left: only of one that missed."""
    if not trial.problems:
        shutil.rmtree(_root(place, trial), ignore_errors=True)


def _outcome(done: Sequence[Trial], streams: int, asked_ms: float) -> Outcome:
    worst = [trial.worst_ms for trial in done]
    tracks = [lost * 1000 for trial in done for lost in trial.lost_s]
    late = [trial.late_s * 1000 for trial in done]
    problems = [
        f"trial {trial.number} ({trial.phase}, --seed {trial.seed}): {problem}"
        for trial in done
        for problem in trial.problems
    ]
    return Outcome(
        "kill",
        f"{WHAT}; {streams} calls",
        len(done),
        f"≤ {asked_ms:g}",
        f"{max(worst, default=0):.0f}",
        verdict(not problems),
        problems,
        {
            "lost_ms_worst_of_trial": distribution(worst),
            "lost_ms_of_track": distribution(tracks),
            "by_phase": {
                phase: distribution([trial.worst_ms for trial in done if trial.phase == phase]) for phase in PHASES
            },
            "sender_late_ms": distribution(late),
            "server_waited_for_a_disk": sum(trial.disk for trial in done),
            "server_waited_for_a_processor_ms": distribution([trial.waited_s * 1000 for trial in done]),
            "messages": "20 ms of a track each",
        },
    )
