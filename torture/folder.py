"""What a stream's folder holds, read strictly: a byte that is not as it should be is a problem."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from caller import Caller
from talking import TRACKS
from voice import FRAME, RATE, Samples, Voice

HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
UNFINISHED = (".part", ".assembling")
NEW = "journal.jsonl.new"
"""All that a stream leaves whose process was killed before its folder was ready."""


class Unreadable(Exception):
    """A WAV file that is not what it says it is."""


@dataclass
class Found:
    """A folder. ``audio`` has the samples of each track that has a file."""

    path: Path
    said: dict[str, Any] = field(default_factory=dict)  # stream.json
    audio: dict[str, Samples] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def stream_id(self) -> str:
        """The peer's."""
        return str(self.said.get("stream_id", ""))

    @property
    def reason(self) -> str:
        """Why the stream ended."""
        return str(self.said.get("end", {}).get("reason", ""))


def samples_of(path: Path, channels: int = 1) -> Samples:
    """The samples of a finished WAV file. Raises Unreadable where header and size disagree, or it is none of ours."""
    content = path.read_bytes()
    if len(content) < HEADER.size:
        raise Unreadable(f"{path.name} has {len(content)} bytes")
    found = HEADER.unpack_from(content)
    size = len(content) - HEADER.size
    block = 2 * channels
    wanted = (b"RIFF", size + 36, b"WAVE", b"fmt ", 16, 1, channels, RATE, RATE * block, block, 16, b"data", size)
    if found != wanted or size % block:
        raise Unreadable(f"{path.name} has the header {found}, for {size} bytes of audio")
    samples = np.frombuffer(content, "<i2", offset=HEADER.size)
    return samples if channels == 1 else samples.reshape(-1, channels)


def folders(root: Path) -> Iterator[Path]:
    """The folders of streams: those that have files."""
    for path in sorted(root.rglob("*")):
        if path.is_dir() and any(child.is_file() for child in path.iterdir()):
            yield path


def read(folder: Path) -> Found:
    """A folder that is final: ``stream.json``, whole WAV files, and nothing that is unfinished."""
    found = Found(folder)
    names = {path.name for path in folder.iterdir()}
    unfinished = {name for name in names if name.endswith(UNFINISHED) or name.startswith("journal")}
    found.problems += [f"{name} was left" for name in sorted(unfinished)]
    if "stream.json" not in names:
        found.problems.append("there is no stream.json")
    else:
        found.said = json.loads((folder / "stream.json").read_bytes())
        found.problems += _unlike(folder, found.said["files"], {name for name in names if name.endswith(".wav")})
    for track in TRACKS:
        if f"{track}.wav" in names:
            try:
                found.audio[track] = samples_of(folder / f"{track}.wav")
            except Unreadable as problem:
                found.problems.append(str(problem))
    if "stereo.wav" in names and len(found.audio) == len(TRACKS):
        try:
            found.problems += _unpaired(samples_of(folder / "stereo.wav", 2), [found.audio[track] for track in TRACKS])
        except Unreadable as problem:
            found.problems.append(str(problem))
    return found


def missing_from(samples: Samples | None, voice: Voice) -> tuple[int, str | None]:
    """How many messages are there, from the first one on, whole and exact; and what else is wrong with them.

    Behind the first that is missing there may be silence, and then what was spoken: anything else is wrong.
    """
    if samples is None:
        return 0, None
    known = voice.samples[: len(samples)]
    wrong = samples[: len(known)] != known
    whole = int(wrong.argmax()) if wrong.any() else len(known)
    problem = None
    if len(samples) > len(known):
        problem = f"{voice.track} is longer than what was said"
    elif (samples[wrong] != 0).any():
        problem = f"{voice.track} has audio that nobody said there, from sample {whole} on"
    return whole // FRAME, problem


def lost_s(caller: Caller, found: Found | None, at: float) -> tuple[list[float], list[str]]:
    """For each track, how long before ``at`` the first message was sent that is not in its file; and what is wrong."""
    lost, problems = [], []
    for voice, sent in zip(caller.voices, caller.sent, strict=True):
        whole, problem = missing_from(None if found is None else found.audio.get(voice.track), voice)
        if problem:
            problems.append(f"stream {caller.number}: {problem}")
        lost.append(max(0.0, at - sent[whole]) if whole < len(sent) else 0.0)
    return lost, problems


def _unlike(folder: Path, listed: Sequence[dict[str, Any]], there: set[str]) -> Iterator[str]:
    """Where the list of files in ``stream.json`` and the folder disagree."""
    for file in listed:
        path = folder / file["path"]
        content = path.read_bytes() if path.exists() else b""
        if (file["bytes"], file["sha256"]) != (len(content), hashlib.sha256(content).hexdigest()):
            yield f"{file['path']} is not as stream.json says"
    yield from (f"{name} is not listed" for name in sorted(there - {file["path"] for file in listed}))


def _unpaired(stereo: Samples, sides: Sequence[Samples]) -> Iterator[str]:
    for channel, side in enumerate(sides):
        pair = stereo[:, channel]
        if len(pair) < len(side) or (pair[: len(side)] != side).any() or pair[len(side) :].any():
            yield f"stereo.wav has another channel {channel} than its track"
