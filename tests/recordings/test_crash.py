"""A process that dies at any step of a stream's end: the next start finishes what it left, whatever the step."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import soundfile
from receiver_plugins.wav import Encoding as FileEncoding
from receiver_plugins.wav import Layout, plugin

import receiver
from receiver import files
from receiver.audio import AudioFormat, Encoding
from receiver.events import Annotation, Cause, Ended, EndReason, Event, Frame, Gap, TrackCounters
from receiver.recordings import Recording, recover
from receiver.stream import Stream, StreamFacts

SCHEMA = json.loads((Path(receiver.__file__).parent / "stream.schema.json").read_text())
STEPS = ["open", "mkdir", "rename", "replace", "unlink", "ftruncate", "pwrite", "fsync", "close"]
TONE = np.arange(3000).astype(np.int16)
INBOUND = np.concatenate([np.zeros(500, np.int16), TONE])
OUTBOUND = np.concatenate([TONE, np.zeros(500, np.int16)])
EXPECTED = {
    "inbound": INBOUND.reshape(-1, 1),
    "outbound": OUTBOUND.reshape(-1, 1),
    "stereo": np.stack([INBOUND, OUTBOUND], 1),
}
TRACKS = {"inbound": TrackCounters(8000, length=3500, samples=3000), "outbound": TrackCounters(8000, length=3000)}
FACTS = StreamFacts(
    id="0199-ours",
    source="default",
    dialect="signalwire",
    stream_id="theirs",
    call_id=None,
    account_id=None,
    tracks=("inbound", "outbound"),
    format=AudioFormat(Encoding.PCMU, 8000),
    parameters={},
    path_parameters={},
    peer_address="192.0.2.1",
    token=None,
    started=datetime(2026, 11, 21, tzinfo=UTC),
)
EVENTS: list[Event] = [
    Gap("inbound", 0, 500, 8000, Cause.UNSENT),
    Frame("inbound", 500, 8000, TONE),
    Frame("outbound", 0, 8000, TONE),
]


class Owner:
    def __init__(self, recording: Recording) -> None:
        self.recording = recording

    def annotated(self, annotation: Annotation) -> None:
        self.recording.annotate(annotation)

    def file_added(self, path: Path, kind: str, media_type: str, sink: str) -> None:
        self.recording.add_file(path, kind, media_type, sink)


async def each() -> AsyncIterator[Event]:
    for event in EVENTS:
        yield event


def stream_to(root: Path, layout: Layout, encoding: FileEncoding) -> None:
    """A whole stream, from its folder's making to its journal's removal."""
    recording = Recording.create(root, "{date}/{stream_id}", FACTS)
    recording.note(EVENTS)

    async def run() -> None:
        async with plugin(layout=layout, encoding=encoding) as opened:
            sink: Any = opened.sink
            await sink(Stream(FACTS, recording.directory, Owner(recording), "wav"), each())

    asyncio.run(run())
    recording.finish(Ended(EndReason.STOP, True, TRACKS), FACTS.started)
    recording.close()
    files.shutdown()


def dying_at(number: int) -> None:
    """Have this process killed as it takes the step of that number."""
    taken = 0

    def counted(step: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*arguments: Any, **named: Any) -> Any:
            nonlocal taken
            taken += 1
            if taken == number:
                os._exit(9)
            return step(*arguments, **named)

        return instead

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))


def killed(root: Path, layout: Layout, encoding: FileEncoding, number: int) -> bool:
    """Whether a child that handles a stream died at that step; False: it had no such step and came to its end."""
    child = os.fork()
    if child == 0:
        dying_at(number)
        try:
            stream_to(root, layout, encoding)
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9)
    return status == 9


def recover_all(root: Path, layout: Layout, encoding: FileEncoding) -> list[Path]:
    async def run() -> list[Path]:
        async with plugin(layout=layout, encoding=encoding) as opened:
            assert opened.recover is not None
            return await asyncio.to_thread(recover, root, {"wav": opened.recover})

    return asyncio.run(run())


def everything(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(("layout", "encoding"), [("both", "wav"), ("stereo", "wav"), ("both", "flac")])
def test_a_process_that_dies_at_any_step_leaves_what_the_next_start_finishes(
    tmp_path: Path, layout: Layout, encoding: FileEncoding
) -> None:
    # A program of its own forks the processes that die: this one may have threads, which a fork would not survive.
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path), layout, encoding],
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    steps = int(done.stdout)
    assert steps > 20
    for number in range(1, steps + 1):
        root = tmp_path / str(number)
        recover_all(root, layout, encoding)
        left = everything(root)
        assert recover_all(root, layout, encoding) == [], number
        assert everything(root) == left, number
        directory = root / "2026-11-21" / "0199-ours"
        if not (directory / "stream.json").exists():  # it died before there was anything to keep
            assert set(left) <= {"2026-11-21/0199-ours/journal.jsonl.new"}, number
            continue
        content = json.loads((directory / "stream.json").read_bytes())
        jsonschema.Draft202012Validator(SCHEMA).validate(content)
        listed = {file["path"]: file["bytes"] for file in content["files"]}
        there = {path.name: path.stat().st_size for path in directory.iterdir() if path.name != "stream.json"}
        assert listed == there, number
        assert not (directory / "journal.jsonl").exists()
        for name in listed:
            samples = soundfile.read(directory / name, dtype="int16", always_2d=True)[0]
            expected = EXPECTED[Path(name).stem][: len(samples)]
            assert ((samples == expected) | (samples == 0)).all(), number
    assert np.array_equal(samples, expected)  # of the one that was not killed
    assert content["end"]["reason"] == "stop"
    assert set(listed) == {f"{name}.{encoding}" for name in (["stereo"] if layout == "stereo" else EXPECTED)}


if __name__ == "__main__":
    step = 1
    layout: Any = sys.argv[2]
    encoding: Any = sys.argv[3]
    while killed(Path(sys.argv[1]) / str(step), layout, encoding, step):
        step += 1
    sys.stdout.write(str(step))
