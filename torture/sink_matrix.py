"""Every trouble that a sink can be in, with every ``overflow`` and every ``on_error``, all beside one recorder.

What must hold of each: it was given a perfect tiling, its audio is what the recorder has, and what it was not given is
said in ``stream.json``, to the sample.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from talking import TRACKS
from voice import RATE, Samples

SINK = Path(__file__).parent / "troubled_sink.py"
TROUBLES = (
    "waits",
    "blocks",
    "blocks_a_thread",
    "slow",
    "raises_at_the_start",
    "raises_in_the_middle",
    "raises_at_the_end",
    "ignores_cancellation",
)
OVERFLOWS = ("drop_newest", "drop_oldest", "spill")
ON_ERRORS = ("stop", "restart")
DROPPED = "dropped"


@dataclass(frozen=True)
class Lengths:
    """How long the troubles last, in seconds: of a test, or of the real thing."""

    stall_s: float
    call_s: float
    pause_s: float
    buffer_s: float
    finish_s: float


SHORT = Lengths(stall_s=1.0, call_s=2.0, pause_s=0.08, buffer_s=0.4, finish_s=20.0)
LONG = Lengths(stall_s=60.0, call_s=75.0, pause_s=0.075, buffer_s=5.0, finish_s=120.0)


@dataclass(frozen=True)
class Case:
    """One cell of the table: a sink of the server."""

    trouble: str
    overflow: str
    on_error: str

    @property
    def name(self) -> str:
        """As the configuration and ``stream.json`` have it."""
        return f"{self.trouble}_{self.overflow}_{self.on_error}"

    @property
    def status(self) -> str:
        """How it is to have fared in the end."""
        if self.trouble == "ignores_cancellation":
            return "running"  # it was left behind
        return "failed" if self.trouble.startswith("raises") and self.on_error == "stop" else "ok"


CASES = [Case(*cell) for cell in product(TROUBLES, OVERFLOWS, ON_ERRORS)]


def configured(lengths: Lengths, cases: list[Case] = CASES) -> dict[str, dict[str, object]]:
    """Tables of the configuration: all these sinks, and the recorder."""
    tables: dict[str, dict[str, object]] = {"sinks.wav": {"use": "wav"}}
    for case in cases:
        stays = case.trouble == "ignores_cancellation"
        tables[f"sinks.{case.name}"] = {
            "use": str(SINK),
            "overflow": case.overflow,
            "on_error": case.on_error,
            "buffer_s": lengths.buffer_s,
            "finish_timeout_s": lengths.stall_s if stays else lengths.finish_s,
        }
        options = {"trouble": case.trouble, "stall_s": lengths.stall_s, "pause_s": lengths.pause_s}
        options["raise_s"] = lengths.call_s / 4
        tables[f"sinks.{case.name}.options"] = dict(options)
    return tables


def wrong_with(folder: Path, case: Case, expected: Mapping[str, Samples]) -> str | None:
    """What is wrong with what a sink was given of one stream, whose audio was ``expected``; None: nothing."""
    told = json.loads((folder / "stream.json").read_text())["sinks"][case.name]
    if told["status"] != case.status:
        return f"status {told['status']} ({told['error']}), not {case.status}"
    for track in TRACKS:
        line = np.zeros(len(expected[track]), bool)  # what it was given, in any run
        runs = sorted(folder.glob(f"{case.name}.*.spans"))
        for run in runs:
            end = 0
            for track_of, start, stop, cause in map(json.loads, run.read_text().splitlines()):
                if track_of != track:
                    continue
                if start != end:
                    return f"{run.name}: {track} goes on at {start}, not at {end}"
                end = stop
                line[start:stop] |= cause != DROPPED
        missed = len(line) - int(line.sum())
        if round(told["dropped_s"].get(track, 0.0) * RATE) != missed:
            return f"{track}: {told['dropped_s'].get(track, 0.0)} s said to be missed, {missed / RATE} s were"
        if missed and case.overflow == "spill" and case.status == "ok":
            return f"{track}: {missed / RATE} s missed, though it spills"
        heard = np.zeros(len(line), np.int16)
        path = folder / f"{case.name}.{track}.heard"
        if path.exists():
            given = np.fromfile(path, "<i2")
            heard[: len(given)] = given
        if not np.array_equal(heard[line], expected[track][line]):
            return f"{track}: its audio is not what was sent"
    return None


def missed_s(folder: Path) -> Counter[str]:
    """What every sink of a stream is said to have missed, in seconds of one track."""
    sinks: Mapping[str, Any] = json.loads((folder / "stream.json").read_text())["sinks"]
    return Counter({name: sum(told["dropped_s"].values()) for name, told in sinks.items()})
