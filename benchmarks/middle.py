"""The middle alone: what a media message costs from its text to its events, in batches and one by one.

    python benchmarks/middle.py [--write]

Time is this process's own CPU time, the best of several rounds: other programs make a round slower, never faster.
"""

from __future__ import annotations

import argparse
import base64
import json
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import msgspec

from receiver.sessions.session import Session
from receiver.sessions.settings import SessionSettings

MESSAGES = 50_000
ROUNDS = 7
ASKED = {"batches of 5": 2.0, "one by one": 4.0}
RESULTS = Path(__file__).parent / "results" / "middle.json"

START = json.dumps(
    {
        "event": "start",
        "sequenceNumber": "1",
        "start": {
            "streamSid": "7d56cc11-536d-4a45-b4fb-ed3d55be843b",
            "accountSid": "b08dacad-2f6c-4de1-93d6-cc732e0c69c5",
            "callSid": "76ac3c36-56da-4a3e-a0d6-b5f8df6da9ad",
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        },
    }
)


class Media(msgspec.Struct):
    """What a decoder has to find, and nothing more."""

    track: str
    payload: bytes
    chunk: int
    timestamp: int


class Text(msgspec.Struct):
    """A media message."""

    event: str
    media: Media


decode = msgspec.json.Decoder(Text, strict=False).decode


def media(number: int) -> str:
    """20 ms of PCMU, as SignalWire would send it: numbers as strings."""
    body = {
        "track": "inbound",
        "chunk": str(number),
        "timestamp": str((number - 1) * 20),
        "payload": base64.b64encode(bytes([number % 256]) * 160).decode(),
    }
    return json.dumps({"event": "media", "sequenceNumber": str(number + 1), "media": body})


def session_cost(data: list[str], size: int) -> float:
    """Microseconds per message: parsed, sorted, placed, decoded, counted."""
    session = Session("signalwire", at=0.0, settings=SessionSettings())
    session.receive([START], 0.0)
    batches = [(data[i : i + size], i * 0.02) for i in range(0, len(data), size)]
    began = time.process_time()
    for batch, at in batches:
        session.receive(batch, at)
    spent = time.process_time() - began
    assert session.error is None
    assert session.counters["inbound"].placed == len(data)
    return spent / len(data) * 1e6


def parsing_cost(data: list[str]) -> float:
    """Microseconds per message of the typed JSON decoder alone, base64 included: the floor of this machine."""

    began = time.process_time()
    for text in data:
        decode(text)
    return (time.process_time() - began) / len(data) * 1e6


def best(measure: Callable[[], float]) -> float:
    """The best of all rounds."""
    return round(min(measure() for _ in range(ROUNDS)), 2)


def main() -> None:
    """Measure, print a table, and write the result where asked."""
    parser = argparse.ArgumentParser(description="what a media message costs in the middle")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    write = parser.parse_args().write
    data = [media(number) for number in range(1, MESSAGES + 1)]
    costs = {
        "batches of 5": best(lambda: session_cost(data, 5)),
        "one by one": best(lambda: session_cost(data, 1)),
        "JSON and base64 alone": best(lambda: parsing_cost(data)),
    }
    print(f"{'the middle, PCMU, 20 ms':28}{'µs per message':>16}{'asked':>8}")
    for name, cost in costs.items():
        print(f"{name:28}{cost:16.2f}{ASKED.get(name, ''):>8}")
    result = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": f"{platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("msgspec", "numpy")},
        "unit": "microseconds of CPU per message, best of several rounds",
        "asked": ASKED,
        "measured": costs,
    }
    if write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
