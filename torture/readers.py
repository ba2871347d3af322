"""Other people's programs: how many frames each of them reads of a WAV file."""

from __future__ import annotations

import shutil
import subprocess
import wave
from pathlib import Path

import imageio_ffmpeg
import soundfile


def by_wave(path: Path) -> int:
    """Python's own."""
    with path.open("rb") as file, wave.open(file) as content:
        return len(content.readframes(content.getnframes())) // content.getsampwidth() // content.getnchannels()


def by_soundfile(path: Path) -> int:
    """libsndfile."""
    with path.open("rb") as file:
        return len(soundfile.read(file, dtype="int16", always_2d=True)[0])


def by_ffmpeg(path: Path) -> int:
    """FFmpeg."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-ac", "1", "-f", "s16le", "-"]
    return len(subprocess.run(command, capture_output=True, check=True, timeout=30).stdout) // 2


def by_sox(path: Path) -> int:
    """SoX."""
    command = ["sox", "-V1", str(path), "-t", "raw", "-e", "signed", "-b", "16", "-c", "1", "-"]
    return len(subprocess.run(command, capture_output=True, check=True, timeout=30).stdout) // 2


READERS = {"wave": by_wave, "soundfile": by_soundfile, "ffmpeg": by_ffmpeg, "sox": by_sox}
QUICK = ("wave", "soundfile")
"""Those that start no program."""


def disagreement(path: Path, frames: int, names: tuple[str, ...] | None = None) -> list[str]:
    """Who does not read so many frames. SoX is asked where it is installed."""
    found = []
    for name in names or tuple(READERS):
        if name == "sox" and not shutil.which("sox"):
            continue
        try:
            read = READERS[name](path)
        except (OSError, EOFError, RuntimeError, wave.Error, subprocess.SubprocessError) as problem:
            found.append(f"{name} cannot read {path.name}: {problem}")
            continue
        if read != frames:
            found.append(f"{name} reads {read} frames of {path.name}, not {frames}")
    return found
