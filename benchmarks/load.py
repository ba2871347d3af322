"""Runs the load generator against a server, and reads what it reports."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import cores
from programs import CannotMeasure
from servers import Server

LATE_S = 0.020
"""A run counts only if no message left later than this behind its time."""

Phase = Mapping[str, Any]


@dataclass(frozen=True)
class Load:
    """What is sent. Seconds are those of the measured window, which follows ``warm`` seconds of the same load."""

    streams: int
    tracks: int = 1
    seconds: float = 6.0
    warm: float = 2.0
    more: tuple[str, ...] = ()  # further options of the program
    late_s: float = LATE_S  # how late a message may leave at worst


@dataclass(frozen=True)
class Report:
    """What came of it; the fields of the generator's last line are in ``said``."""

    said: Mapping[str, Any]
    phases: Mapping[str, Phase]
    late_s: float = LATE_S

    def __getattr__(self, name: str) -> Any:
        try:
            return self.said[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def us_per_message(self) -> float:
        """Microseconds of the server's processor time for each message of the window."""
        return self.server_cpu_s / max(self.messages_in_window, 1) * 1e6

    @property
    def core_share(self) -> float:
        """How much of one core the server took."""
        return self.server_cpu_s / self.window_s

    @property
    def harm(self) -> str | None:
        """What the server did to streams that it should have kept."""
        if self.connected < self.streams:
            return f"only {self.connected} of {self.streams} streams connected ({self.error})"
        if self.cut or self.live_at_end < self.streams:
            return f"{self.streams - self.live_at_end} streams were cut ({self.error})"
        return None

    @property
    def problem(self) -> str | None:
        """Why the run does not count."""
        if self.harm is None and self.late_worst_s > self.late_s:
            return f"the generator was {self.late_worst_s * 1000:.0f} ms late"
        return self.harm


def run(program: Path, server: Server, load: Load, on_phase: Callable[[Phase], None] = lambda phase: None) -> Report:
    """Run to the end. ``on_phase`` is told of idle, connected, pacing, paced and closed, as they begin."""
    command = [str(program), "--port", str(server.port), "--streams", str(load.streams), "--tracks", str(load.tracks)]
    command += ["--seconds", str(load.seconds), "--warm", str(load.warm), *load.more]
    if server.token:
        command += ["--token", server.token]
    for pid in server.pids:
        command += ["--watch", str(pid)]
    pair = cores()
    where = {pair[1]} if pair else None
    phases = {}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, preexec_fn=(lambda: os.sched_setaffinity(0, where)) if where else None
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                phase = json.loads(line)
                phases[phase["phase"]] = phase
                on_phase(phase)
        except BaseException:
            process.terminate()
            raise
    if "report" not in phases:
        raise CannotMeasure(f"the load generator ended with {process.returncode}")
    return Report(phases["report"], phases, load.late_s)
