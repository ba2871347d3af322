"""What became of the calls of a soak, looked at as they end: facts, files, what the slow sink missed. Then they go."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from talking import TRACKS
from voice import FRAME, RATE, Voices

HEADER = 44
FATES = ("received", "placed", "duplicate", "late", "rejected")


class Books:
    """Takes the lines of calls that are over, and looks for their folders until each has been checked."""

    def __init__(self, recordings: Path, material: Mapping[int, Voices]) -> None:
        self.problems: list[str] = []
        self.checked = 0
        self.ends: Counter[str] = Counter()
        self.fates: Counter[str] = Counter()
        self.bytes = 0
        self.dropped_s = 0.0
        self.late_s = 0.0
        self.waiting: dict[str, Mapping[str, Any]] = {}
        self._recordings = recordings
        self._material = material

    def take(self, line: str) -> None:
        """A call that is over."""
        said = json.loads(line)
        if "call" not in said:
            return
        self.late_s = max(self.late_s, said["late_s"])
        if said["problem"]:
            self.problems.append(f"{said['call']}: {said['problem']}")
        if said["started"]:
            self.waiting[said["call"]] = said

    def look(self) -> None:
        """Check those that are final, and remove what is right."""
        for call, said in list(self.waiting.items()):
            folder = self._recordings / call
            if not (folder / "stream.json").exists() or (folder / "journal.jsonl").exists():
                continue
            del self.waiting[call]
            try:
                self._check(folder, said)
            except AssertionError as problem:
                self.problems.append(f"{call}, {said['end']}: {problem}")
                continue  # it stays, to be looked at
            shutil.rmtree(folder)

    def _check(self, folder: Path, said: Mapping[str, Any]) -> None:
        told = json.loads((folder / "stream.json").read_text())
        frames, end = said["frames"], said["end"]
        self.checked += 1
        self.ends[told["end"]["reason"]] += 1
        for entry in told["tracks"].values():
            for fate in FATES:
                self.fates[fate] += entry["counters"][fate]
        _same("reason", told["end"]["reason"], end)
        _same("stop received", told["end"]["stop_received"], end == "stop")
        slow = told["sinks"]["slow"]
        _same("sinks", [told["sinks"]["wav"]["status"], slow["status"]], ["ok", "ok"])
        _same("missed by wav", told["sinks"]["wav"]["dropped_s"], {})
        heard = next(note["data"] for note in told["annotations"] if note["kind"] == "heard")
        for track in TRACKS:
            self._check_track(folder, told, said, track)
            dropped = round(slow["dropped_s"].get(track, 0.0) * RATE)
            self.dropped_s += dropped / RATE
            _same(f"missed of {track}", heard["dropped"].get(track, 0), dropped)
            _same(f"given of {track}", heard["heard"].get(track, 0) + dropped, frames * FRAME)

    def _check_track(self, folder: Path, told: Mapping[str, Any], said: Mapping[str, Any], track: str) -> None:
        frames = said["frames"]
        counters = told["tracks"][track]["counters"]
        expected = {"received": frames + said["repeated"], "placed": frames, "duplicate": said["repeated"]}
        _same(track, {fate: counters[fate] for fate in FATES}, {"late": 0, "rejected": 0, **expected})
        _same(f"length of {track}", (counters["length"], counters["samples"]), (frames * FRAME, frames * FRAME))
        if frames:
            written = np.fromfile(folder / f"{track}.wav", dtype="<i2", offset=HEADER)
            self.bytes += written.nbytes
            same = np.array_equal(written, self._material[said["variant"]].samples(track, frames))
            _same(f"audio of {track}", same, True)


def _same(what: str, got: object, expected: object) -> None:
    if got != expected:
        raise AssertionError(f"{what}: {got}, not {expected}")
