"""The wav plugin where a disk, a process or a stream fails: what was written stays, and is found again."""

from __future__ import annotations

import asyncio
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


def test_a_disk_that_takes_no_more_ends_the_sink_and_leaves_what_was_written(studio: Any, tmp_path: Path) -> None:
    said = studio.noise(160)
    reading, writing = os.pipe()
    stuck = files.adopt(writing, Path("stuck"))

    async def events() -> AsyncIterator[Event]:
        yield Frame("inbound", 0, 8000, said)
        await asyncio.to_thread(studio.grown, tmp_path / "inbound.wav.part", 44 + 2 * 160)
        files.configure(limit_bytes=200_000)
        stuck.append(bytes(150_000))
        yield Frame("inbound", 160, 8000, np.zeros(100_000, np.int16))

    stream, owner = studio.stream_in(tmp_path)

    async def run() -> None:
        async with plugin() as opened:
            sink: Any = opened.sink
            await sink(stream, events())

    with pytest.raises(files.FileError, match=r"behind.*inbound.wav.part"):
        asyncio.run(run())
    got = 0
    while got < 150_000:
        got += len(os.read(reading, 65536))
    os.close(reading)
    stuck.close()
    files.shutdown()
    assert owner.files == []
    assert studio.names(tmp_path) == ["inbound.wav.part"]
    assert studio.recover(tmp_path) == ["inbound.wav", "inbound.wav"]
    assert np.array_equal(studio.by_soundfile(tmp_path / "inbound.wav")[:, 0], said)


def test_a_write_error_names_the_file_and_the_audio_before_it_stays(studio: Any, tmp_path: Path) -> None:
    program = """
import asyncio, importlib.util, resource, signal, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("there", sys.argv[2])
there = importlib.util.module_from_spec(spec)
spec.loader.exec_module(there)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1001, 1001))
try:
    there.record(Path(sys.argv[1]), there.frames("inbound", there.noise(1600)))
except there.files.FileError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), studio.__file__],
        capture_output=True,
        text=True,
        timeout=40,
        check=True,
    )
    assert done.stdout.strip() == f"[Errno 27] File too large: '{tmp_path / 'inbound.wav.part'}'"
    assert (tmp_path / "inbound.wav.part").stat().st_size == 1001
    studio.recover(tmp_path)
    for reader in (studio.by_ffmpeg, studio.by_soundfile, studio.by_wave):
        assert len(reader(tmp_path / "inbound.wav")) == (1001 - 44) // 2


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
