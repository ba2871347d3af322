"""A stream recorded by the wav plugin, and readers of what it wrote that know nothing of it."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
import wave
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
from receiver_plugins.wav import Layout, plugin
from receiver_plugins.wav.format import header

from receiver import files
from receiver.audio import AudioFormat, Encoding
from receiver.events import Annotation, Event, Frame, Samples
from receiver.stream import Stream, StreamFacts

WAIT_S = 20
MEDIA_TYPES = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "opus": "audio/ogg; codecs=opus",
    "mp3": "audio/mpeg",
}
RANDOM = np.random.default_rng(7)


class Owner:
    """Remembers what a sink said."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self.annotations: list[Annotation] = []

    def annotated(self, annotation: Annotation) -> None:
        self.annotations.append(annotation)

    def file_added(self, path: Path, kind: str, media_type: str, sink: str) -> None:
        assert (kind, sink) == ("audio", "wav")
        assert media_type == MEDIA_TYPES[path.name.rpartition(".")[2]]
        assert path.exists()
        self.files.append(path.name)


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    yield
    files.configure()
    files.shutdown()


def stream_in(directory: Path, rate: int = 8000, **facts: Any) -> tuple[Stream, Owner]:
    said: dict[str, Any] = {
        "id": "0199-ours",
        "source": "default",
        "dialect": "signalwire",
        "stream_id": "theirs",
        "call_id": None,
        "account_id": None,
        "tracks": ("inbound",),
        "format": AudioFormat(Encoding.PCMU, rate),
        "parameters": {},
        "path_parameters": {},
        "peer_address": "192.0.2.1",
        "token": None,
        "started": datetime(2026, 11, 21, tzinfo=UTC),
    }
    owner = Owner()
    return Stream(StreamFacts(**said | facts), directory, owner, "wav"), owner


def noise(length: int) -> Samples:
    samples = RANDOM.integers(-32768, 32768, length).astype(np.int16)
    samples.flags.writeable = False
    return samples


def frames(track: str, samples: Samples, start: int = 0, size: int = 160, rate: int = 8000) -> Iterator[Event]:
    for at in range(0, len(samples), size):
        yield Frame(track, start + at, rate, samples[at : at + size])


async def each(events: Iterable[Event]) -> AsyncIterator[Event]:
    for event in events:
        yield event


def record(
    directory: Path,
    events: Iterable[Event],
    layout: Layout = "both",
    tracks: tuple[str, ...] = ("inbound",),
    **options: Any,
) -> list[str]:
    """Run the sink over events; the files that it added. Where a call blocks the loop, every test fails."""
    stream, owner = stream_in(directory, tracks=tracks)

    async def run() -> None:
        async with plugin(layout=layout, **options) as opened:
            sink: Any = opened.sink
            await sink(stream, each(events))

    asyncio.run(run())
    return owner.files


def recover(directory: Path, layout: Layout = "both", **options: Any) -> list[str]:
    stream, owner = stream_in(directory)

    async def run() -> None:
        async with plugin(layout=layout, **options) as opened:
            assert opened.recover is not None
            await asyncio.to_thread(opened.recover, stream)

    asyncio.run(run())
    return owner.files


def wav(path: Path, samples: Samples, rate: int = 8000) -> Path:
    """A finished WAV file: one channel of shape (n,), or several of shape (n, channels)."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    path.write_bytes(header(rate, channels, samples.nbytes) + samples.astype("<i2").tobytes())
    return path


def by_ffmpeg(path: Path, channels: int = 1) -> Samples:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "wav", "-i", str(path), "-f", "s16le", "-"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=WAIT_S)
    return np.frombuffer(done.stdout, np.int16).reshape(-1, channels)


def by_soundfile(path: Path, channels: int = 1) -> Samples:
    with path.open("rb") as file:
        read: Samples = soundfile.read(file, dtype="int16", always_2d=True)[0]
    return read


def by_wave(path: Path, channels: int = 1) -> Samples:
    with path.open("rb") as file, wave.open(file) as content:
        assert content.getsampwidth() == 2
        return np.frombuffer(content.readframes(content.getnframes()), np.int16).reshape(-1, channels)


def by_sox(path: Path, channels: int = 1) -> Samples:
    command = ["sox", "-V1", "-t", "wav", str(path), "-t", "raw", "-e", "signed", "-b", "16", "-L", "-"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=WAIT_S)
    return np.frombuffer(done.stdout, np.int16).reshape(-1, channels)


def pieces(directory: Path, track: str, channel: int = 0) -> list[tuple[int, Samples]]:
    """The segments of a track, or a side of ``stereo``, each with the sample that its name says it begins at."""
    found = []
    for path in sorted(directory.glob(f"{track}*.wav")):
        named = re.fullmatch(rf"{track}(?:@(\d+))?\.wav", path.name)
        assert named, path
        found.append((int(named[1] or 0), by_soundfile(path)[:, channel]))
    return sorted(found, key=lambda piece: piece[0])


def joined(found: list[tuple[int, Samples]], length: int) -> Samples:
    """The segments on a timeline of so many samples, silence between them. None reaches into another one."""
    timeline = np.zeros(length, np.int16)
    reached = 0
    for start, samples in found:
        assert reached <= start
        reached = start + len(samples)
        timeline[start:reached] = samples
    assert reached <= length
    return timeline


def grown(path: Path, size: int) -> None:
    """Wait until the writer thread has written so much."""
    pause = threading.Event()
    for _ in range(WAIT_S * 100):
        if path.exists() and path.stat().st_size == size:
            return
        pause.wait(0.01)
    raise AssertionError(f"{path} does not grow to {size}")


def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


@pytest.fixture(params=[by_ffmpeg, by_soundfile, by_wave, pytest.param(by_sox, marks=pytest.mark.system)])
def reader(request: pytest.FixtureRequest) -> Any:
    """Every reader in turn."""
    return request.param


@pytest.fixture
def studio() -> ModuleType:
    """What stands above, for the tests of this folder."""
    return sys.modules[__name__]
