"""Recordings made, ended, crashed and read back."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest

import receiver
from receiver import files
from receiver.audio import AudioFormat, Encoding
from receiver.events import (
    Ended,
    EndReason,
    TrackCounters,
)
from receiver.recordings import Recording
from receiver.stream import StreamFacts

WAIT_S = 20
STARTED = datetime(2026, 11, 21, 8, 0, 0, 123456, tzinfo=UTC)
SCHEMA = json.loads((Path(receiver.__file__).parent / "stream.schema.json").read_text())
ENDED = Ended(
    EndReason.STOP,
    True,
    {"inbound": TrackCounters(8000, length=16000, samples=15000, received=94, placed=94, gaps={"lost": 1000})},
    ignored={"unknown": 2},
)


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    yield
    files.configure()
    files.shutdown()


def facts(**changes: Any) -> StreamFacts:
    given: dict[str, Any] = {
        "id": "0199-ours",
        "source": "default",
        "dialect": "signalwire",
        "stream_id": "theirs",
        "call_id": "CA1",
        "account_id": None,
        "tracks": ("inbound", "outbound"),
        "format": AudioFormat(Encoding.PCMU, 8000),
        "parameters": {"who": "Ann", "list": [1, None]},
        "path_parameters": {"tenant": "a"},
        "peer_address": "192.0.2.1",
        "token": "main",
        "started": STARTED,
    }
    return StreamFacts(**{**given, **changes})


def make(root: Path, **changes: Any) -> Recording:
    return Recording.create(root, "{date}/{stream_id}", facts(**changes))


def end(recording: Recording, ended: Ended = ENDED) -> Any:
    recording.finish(ended, STARTED + timedelta(seconds=2))
    return read(recording.directory)


def read(directory: Path) -> Any:
    content = json.loads((directory / "stream.json").read_bytes())
    jsonschema.Draft202012Validator(SCHEMA).validate(content)
    return content


def journal(recording: Recording) -> list[Any]:
    """The lines of a live journal, once the writer thread is through with what it has."""
    files.flush()
    pause = threading.Event()
    for _ in range(WAIT_S * 100):
        if files.queued_bytes() == 0:
            break
        pause.wait(0.01)
    text = (recording.directory / "journal.jsonl").read_bytes()
    assert text.endswith(b"\n")
    return [json.loads(line) for line in text.splitlines()]


def crash(recording: Recording) -> Path:
    """Leave a folder as a killed process does: the journal there, its lock gone."""
    recording.close(keep_journal=True)
    files.shutdown()
    return recording.directory


def everything(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture
def lab() -> ModuleType:
    """What stands above, for the tests of this folder."""
    return sys.modules[__name__]


def ended_stream(root: Path, days_ago: float = 0, **changes: Any) -> Path:
    """The folder of a stream that ended then, with a file in it."""
    ended = datetime.now(UTC) - timedelta(days=days_ago)
    recording = make(root, **{"started": ended - timedelta(seconds=2), **changes})
    (recording.directory / "inbound.wav").write_bytes(bytes(1000))
    recording.add_file(recording.directory / "inbound.wav", "audio", "audio/wav", "wav")
    recording.finish(ENDED, ended)
    recording.close()
    return recording.directory
