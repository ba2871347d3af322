"""An engine that counts what it is given, a detector that hears loudness, and calls of both."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
from receiver_plugins.transcribe.engine import RATE, Heard, Int16Array, Word
from receiver_plugins.transcribe.settings import Settings
from receiver_plugins.transcribe.transcription import transcription
from websockets.asyncio.client import ClientConnection, connect

from receiver import files
from receiver.audio import AudioFormat, Encoding
from receiver.events import Annotation, Ended, EndReason, Event, Frame, Passing, TrackCounters
from receiver.simulate import SPEECH
from receiver.sinks import Plugin
from receiver.stream import Stream, StreamFacts

WAIT_S = 55
LOUD = 1000
RANDOM = np.random.default_rng(11)


def loud(frame: bytes) -> bool:
    """The detector of these tests: whether somebody speaks can be seen from each frame alone."""
    return bool(np.abs(np.frombuffer(frame, np.int16).astype(np.int32)).max(initial=0) > LOUD)


def speech(seconds: float, rate: int = RATE) -> Int16Array:
    """Noise that is speech to the detector, in every frame."""
    samples = RANDOM.integers(-9000, 9000, round(seconds * rate)).astype(np.int16)
    samples[:: rate // 100] = 9000
    return samples


def silence(seconds: float, rate: int = RATE) -> Int16Array:
    """Noise that is none."""
    return RANDOM.integers(-50, 50, round(seconds * rate)).astype(np.int16)


class Counting:
    """An engine that says how many samples it was fed. ``trouble`` may raise or wait, before each piece and the end."""

    def __init__(self, *, places: int = 2) -> None:
        self.ears: list[Ear] = []
        self.places = places
        self.most = 0
        self.trouble: Callable[[Ear], Any] = lambda ear: None
        self._free: asyncio.Semaphore | None = None
        self._busy = 0

    @asynccontextmanager
    async def recognize(self) -> AsyncIterator[Ear]:
        if self._free is None:
            self._free = asyncio.Semaphore(self.places)
        async with self._free:
            self._busy += 1
            self.most = max(self.most, self._busy)
            ear = Ear(self)
            self.ears.append(ear)
            try:
                yield ear
            finally:
                self._busy -= 1

    def heard(self) -> list[Int16Array]:
        """What each utterance was that came to its end, in the order of beginning."""
        return [ear.audio for ear in self.ears if ear.finished]


class Ear:
    """One recognition of the counting engine."""

    def __init__(self, engine: Counting) -> None:
        self.engine = engine
        self.pieces: list[Int16Array] = []
        self.finished = False
        self.finals = 0  # samples that were told of for good

    @property
    def audio(self) -> Int16Array:
        return np.concatenate(self.pieces) if self.pieces else np.zeros(0, np.int16)

    @property
    def count(self) -> int:
        return sum(map(len, self.pieces))

    async def feed(self, samples: Int16Array) -> Sequence[Heard]:
        await self._trouble()
        self.pieces.append(samples)
        return [Heard(f"{self.count} so far", False, 0, self.count)]

    async def finish(self) -> Sequence[Heard]:
        await self._trouble()
        self.finished = True
        words = (Word(str(self.count), 0, self.count // 2, 0.5), Word("samples", self.count // 2, self.count, None))
        return [Heard(f"{self.count} samples", True, 0, self.count, words)]

    async def _trouble(self) -> None:
        waiting = self.engine.trouble(self)
        if waiting is not None:
            await waiting


class Owner:
    """Remembers what the sink said."""

    def __init__(self) -> None:
        self.said: list[Annotation] = []
        self.files: list[tuple[str, str, str]] = []

    def annotated(self, annotation: Annotation) -> None:
        self.said.append(annotation)

    def file_added(self, path: Path, kind: str, media_type: str, sink: str) -> None:
        self.files.append((path.name, kind, media_type))

    @property
    def finals(self) -> list[Annotation]:
        return [one for one in self.said if not isinstance(one, Passing)]

    @property
    def partials(self) -> list[Annotation]:
        return [one for one in self.said if isinstance(one, Passing)]


def stream_in(directory: Path, rate: int = RATE, owner: Owner | None = None) -> tuple[Stream, Owner]:
    facts = StreamFacts(
        id="0199-ours",
        source="default",
        dialect="signalwire",
        stream_id="theirs",
        call_id=None,
        account_id=None,
        tracks=("inbound",),
        format=AudioFormat(Encoding.L16, rate),
        parameters={},
        path_parameters={},
        peer_address="192.0.2.1",
        token=None,
        started=datetime(2026, 11, 21, tzinfo=UTC),
    )
    owner = owner or Owner()
    return Stream(facts, directory, owner, "transcribe"), owner


def frames(track: str, samples: Int16Array, start: int = 0, size: int = 1600, rate: int = RATE) -> Iterator[Event]:
    for at in range(0, len(samples), size):
        yield Frame(track, start + at, rate, samples[at : at + size])


def ended(**lengths: int) -> Ended:
    return Ended(EndReason.STOP, True, {track: TrackCounters(RATE, length) for track, length in lengths.items()})


def plugin_of(engine: Any, **settings: Any) -> Plugin:
    return transcription(engine, Settings(**settings), lambda: loud)


def transcribe(
    directory: Path, events: Iterable[Event], engine: Any = None, *, rate: int = RATE, **settings: Any
) -> Owner:
    """Run the sink over events; what it said."""
    stream, owner = stream_in(directory, rate)

    async def run() -> None:
        plugin = plugin_of(engine or Counting(), **settings)
        sink: Any = plugin.sink
        async with asyncio.timeout(WAIT_S):
            await sink(stream, each(events))

    asyncio.run(run())
    return owner


async def each(events: Iterable[Event]) -> AsyncIterator[Event]:
    for event in events:
        yield event
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.002)


def grown(condition: Callable[[], object]) -> None:
    """The same in a thread."""
    pause = threading.Event()
    for _ in range(WAIT_S * 100):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it has not come to that")


def sentence() -> Int16Array:
    """What the agent says first, three seconds of it, and a silence behind it."""
    samples, rate = soundfile.read(SPEECH / "outbound.flac", dtype="int16")
    assert rate == RATE
    return np.concatenate([samples[: round(3.6 * RATE)], np.zeros(RATE, np.int16)])


class Phone:
    """A call that says what it is told to, when it is told to: L16 at 16 kHz."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._said = 0

    async def start(self, **parameters: str) -> None:
        media = {"encoding": "audio/x-L16", "sampleRate": RATE, "channels": 1}
        start = {"streamSid": "MZ1", "callSid": "CA1", "tracks": ["inbound"], "mediaFormat": media}
        await self._send(event="connected", protocol="Call", version="0.2.0")
        await self._send(event="start", start={**start, "customParameters": parameters})

    async def say(self, samples: Int16Array) -> None:
        """A whole number of packets of 20 ms."""
        for packet in samples.reshape(-1, 320):
            payload = base64.b64encode(packet.tobytes()).decode()
            media = {"track": "inbound", "chunk": str(self._said + 1), "timestamp": str(self._said * 20)}
            self._said += 1
            await self._send(event="media", media={**media, "payload": payload})

    async def hang_up(self) -> None:
        await self._send(event="stop")
        await self._connection.close()

    async def _send(self, **message: Any) -> None:
        await self._connection.send(json.dumps(message))


@asynccontextmanager
async def phone(url: str, token: str, **parameters: str) -> AsyncIterator[Phone]:
    async with connect(url, additional_headers={"Authorization": f"Bearer {token}"}) as connection:
        one = Phone(connection)
        await one.start(**parameters)
        yield one


async def final(root: Path, count: int = 1) -> list[Path]:
    """The folders of so many calls, in their order, once their recordings are final: journals go last."""

    def folders() -> list[Path]:
        told = sorted(path.parent for path in root.glob("**/stream.json"))
        return [folder for folder in told if not (folder / "journal.jsonl").exists()]

    await until(lambda: len(folders()) >= count)
    return folders()


def by_ffmpeg(path: Path) -> list[tuple[str, str]]:
    """The cues of a WebVTT file as ffmpeg reads them: when, in SubRip's words, and what."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "webvtt", "-i", str(path), "-f", "srt", "-"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=WAIT_S)
    assert done.stderr == b""
    cues = [cue.split("\n", 2) for cue in done.stdout.decode().strip().split("\n\n") if cue]
    return [(when, text) for _, when, text in cues]


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    yield
    files.configure()
    files.shutdown()


@pytest.fixture
def booth() -> ModuleType:
    """What stands above, for the tests of this folder."""
    return sys.modules[__name__]
