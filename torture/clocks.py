"""The wall clock is put forward and back by an hour and by fifteen days: while streams begin, live and end.

Nothing of a stream may show it but the date: no audio, order, length, timeout or name. And what is looked at in
intervals (a token's file, a certificate) is still looked at.
"""

from __future__ import annotations

import secrets
import shutil
import ssl
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from caller import Caller, callers, cast
from clock import Clock
from folder import Found, folders, missing_from, read
from outcome import CannotRun, Outcome, Say, not_run, verdict
from pacing import pace, pace_for, speak
from served import Served
from voice import Voice

HOUR_S, DAYS_S = 3600.0, 15 * 86400.0
STEPS = (HOUR_S, -HOUR_S, DAYS_S, -DAYS_S)
IDLE_S, START_S = 5.0, 5.0
SLACK_S = 5.0
"""How much longer than it should something may take, on a busy machine. A step is seven hundred times as much."""
PATIENCE_S = 20.0
FROZEN = "2026-06-01 12:00:00"
CERTIFICATES = Path(__file__).parents[1] / "tests" / "asgi" / "tls"

Calls = Sequence[Caller]


class _Trouble(list[str]):
    """What went wrong, each said once."""

    def unless(self, right: bool, problem: str) -> None:
        """Note a problem."""
        if not right and problem not in self:
            self.append(problem)


def run(place: Path, *, steps: Sequence[float] = STEPS, streams: int = 6, say: Say) -> list[Outcome]:
    """All of it below a new folder of ``place``; a line for each step, and for what else depends on a clock."""
    try:
        clock = Clock(place / "clock")
    except CannotRun as problem:
        return [not_run("clocks", "wall clock stepped in flight", problem)]
    outcomes = []
    voices = cast(streams * 4, 12.0)
    token = place / "token"
    token.write_text(secrets.token_hex(16))
    tables = {
        "limits": {
            "idle_timeout_s": IDLE_S,
            "start_timeout_s": START_S,
            "auth_failures_per_minute": 0,
            "close_timeout_s": 0.5,
        },
        "recordings": {"directory": str(place / "recordings"), "path": "{parameters.name}/{stream_id}"},
        "sources.default": {"path": "/stream"},
        "sources.default.auth": {"use": "bearer", "tokens": [{"name": "file", "file": str(token)}]},
    }
    with Served(place, tables, environ=clock.environ, token=token.read_text()).wait() as server:
        ids: set[str] = set()
        for number, step in enumerate(steps):
            clock.step(0)
            problems = _Trouble()
            calls = callers(voices, f"step-{number}")
            _stepped(server, clock, step, calls, problems)
            ids |= _checked(server.root / f"step-{number}", calls[: 3 * streams], problems)
            _token_changes(server, token, problems)
            outcomes.append(_outcome(f"wall clock {_named(step)} in flight", 3 * streams, problems))
            say(f"clocks: {_named(step)} {outcomes[-1].verdict}")
        problems = _Trouble()
        for number in range(2):  # the same second, and then once more
            clock.stop_at(FROZEN)
            calls = callers(voices, f"frozen-{number}")
            _at_once(server, calls)
            more = _checked(server.root / f"frozen-{number}", calls, problems)
            problems.unless(not ids & more, "an id was given twice")
            ids |= more
        outcomes.append(_outcome("a clock that stands still, and goes back", 2 * len(voices), problems))
    outcomes += [_crashed(place, clock, voices[:streams]), _renewed(place, clock, steps)]
    if all(one.verdict == "kept" for one in outcomes):
        shutil.rmtree(place / "recordings")
    return outcomes


def _stepped(server: Served, clock: Clock, step: float, calls: Calls, problems: _Trouble) -> None:
    """A quarter of the calls is live when the step comes, one ends, one begins; the rest tests the timeouts."""
    size = len(calls) // 4
    live, ending, starting, silent = (calls[place * size : (place + 1) * size] for place in range(4))
    for call in (*live, *ending):
        call.dial(server.address, server.token)
    pace_for([*live, *ending], 0.7)
    for call in starting:
        call.dial(server.address, server.token, start=False)
    for call in silent[1:]:
        call.dial(server.address, server.token)
        call.say()
    silent[0].dial(server.address, server.token, start=False)
    at = time.monotonic()
    for call in ending:
        call.stop()
    clock.step(step)
    for call in starting:
        call.start()
    ended: dict[Caller, float] = {}

    def over() -> bool:
        for call in silent:
            if call not in ended and call.closed_by_peer():
                ended[call] = time.monotonic() - at
        return len(ended) == len(silent) or time.monotonic() > at + max(IDLE_S, START_S) + SLACK_S

    pace([*live, *starting], over, speak)
    for call in silent:
        what, asked = ("without a start", START_S) if call is silent[0] else ("that is silent", IDLE_S)
        took = ended.get(call)
        right = took is not None and asked - 1 <= took <= asked + SLACK_S
        problems.unless(right, f"a stream {what} was ended after {took and round(took, 1)} s, not {asked:g} s")
    for call in silent:
        call.hang_up()
    for call in (*live, *starting):
        problems.unless(not call.closed_by_peer(), "a live stream was cut")
        call.stop()


def _at_once(server: Served, calls: Calls) -> None:
    for call in calls:
        call.dial(server.address, server.token)
    pace_for(calls, 0.3)
    for call in calls:
        call.stop()


def _checked(root: Path, calls: Calls, problems: _Trouble) -> set[str]:
    """Compare what was said with what is there; the ids that were given."""
    found = _read_all(root, calls)
    for call in calls:
        one = found.get(call.stream_id)
        if one is None:
            problems.unless(False, f"{call.stream_id} has no final files")
            continue
        for problem in one.problems:
            problems.unless(False, f"{call.stream_id}: {problem}")
        said = one.said
        problems.unless(one.reason == "stop", f"{call.stream_id} ended by {said['end']}")
        problems.unless(not said["discontinuities"], f"{call.stream_id} has discontinuities")
        for voice in call.voices:
            whole, wrong = missing_from(one.audio.get(voice.track), voice)
            counters, gaps = said["tracks"][voice.track]["counters"], said["tracks"][voice.track]["gaps"]
            problems.unless(
                wrong is None and whole == call.said, f"{call.stream_id}: {voice.track} is not as it was said"
            )
            problems.unless(not gaps and counters["placed"] == call.said, f"{call.stream_id} has gaps: {gaps}")
        lasted = (datetime.fromisoformat(said["ended"]) - datetime.fromisoformat(said["started"])).total_seconds()
        right = abs(said["duration_s"] - call.said * 0.02) < 0.001 and said["duration_s"] - 0.5 <= lasted <= 60
        problems.unless(right, f"{call.stream_id} has {said['duration_s']} s of audio and lasted {lasted} s")
    for call in calls:
        call.hang_up()
    return {one.said["id"] for one in found.values()}


def _read_all(root: Path, calls: Calls) -> dict[str, Found]:
    found: dict[str, Found] = {}
    wanted = {call.stream_id for call in calls}

    def all_there() -> bool:
        for path in folders(root) if root.exists() else ():
            if (path / "stream.json").exists() and not (path / "journal.jsonl").exists():
                one = read(path)
                found[one.stream_id] = one
        return wanted <= found.keys()

    _wait(all_there)
    return found


def _token_changes(server: Served, file: Path, problems: _Trouble) -> None:
    """A new token counts within a second, and the old one does not any more."""
    old, server.token = server.token, secrets.token_hex(16)
    file.write_text(server.token)
    problems.unless(_wait(lambda: _let_in(server, server.token)), "a new token does not count")
    problems.unless(_wait(lambda: not _let_in(server, old)), "an old token still counts")


def _let_in(server: Served, token: str) -> bool:
    call = Caller(0, [], "")
    try:
        call.dial(server.address, token, start=False)
    except ConnectionRefusedError:
        return False
    finally:
        call.hang_up()
    return True


def _crashed(place: Path, clock: Clock, voices: Sequence[Sequence[Voice]]) -> Outcome:
    """A server whose clock was wrong is killed; it is right again when the next start finishes the files."""
    problems = _Trouble()
    for number, ahead_s in enumerate((DAYS_S, -DAYS_S)):
        clock.step(ahead_s)
        _crash(place / f"crash-{number}", clock, callers(voices, "crash"), problems)
    return _outcome("a crash with a wrong clock", 2 * len(voices), problems)


def _crash(place: Path, clock: Clock, calls: Calls, problems: _Trouble) -> None:
    place.mkdir()
    server = Served(place, environ=clock.environ).wait()
    try:
        for call in calls:
            call.dial(server.address, server.token)
        deadline = time.monotonic() + PATIENCE_S
        pace(calls, lambda: len(_begun(server.root)) == len(calls) or time.monotonic() > deadline)
    finally:
        server.kill()
    with Served(place).wait():
        found = [read(path) for path in folders(server.root)]
    problems.unless(len(found) == len(calls), f"{len(found)} of {len(calls)} streams were finished")
    for one in found:
        said = one.said
        lasted = (datetime.fromisoformat(said["ended"]) - datetime.fromisoformat(said["started"])).total_seconds()
        problems.unless(not one.problems, "; ".join(one.problems))
        problems.unless(lasted >= said["duration_s"] > 0, f"{said['duration_s']} s of audio in {lasted} s")
    for call in calls:
        call.hang_up()


def _begun(root: Path) -> list[Path]:
    """The streams of which it is written down how far they are."""
    return [path for path in root.rglob("journal.jsonl") if b'"progress"' in path.read_bytes()]


def _renewed(place: Path, clock: Clock, steps: Sequence[float]) -> Outcome:
    """A certificate that is renewed behind a step is served within seconds."""
    problems = _Trouble()
    clock.step(0)
    folder = place / "tls"
    folder.mkdir()
    pair = {"certificate": folder / "certificate.pem", "key": folder / "key.pem"}
    names = ["", "renewed_"]
    _install(pair, names[0])
    tables = {"server.tls": {name: str(path) for name, path in pair.items()}}
    with Served(folder, tables, environ=clock.environ).wait() as server:
        for number, step in enumerate(steps, 1):
            clock.step(step)
            wanted = _install(pair, names[number % 2])
            served = _wait(lambda wanted=wanted: ssl.get_server_certificate(server.address).split() == wanted.split())
            problems.unless(served, f"{_named(step)}: a renewed certificate is not served")
    return _outcome("a certificate renewed behind a step", len(steps), problems)


def _install(pair: dict[str, Path], prefix: str) -> str:
    for name, path in pair.items():
        shutil.copyfile(CERTIFICATES / f"{prefix}{name}.pem", path)
    return pair["certificate"].read_text()


def _wait(ready: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while not ready():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _named(step: float) -> str:
    days = abs(step) >= 86400
    return f"{'+' if step > 0 else '−'}{abs(step) / (86400 if days else 3600):g} {'d' if days else 'h'}"


def _outcome(what: str, streams: int, problems: _Trouble) -> Outcome:
    return Outcome(
        "clocks", what, streams, "no effect", f"{len(problems)} effects", verdict(not problems), problems[:20]
    )
