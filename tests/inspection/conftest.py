"""Captures and recordings to look at, made message by message."""

from __future__ import annotations

import json
import sys
from binascii import b2a_base64
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from receiver import files
from receiver.audio import AudioFormat, Encoding
from receiver.captures.capture import Batch, End, Header, Pause, encode_batch, encode_end, encode_header, encode_pause
from receiver.events import Cause, Digit, Ended, EndReason, Gap, Marked, TrackCounters
from receiver.inspection.folder import inspect
from receiver.inspection.report import Report
from receiver.recordings import Recording, SinkEntry
from receiver.stream import StreamFacts

RATE = 8000
PACKET = 160
STARTED = datetime(2026, 11, 21, 10, 20, 7, tzinfo=UTC)
HEADER: dict[str, Any] = {
    "version": 1,
    "source": "phone",
    "path": "/phone",
    "headers": (("user-agent", "platform/1"),),
    "accepted": STARTED,
    "stream": "0199-ours",
    "peer_address": "192.0.2.1",
    "token": "main",
}
END = End(1.0, EndReason.STOP, 1000, "done")

Entry = tuple[float, str | bytes | int] | Pause | End


def connected() -> str:
    return json.dumps({"event": "connected", "protocol": "Call", "version": "0.2.0"})


def start(*tracks: str, encoding: str = "audio/x-L16", rate: int = RATE, **more: Any) -> str:
    body = {
        "streamSid": "theirs",
        "callSid": "call-1",
        "accountSid": "account-1",
        "tracks": tracks or ("inbound",),
        "mediaFormat": {"encoding": encoding, "sampleRate": rate, "channels": 1},
        **more,
    }
    return json.dumps({"event": "start", "start": body})


def media(chunk: int, *, level: int = 1000, track: str = "inbound", stamp: int | None = None) -> str:
    """A packet of 20 ms of a square wave; its timestamp is where the chunk belongs."""
    wave = np.where(np.arange(PACKET) % 8 < 4, level, -level).astype("<i2").tobytes()
    body = {
        "track": track,
        "chunk": chunk,
        "timestamp": (chunk - 1) * 20 if stamp is None else stamp,
        "payload": b2a_base64(wave, newline=False).decode(),
    }
    return json.dumps({"event": "media", "media": body})


def digit(key: str) -> str:
    return json.dumps({"event": "dtmf", "dtmf": {"digit": key, "duration": 100}})


def mark(name: str) -> str:
    return json.dumps({"event": "mark", "mark": {"name": name}})


def stop() -> str:
    return json.dumps({"event": "stop"})


def opening(*tracks: str, **more: Any) -> list[Entry]:
    return [(0.0, connected()), (0.0, start(*tracks, **more))]


def packets(numbers: Sequence[int], **more: Any) -> list[Entry]:
    """One every 20 ms, each when its audio is over."""
    return [(round(number * 0.02, 3), media(number, **more)) for number in numbers]


def encoded(entries: Sequence[Entry], **header: Any) -> bytes:
    text = encode_header(Header(**{**HEADER, **header}))
    for entry in entries:
        if isinstance(entry, Pause):
            text += encode_pause(entry)
        elif isinstance(entry, End):
            text += encode_end(entry)
        else:
            text += encode_batch(Batch(entry[0], [entry[1]]))
    return text


def capture(file: Path, entries: Sequence[Entry], **header: Any) -> Path:
    file.write_bytes(encoded(entries, **header))
    return file


def whole(folder: Path, *, name: str = "a.jsonl", **header: Any) -> Path:
    """A second on two tracks, with one of everything: lost, repeated, out of order, unreadable; keys and marks."""
    inbound = [n for n in range(1, 51) if n not in (11, 12, 13)]
    entries: list[Entry] = [*packets(inbound), *packets(range(1, 41), track="outbound", level=32000)]
    entries += [(0.3004, media(15)), (0.5004, "{nonsense"), (0.2204, digit("5")), (0.6004, mark("greeting"))]
    entries = sorted(entries, key=lambda entry: entry[0] if isinstance(entry, tuple) else 0.0)
    thirty_one, thirty_two = (media(number, track="outbound", level=32000) for number in (31, 32))
    first, second = entries.index((0.62, thirty_one)), entries.index((0.64, thirty_two))
    entries[first], entries[second] = (0.62, thirty_two), (0.64, thirty_one)
    parameters = {"from": "+15550100", "note": "[red]<b>hi</b>[/red] \x1b[31m\u202eright"}
    begun = opening("inbound", "outbound", customParameters=parameters)
    return capture(folder / name, [*begun, *entries, (1.0, stop()), END], **header)


def report(path: Path) -> Report:
    return inspect(path)


def facts(**changes: Any) -> StreamFacts:
    given: dict[str, Any] = {
        "id": "0199-ours",
        "source": "phone",
        "dialect": "signalwire",
        "stream_id": "theirs",
        "call_id": "call-1",
        "account_id": None,
        "tracks": ("inbound",),
        "format": AudioFormat(Encoding.PCMU, RATE),
        "parameters": {"who": "Ann"},
        "path_parameters": {"tenant": "a"},
        "peer_address": "192.0.2.1",
        "token": "main",
        "started": STARTED,
    }
    return StreamFacts(**{**given, **changes})


def recorded(root: Path, template: str = "{date}/{stream_id}", **changes: Any) -> Recording:
    """A live recording of which a second is known."""
    recording = Recording.create(root, template, facts(**changes))
    recording.note([Gap("inbound", 1600, 2400, RATE, Cause.LOST), Digit("7", 4000, RATE), Marked("[bold]", 6000, RATE)])
    recording.progress({"inbound": counters()})
    files.flush()
    return recording


def counters() -> TrackCounters:
    return TrackCounters(RATE, length=8000, samples=7200, received=46, placed=45, duplicate=1, gaps={"lost": 800})


def finish(recording: Recording, *, sinks: dict[str, SinkEntry] | None = None, **ended: Any) -> Path:
    """End it; the answer is its folder."""
    given: dict[str, Any] = {"reason": EndReason.STOP, "stop_received": True, "tracks": {"inbound": counters()}}
    recording.finish(Ended(**{**given, **ended}), STARTED + timedelta(seconds=1), sinks or {})
    recording.close()
    return recording.directory


def crash(recording: Recording) -> Path:
    """Leave the folder as a killed process does."""
    recording.close(keep_journal=True)
    files.shutdown()
    return recording.directory


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    yield
    files.configure()
    files.shutdown()


@pytest.fixture
def lab() -> ModuleType:
    """What stands above, for the tests of this folder."""
    return sys.modules[__name__]
