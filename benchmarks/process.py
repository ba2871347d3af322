"""``receiver process``: how many times faster than real time a capture goes through the ``wav`` plugin.

    python benchmarks/process.py [--write] [--minutes 30]

A PCMU call of two tracks, read together every 60 ms as a server reads it, to WAV files of both tracks and of both
together. Wall time is from the opening of a capture to its final ``stream.json``; CPU time is that of
all threads of the process.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import platform
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from receiver.captures.capture import Batch, End, Header, encode_batch, encode_end, encode_header
from receiver.config import Config
from receiver.events import EndReason
from receiver.offline import Offline
from receiver.simulate import SPEECH, Call, messages

READ_S = 0.06
ROUNDS = 3
ASKED = 2000.0
RESULTS = Path(__file__).parent / "results" / "process.json"


def repeated(minutes: float) -> Iterator[tuple[float, str]]:
    """The bundled call, its audio over and over again, counted on."""
    said = list(messages(Call(inbound=SPEECH / "inbound.flac", outbound=SPEECH / "outbound.flac")))
    yield from said[:2]
    bodies = [json.loads(message) for _, message in said[2:-1]]
    pairs = len(bodies) // 2
    for number in itertools.count():
        due_s = number * 0.02
        if due_s >= minutes * 60:
            break
        for body in bodies[number % pairs * 2 : number % pairs * 2 + 2]:
            media = body["media"] | {"chunk": str(number + 1), "timestamp": str(number * 20)}
            yield due_s, json.dumps(body | {"media": media}, separators=(",", ":"))
    yield minutes * 60, said[-1][1]


def write_capture(path: Path, minutes: float) -> None:
    """What a server would have written."""
    with path.open("wb") as file:
        file.write(encode_header(Header(version=1, source="default", resolution_ms=60)))
        at = 0.0
        for read, group in itertools.groupby(repeated(minutes), lambda due: int(due[0] / READ_S)):
            at = round((read + 1) * READ_S, 6)
            file.write(encode_batch(Batch(at, [message for _, message in group])))
        file.write(encode_end(End(at, EndReason.STOP)))


async def process(capture: Path, root: Path) -> tuple[float, float]:
    """Seconds of the wall and of the processor."""
    settings = Config.model_validate({"sources": {"default": {"auth": {"use": "none"}}}})
    async with Offline(settings, root) as offline:
        wall, cpu = time.perf_counter(), time.process_time()
        done = await offline.process(capture)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert done.ok, done
    return wall, cpu


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/process.json")
    parser.add_argument("--minutes", type=float, default=30.0, help="length of the call")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        capture = folder / "capture.jsonl"
        write_capture(capture, arguments.minutes)
        size_mb = capture.stat().st_size / 1e6
        rounds = [asyncio.run(process(capture, folder / str(number))) for number in range(ROUNDS)]
    wall, cpu = min(rounds)
    audio_s = arguments.minutes * 60
    print(f"{arguments.minutes:g} minutes of two tracks, {size_mb:.0f} MB, in {wall:.2f} s ({cpu:.2f} s of CPU time)")
    print(f"{audio_s / wall:.0f} x real time; by CPU time {audio_s / cpu:.0f} x (asked {ASKED:.0f} x)")
    if arguments.write:
        result = {
            "date": time.strftime("%Y-%m-%d"),
            "machine": platform.processor() or platform.machine(),
            "python": platform.python_version(),
            "versions": {name: version(name) for name in ("msgspec", "numpy")},
            "minutes": arguments.minutes,
            "times_real_time": round(audio_s / wall),
            "times_real_time_cpu": round(audio_s / cpu),
            "asked": ASKED,
        }
        RESULTS.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
