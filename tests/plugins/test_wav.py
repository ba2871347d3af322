"""The wav plugin: real streams of events in, files that independent readers agree on out."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import threading
import wave
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
from receiver_plugins import stereo
from receiver_plugins.wav import Layout, plugin

from receiver import files
from receiver.audio import AudioFormat, Encoding
from receiver.events import Annotation, Cause, Digit, Event, Frame, Gap, Samples
from receiver.stream import Stream, StreamFacts

WAIT_S = 20
RANDOM = np.random.default_rng(7)


class Owner:
    """Remembers what a sink said."""

    def __init__(self) -> None:
        self.files: list[str] = []

    def annotated(self, annotation: Annotation) -> None:
        raise AssertionError(annotation)

    def file_added(self, path: Path, kind: str, media_type: str, sink: str) -> None:
        assert (kind, media_type, sink) == ("audio", "audio/wav", "wav")
        self.files.append(path.name)


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    yield
    files.configure()
    files.shutdown()


def stream_in(directory: Path, rate: int = 8000) -> tuple[Stream, Owner]:
    facts = StreamFacts(
        id="0199-ours",
        source="default",
        dialect="signalwire",
        stream_id="theirs",
        call_id=None,
        account_id=None,
        tracks=("inbound",),
        format=AudioFormat(Encoding.PCMU, rate),
        parameters={},
        path_parameters={},
        peer_address="192.0.2.1",
        token=None,
        started=datetime(2026, 11, 21, tzinfo=UTC),
    )
    owner = Owner()
    return Stream(facts, directory, owner, "wav"), owner


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


def record(directory: Path, events: Iterable[Event], layout: Layout = "both") -> list[str]:
    """Run the sink over events; the files that it added. Where a call blocks the loop, every test fails."""
    stream, owner = stream_in(directory)

    async def run() -> None:
        async with plugin(layout=layout) as opened:
            sink: Any = opened.sink
            await sink(stream, each(events))

    asyncio.run(run())
    return owner.files


def recover(directory: Path, layout: Layout = "both") -> list[str]:
    stream, owner = stream_in(directory)

    async def run() -> None:
        async with plugin(layout=layout) as opened:
            assert opened.recover is not None
            await asyncio.to_thread(opened.recover, stream)

    asyncio.run(run())
    return owner.files


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


READERS = [by_ffmpeg, by_soundfile, by_wave, pytest.param(by_sox, marks=pytest.mark.system)]


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


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_finds_every_sample_in_its_place(tmp_path: Path, reader: Any) -> None:
    said = noise(8000)
    events: list[Event] = [
        Gap("inbound", 0, 333, 8000, Cause.UNSENT),
        *frames("inbound", said, 333),
        Digit("5", 8333, 8000),
        Gap("inbound", 8333, 9000, 8000, Cause.LOST),
    ]
    assert record(tmp_path, events) == ["inbound.wav"]
    expected = np.concatenate([np.zeros(333), said, np.zeros(667)]).astype(np.int16)
    assert np.array_equal(reader(tmp_path / "inbound.wav")[:, 0], expected)
    assert soundfile.info(tmp_path / "inbound.wav").samplerate == 8000
    assert names(tmp_path) == ["inbound.wav"]


@pytest.mark.parametrize("reader", READERS)
def test_inbound_is_left_and_outbound_right_and_the_shorter_one_padded(tmp_path: Path, reader: Any) -> None:
    left, right = noise(stereo.STEP * 2 + 5), noise(stereo.STEP + 77)
    added = record(tmp_path, [*frames("outbound", right, size=5000), *frames("inbound", left, size=5000)])
    assert sorted(added) == names(tmp_path) == ["inbound.wav", "outbound.wav", "stereo.wav"]
    both = reader(tmp_path / "stereo.wav", 2)
    assert both.shape == (len(left), 2)
    assert np.array_equal(both[:, 0], left)
    assert np.array_equal(both[: len(right), 1], right)
    assert not both[len(right) :, 1].any()


@pytest.mark.parametrize("reader", READERS)
def test_a_file_is_readable_while_it_is_written(tmp_path: Path, reader: Any) -> None:
    said = noise(1600)
    seen: list[Samples] = []

    async def events() -> AsyncIterator[Event]:
        for event in frames("inbound", said):
            yield event
        yield Gap("inbound", 1600, 2000, 8000, Cause.LOST)
        yield Frame("inbound", 2000, 8000, said)
        part = tmp_path / "inbound.wav.part"
        await asyncio.to_thread(grown, part, 44 + 2 * 3600)
        seen.append(await asyncio.to_thread(reader, part))

    stream, _ = stream_in(tmp_path)

    async def run() -> None:
        async with plugin() as opened:
            sink: Any = opened.sink
            await sink(stream, events())

    asyncio.run(run())
    assert np.array_equal(seen[0][:, 0], np.concatenate([said, np.zeros(400, np.int16), said]))


@pytest.mark.parametrize(
    ("layout", "tracks", "expected"),
    [
        ("separate", ["inbound", "outbound"], ["inbound.wav", "outbound.wav"]),
        ("both", ["inbound"], ["inbound.wav"]),
        ("both", ["inbound", "mixed"], ["inbound.wav", "mixed.wav"]),
        ("stereo", ["inbound", "outbound"], ["stereo.wav"]),
        ("stereo", ["outbound"], ["stereo.wav"]),
        ("stereo", ["mixed", "inbound"], ["mixed.wav", "stereo.wav"]),
        ("stereo", ["mixed"], ["mixed.wav"]),
        ("both", [], []),
    ],
)
def test_the_layout_says_which_files_are_made(
    tmp_path: Path, layout: Layout, tracks: list[str], expected: list[str]
) -> None:
    said = {track: noise(800) for track in tracks}
    events = [event for track in tracks for event in frames(track, said[track])]
    assert sorted(record(tmp_path, events, layout)) == names(tmp_path) == expected
    if "stereo.wav" in expected:
        both = by_soundfile(tmp_path / "stereo.wav")
        silence = np.zeros(800, np.int16)
        assert np.array_equal(both[:, 0], said.get("inbound", silence))
        assert np.array_equal(both[:, 1], said.get("outbound", silence))
    for track in tracks:
        if f"{track}.wav" in expected:
            assert np.array_equal(by_soundfile(tmp_path / f"{track}.wav")[:, 0], said[track])
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    assert sorted(set(recover(tmp_path, layout))) == expected  # said again, nothing made again
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before


def test_an_hour_long_gap_takes_no_room(tmp_path: Path) -> None:
    hour = 3600 * 8000
    record(tmp_path, [Gap("inbound", 0, hour, 8000, Cause.UNSENT), *frames("inbound", noise(160), hour)])
    found = (tmp_path / "inbound.wav").stat()
    assert found.st_size == 44 + 2 * (hour + 160)
    assert found.st_blocks * 512 < 2**18


def test_nothing_that_is_there_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "inbound.wav").write_bytes(b"precious")
    (tmp_path / "inbound-2.wav").symlink_to(tmp_path / "not there")
    said = noise(160)
    assert record(tmp_path, frames("inbound", said)) == ["inbound-3.wav"]
    assert (tmp_path / "inbound.wav").read_bytes() == b"precious"
    assert np.array_equal(by_soundfile(tmp_path / "inbound-3.wav")[:, 0], said)


def test_a_track_called_stereo_keeps_its_name(tmp_path: Path) -> None:
    events = [event for track in ("stereo", "inbound", "outbound") for event in frames(track, noise(320))]
    record(tmp_path, events)
    expected = ["inbound.wav", "outbound.wav", "stereo-2.wav", "stereo.wav"]
    assert names(tmp_path) == expected
    assert sorted(recover(tmp_path)) == names(tmp_path) == expected


@pytest.mark.parametrize("track", ["../../x", "/etc/x", "a\0b", "..", "x" * 500, "🎉", ""])
def test_a_tracks_name_leads_nowhere(tmp_path: Path, track: str) -> None:
    folder = tmp_path / "stream"
    folder.mkdir()
    (added,) = record(folder, frames(track, noise(160)))
    assert names(tmp_path) == ["stream"]
    assert names(folder) == [added]


def test_files_belong_to_us_alone(tmp_path: Path) -> None:
    record(tmp_path, [event for track in ("inbound", "outbound") for event in frames(track, noise(160))])
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_sides_of_different_rates_stay_apart_and_that_is_said(tmp_path: Path) -> None:
    events = [*frames("inbound", noise(160)), *frames("outbound", noise(160), rate=16000)]
    with pytest.raises(ValueError, match=r"different rates.*'inbound.wav': 8000.*'outbound.wav': 16000"):
        record(tmp_path, events)
    assert names(tmp_path) == ["inbound.wav", "outbound.wav"]


def test_a_disk_that_takes_no_more_ends_the_sink_and_leaves_what_was_written(tmp_path: Path) -> None:
    said = noise(160)
    reading, writing = os.pipe()
    stuck = files.adopt(writing, Path("stuck"))

    async def events() -> AsyncIterator[Event]:
        yield Frame("inbound", 0, 8000, said)
        await asyncio.to_thread(grown, tmp_path / "inbound.wav.part", 44 + 2 * 160)
        files.configure(limit_bytes=200_000)
        stuck.append(bytes(150_000))
        yield Frame("inbound", 160, 8000, np.zeros(100_000, np.int16))

    stream, owner = stream_in(tmp_path)

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
    assert names(tmp_path) == ["inbound.wav.part"]
    assert recover(tmp_path) == ["inbound.wav", "inbound.wav"]
    assert np.array_equal(by_soundfile(tmp_path / "inbound.wav")[:, 0], said)


def test_a_write_error_names_the_file_and_the_audio_before_it_stays(tmp_path: Path) -> None:
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
        [sys.executable, "-c", program, str(tmp_path), __file__], capture_output=True, text=True, timeout=40, check=True
    )
    assert done.stdout.strip() == f"[Errno 27] File too large: '{tmp_path / 'inbound.wav.part'}'"
    assert (tmp_path / "inbound.wav.part").stat().st_size == 1001
    recover(tmp_path)
    for reader in (by_ffmpeg, by_soundfile, by_wave):
        assert len(reader(tmp_path / "inbound.wav")) == (1001 - 44) // 2


def test_a_sink_that_is_cancelled_leaves_its_part_whole(tmp_path: Path) -> None:
    said = noise(160)

    async def events() -> AsyncIterator[Event]:
        yield Frame("inbound", 0, 8000, said)
        yield Gap("inbound", 160, 320, 8000, Cause.LOST)
        await asyncio.Event().wait()

    stream, _ = stream_in(tmp_path)

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


def test_a_killed_recorder_loses_nothing_that_was_written(tmp_path: Path) -> None:
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
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path), __file__], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGKILL)
    assert names(tmp_path) == ["inbound.wav.part", "outbound.wav.part"]
    added = recover(tmp_path)
    assert sorted(set(added)) == names(tmp_path) == ["inbound.wav", "outbound.wav", "stereo.wav"]
    for name in ("inbound.wav", "outbound.wav"):
        lengths = set()
        for reader in (by_ffmpeg, by_soundfile, by_wave):
            samples = reader(tmp_path / name)[:, 0]
            assert len(samples) >= 16000
            assert np.array_equal(samples, np.arange(len(samples)).astype(np.int16))
            lengths.add(len(samples))
        assert len(lengths) == 1
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    recover(tmp_path)
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("torn", [b"", b"RIFF", bytes(44), bytes(44) + b"\1\0\2\0\3"])
def test_a_torn_header_is_written_anew(tmp_path: Path, torn: bytes) -> None:
    (tmp_path / "inbound.wav.part").write_bytes(torn)
    assert set(recover(tmp_path)) == {"inbound.wav"}
    for reader in (by_soundfile, by_wave):
        assert len(reader(tmp_path / "inbound.wav")) == max(0, len(torn) - 44) // 2
    assert soundfile.info(tmp_path / "inbound.wav").samplerate == 8000


def test_a_file_too_short_to_be_audio_is_not_added(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    assert recover(tmp_path) == []


@pytest.mark.parametrize("layout", ["both", "stereo"])
def test_a_crash_between_two_steps_of_the_end_is_finished(tmp_path: Path, layout: Layout) -> None:
    left, right = noise(800), noise(640)
    record(tmp_path, [*frames("inbound", left), *frames("outbound", right)], "separate")
    (tmp_path / "stereo.wav.assembling").write_bytes(b"half of it")  # died while it was written
    (tmp_path / "stereo.wav").touch()  # or between taking the name and using it
    recover(tmp_path, layout)
    monos = [] if layout == "stereo" else ["inbound.wav", "outbound.wav"]
    assert names(tmp_path) == [*monos, "stereo.wav"]
    both = by_soundfile(tmp_path / "stereo.wav")
    assert np.array_equal(both[:, 0], left)
    assert np.array_equal(both[:640, 1], right)


def test_mono_files_go_once_the_stereo_file_is_known_to_hold_them(tmp_path: Path) -> None:
    events = [event for track in ("inbound", "outbound") for event in frames(track, noise(800))]
    record(tmp_path, events, "both")
    assert recover(tmp_path, "stereo") == ["stereo.wav"]
    assert names(tmp_path) == ["stereo.wav"]


def test_a_stereo_file_that_does_not_read_back_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(tmp_path, [event for track in ("inbound", "outbound") for event in frames(track, noise(800))], "separate")
    monkeypatch.setattr(os, "fsync", lambda descriptor: os.ftruncate(descriptor, 100))  # a disk that lies
    with pytest.raises(ValueError, match="does not read back"):
        stereo.assemble(tmp_path / "inbound.wav", tmp_path / "outbound.wav", tmp_path / "stereo.wav")
    assert names(tmp_path) == ["inbound.wav", "outbound.wav", "stereo.wav.assembling"]


def test_a_stereo_file_that_was_cut_does_not_hold_its_sides(tmp_path: Path) -> None:
    record(tmp_path, [event for track in ("inbound", "outbound") for event in frames(track, noise(800))])
    left, right, both = (tmp_path / f"{name}.wav" for name in ("inbound", "outbound", "stereo"))
    assert stereo.holds(both, left, right)
    assert not stereo.holds(both, right, left)
    for size in (both.stat().st_size - 1, both.stat().st_size - 4):
        os.truncate(both, size)
        assert not stereo.holds(both, left, right)


def test_two_hundred_streams_share_a_loop_and_a_writer(tmp_path: Path) -> None:
    said = noise(480)
    added: list[list[str]] = []

    async def call(opened: Any, folder: Path) -> None:
        stream, owner = stream_in(folder)
        added.append(owner.files)
        await opened.sink(stream, each(frames("inbound", said)))

    folders = [tmp_path / str(number) for number in range(200)]
    for folder in folders:
        folder.mkdir()

    async def run() -> None:
        async with plugin() as opened:
            await asyncio.gather(*(call(opened, folder) for folder in folders))

    asyncio.run(run())
    assert added == [["inbound.wav"]] * 200
    for folder in folders:
        assert np.array_equal(by_wave(folder / "inbound.wav")[:, 0], said)
