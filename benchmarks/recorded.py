"""Proves from the recordings alone that nothing of a load was lost: every frame says which one it is."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from load import Report

FRAME = 160
"""Samples in 20 ms."""
MARK = 12
"""Samples at a frame's head that carry its number and its unit's, four bits each, as load.c writes them."""
HEADER = 44

FINAL_S = 30.0


@dataclass
class Recorded:
    """What was found of a load's live streams."""

    streams: int = 0
    placed: int = 0  # messages
    missing: int = 0
    problem: str | None = None


def mark_samples() -> NDArray[np.int16]:
    """The sample of each of the sixteen nibbles: the G.711 codes 0x80 + 8 * nibble, decoded."""
    codes = ~np.arange(0x80, 0x100, 8) & 0xFF
    magnitude = (((codes & 15) << 3) + 0x84 << (codes >> 4 & 7)) - 0x84
    return magnitude.astype(np.int16)


def frames_of(samples: NDArray[np.int16]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The number and the unit that every whole frame claims to be; -1 where it is none of ours."""
    heads = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)[:, :MARK]
    known = mark_samples()
    order = np.argsort(known)
    place = np.searchsorted(known[order], heads).clip(0, 15)
    nibbles = order[place].astype(np.int64)
    ours = (known[nibbles] == heads).all(axis=1) & (nibbles[:, 11] == 10)
    weights = 16 ** np.arange(5, -1, -1)
    numbers = nibbles[:, :6] @ weights
    units = nibbles[:, 6:11] @ weights[1:]
    return np.where(ours, numbers, -1), np.where(ours, units, -1)


def samples_of(path: Path) -> NDArray[np.int16]:
    """The samples of a WAV file with the plainest of headers, finished or growing."""
    return np.fromfile(path, dtype="<i2", offset=HEADER)


def check(root: Path, report: Report, *, sample: int | None = None, prefix: str = "bench") -> Recorded:
    """Read ``stream.json`` of every stream, and the WAV files of all of them or of an even sample of about so many."""
    found = Recorded()
    folders = list(_finished(root, report.streams, prefix))
    found.streams = len(folders)
    if found.streams < report.streams:
        found.problem = f"{found.streams} of {report.streams} streams were recorded to their end"
    step = 1 if sample is None else max(1, len(folders) // max(1, sample))
    chosen = set() if sample == 0 else set(range(0, len(folders), step))
    for index, (folder, facts) in enumerate(folders):
        if problem := _check_facts(facts, report, found):
            found.problem = found.problem or f"{folder.name}: {problem}"
        elif index in chosen and (problem := _check_audio(folder, facts, report)):
            found.problem = found.problem or f"{folder.name}: {problem}"
    found.missing = report.frames * report.tracks * report.streams - found.placed
    if found.missing:
        found.problem = found.problem or f"{found.missing} messages were not placed"
    return found


def check_sizes(folder: Path, report: Report) -> str | None:
    """What another server, which has no more to show, did not write of what it was sent. Waits a while.

    A tenth is let pass: pipecat gives up at the end of a call what it has not handled yet.
    """
    files, size = report.streams * report.tracks, HEADER + report.frames * FRAME * 2 * 9 // 10
    until = time.monotonic() + FINAL_S
    while (whole := sum(path.stat().st_size >= size for path in folder.glob("*.wav"))) < files:
        if time.monotonic() > until:
            return f"{whole} of {files} files have all that was sent"
        time.sleep(0.1)
    return None


def _finished(root: Path, streams: int, prefix: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The folders of one load's live streams (not of its idle ones), once all are final or time is over."""
    until = time.monotonic() + FINAL_S
    seen: set[Path] = set()
    count = 0
    while count < streams and time.monotonic() < until:
        for path in root.glob("*/*/stream.json"):
            if path in seen:
                continue
            facts = json.loads(path.read_text())
            if facts["sinks"] and any(sink["status"] == "running" for sink in facts["sinks"].values()):
                continue
            seen.add(path)
            if (facts["stream_id"] or "").startswith(f"{prefix}-stream-"):
                count += 1
                yield path.parent, facts
        time.sleep(0.1)


def _check_facts(facts: dict[str, Any], report: Report, found: Recorded) -> str | None:
    tracks = facts["tracks"]
    counters = [track["counters"] for track in tracks.values()]
    found.placed += sum(counter["placed"] for counter in counters)
    if len(tracks) != report.tracks:
        return f"tracks {sorted(tracks)}"
    if any(counter["placed"] != report.frames for counter in counters):
        return f"{[counter['placed'] for counter in counters]} of {report.frames} messages placed"
    if any(track["gaps"] for track in tracks.values()):
        return "has gaps"
    if not facts["end"]["stop_received"]:
        return f"ended by {facts['end']['reason']}"
    if any(sink["status"] != "ok" or sink.get("dropped_s") for sink in facts["sinks"].values()):
        return f"sinks: {facts['sinks']}"
    return None


def _check_audio(folder: Path, facts: dict[str, Any], report: Report) -> str | None:
    index = int(facts["parameters"]["number"])
    for place, track in enumerate(("inbound", "outbound")[: report.tracks]):
        path = folder / f"{track}.wav"
        if not path.exists():
            return f"no {path.name}"
        numbers, units = frames_of(samples_of(path))
        if len(numbers) != report.frames or (numbers != np.arange(report.frames)).any():
            return f"{path.name} is not the audio that was sent"
        if (units != index * report.tracks + place).any():
            return f"{path.name} has another stream's audio"
    return None
