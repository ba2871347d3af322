"""The wav plugin where a disk, a process or a stream fails: what was written stays, and is found again."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from receiver_plugins.wav import plugin

from receiver import files
from receiver.events import Cause, Event, Frame, Gap


def test_a_sink_that_is_cancelled_leaves_its_part_whole(studio: Any, tmp_path: Path) -> None:
    said = studio.noise(160)

    async def events() -> AsyncIterator[Event]:
        yield Frame("inbound", 0, 8000, said)
        yield Gap("inbound", 160, 320, 8000, Cause.LOST)
        await asyncio.Event().wait()

    stream, _ = studio.stream_in(tmp_path)

    async def run() -> None:
        async with plugin() as opened:
            sink: Any = opened.sink
            task = asyncio.create_task(sink(stream, events()))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())
    files.shutdown()
    assert (tmp_path / "inbound.wav.part").stat().st_size == 44 + 2 * 320


def test_a_folder_that_cannot_be_listed_is_not_taken_for_one_that_is_finished(
    studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = studio.wav(tmp_path / "inbound.wav", studio.noise(160)).rename(tmp_path / "inbound.wav.part")

    def fails(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(tmp_path))

    for name in ("listdir", "scandir"):
        monkeypatch.setattr(os, name, fails)
    with pytest.raises(OSError, match="Input/output error"):
        studio.recover(tmp_path)
    monkeypatch.undo()
    assert part.exists()
    assert studio.recover(tmp_path) == ["inbound.wav"]


def test_a_killed_recorder_loses_nothing_that_was_written(studio: Any, tmp_path: Path) -> None:
    program = """
import asyncio, importlib.util, sys, time
import numpy as np
from pathlib import Path
spec = importlib.util.spec_from_file_location("there", sys.argv[2])
there = importlib.util.module_from_spec(spec)
spec.loader.exec_module(there)
async def events():
    position = 0
    while True:
        for track in ("inbound", "outbound"):
            yield there.Frame(track, position, 8000, np.arange(position, position + 160).astype(np.int16))
        position += 160
        await asyncio.sleep(0)
        if position == 16000:
            await asyncio.sleep(0.2)
            print("ready", flush=True)
async def main():
    async with there.plugin() as opened:
        await opened.sink(there.stream_in(Path(sys.argv[1]))[0], events())
asyncio.run(main())
"""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path), studio.__file__], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGKILL)
    assert studio.names(tmp_path) == ["inbound.wav.part", "outbound.wav.part"]
    added = studio.recover(tmp_path)
    assert sorted(set(added)) == studio.names(tmp_path) == ["inbound.wav", "outbound.wav", "stereo.wav"]
    for name in ("inbound.wav", "outbound.wav"):
        lengths = set()
        for reader in (studio.by_ffmpeg, studio.by_soundfile, studio.by_wave):
            samples = reader(tmp_path / name)[:, 0]
            assert len(samples) >= 16000
            assert np.array_equal(samples, np.arange(len(samples)).astype(np.int16))
            lengths.add(len(samples))
        assert len(lengths) == 1
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    studio.recover(tmp_path)
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("torn", [b"", b"RIFF", bytes(44), bytes(44) + b"\1\0\2\0\3"])
def test_a_torn_header_is_written_anew(studio: Any, tmp_path: Path, torn: bytes) -> None:
    (tmp_path / "inbound.wav.part").write_bytes(torn)
    assert set(studio.recover(tmp_path)) == {"inbound.wav"}
    for reader in (studio.by_soundfile, studio.by_wave):
        assert len(reader(tmp_path / "inbound.wav")) == max(0, len(torn) - 44) // 2
    assert soundfile.info(tmp_path / "inbound.wav").samplerate == 8000


def test_a_file_too_short_to_be_audio_is_not_added(studio: Any, tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    assert studio.recover(tmp_path) == []
