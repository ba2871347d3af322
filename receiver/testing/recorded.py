"""What became of a call: the folder of its recording, and what tests ask of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

from receiver.events import Samples
from receiver.recordings.stream_json import NAME
from receiver.simulate import Outcome

_SIDES = {"inbound": 0, "outbound": 1}  # channels of a stereo file


class GapSpan(NamedTuple):
    """A gap: samples at the track's rate, and its cause, e.g. ``(320, 480, "lost")``."""

    start: int
    end: int
    cause: str


@dataclass(frozen=True, repr=False)
class Recorded:
    """The recording of one call, final: every sink has come to its end, or was given up."""

    folder: Path
    told: dict[str, Any]
    """``stream.json``."""
    outcome: Outcome
    """What the client saw: the status of the handshake, the code of the close frame, how much it sent."""

    @classmethod
    def read(cls, folder: Path, outcome: Outcome) -> Recorded:
        """Read ``stream.json``. Blocks. Raises OSError, ValueError."""
        return cls(folder, json.loads((folder / NAME).read_bytes()), outcome)

    def file(self, name: str) -> Path:
        """A file of the folder, e.g. ``inbound.wav``. Raises FileNotFoundError, which says what there is."""
        path = self.folder / name
        if not path.exists():
            there = ", ".join(sorted(entry.name for entry in self.folder.iterdir()))
            raise FileNotFoundError(f"there is no {name} in {self.folder}, but {there}")
        return path

    def audio(self, track: str = "inbound") -> tuple[Samples, int]:
        """A track as a sink wrote it: int16 samples of shape (n,), and their rate. Gaps are zeros.

        Raises FileNotFoundError where no sink wrote such a file.
        """
        written = [file["path"] for file in self.told["files"] if file["kind"] == "audio"]
        for path in written:
            if Path(path).stem == track:
                return _read(self.file(path), None)
        for path in written:
            if Path(path).stem == "stereo" and track in _SIDES:
                return _read(self.file(path), _SIDES[track])
        raise FileNotFoundError(
            f"no audio of the track {track!r} in {self.folder}: the sinks {', '.join(self.told['sinks']) or '(none)'} "
            f"wrote {', '.join(written) or 'no audio'}"
        )

    @property
    def annotations(self) -> list[dict[str, Any]]:
        """What sinks have learned, as ``stream.json`` has it: ``kind``, ``track``, ``start``, ``end``, ``data`` …"""
        found: list[dict[str, Any]] = self.told["annotations"]
        return found

    def gaps(self, track: str = "inbound") -> list[GapSpan]:
        """The gaps of a track, in order. Raises ValueError for a track that the call did not have."""
        tracks = self.told["tracks"]
        if track not in tracks:
            raise ValueError(f"the call had no track {track!r}, but {', '.join(tracks) or 'none'}")
        return [GapSpan(gap["start"], gap["end"], gap["cause"]) for gap in tracks[track]["gaps"]]

    def __repr__(self) -> str:
        """What one wants to see where an assertion has failed: above all, whether it is the sink that has."""
        failed = {
            name: sink["error"] or sink["status"] for name, sink in self.told["sinks"].items() if sink["status"] != "ok"
        }
        trouble = f", failed sinks: {failed}" if failed else ""
        return f"<Recorded {self.folder}, ended by {self.told['end']['reason']}{trouble}>"


def _read(path: Path, channel: int | None) -> tuple[Samples, int]:
    samples, rate = soundfile.read(path, dtype="float64", always_2d=True)  # float files are not scaled to int16
    return np.clip(np.rint(samples[:, channel or 0] * 32768), -32768, 32767).astype(np.int16), int(rate)
