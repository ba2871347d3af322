"""Rotation: a stream's files are cut on its timeline, finished while it goes on, and joined give what was said."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from receiver_plugins.wav import Layout, plugin
from receiver_plugins.wav.finishing import FINISHERS

from receiver.events import Cause, Event, Frame, Gap, Samples
from receiver.testing import RunReceiver

SIDES = ("inbound", "outbound")


def timeline(rate: int, spans: list[tuple[str, bool, int]]) -> tuple[list[Event], dict[str, Samples]]:
    """Events that tile, of spans (track, audio or gap, length), and what they say, gaps as zeros."""
    random = np.random.default_rng(len(spans))
    said: dict[str, list[Samples]] = {}
    events: list[Event] = []
    for track, audible, length in spans:
        known = said.setdefault(track, [])
        start = sum(map(len, known))
        if audible:
            samples = random.integers(1, 32767, length).astype(np.int16)
            events.append(Frame(track, start, rate, samples))
        else:
            samples = np.zeros(length, np.int16)
            events.append(Gap(track, start, start + length, rate, Cause.UNSENT))
        known.append(samples)
    return events, {track: np.concatenate(known) for track, known in said.items()}


SPANS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([*SIDES, "mixed"]), st.just(True), st.integers(1, 100)),
        st.tuples(st.sampled_from([*SIDES, "mixed"]), st.just(False), st.integers(1, 2000)),
    ),
    max_size=12,
)
MEMORY = Path("/dev/shm") if Path("/dev/shm").is_dir() else None  # a disk is forced for every file


@pytest.mark.parametrize("layout", ["both", "stereo"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])  # holds nothing
@given(spans=SPANS, rate=st.integers(20, 120))
def test_files_joined_are_the_timeline_to_the_sample_wherever_it_is_cut(
    studio: Any, layout: Layout, spans: list[tuple[str, bool, int]], rate: int
) -> None:
    events, said = timeline(rate, spans)
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        folder = Path(name)
        added = studio.record(folder, events, layout, SIDES, segment_s=1)
        assert sorted(added) == studio.names(folder)
        if layout == "both" or "mixed" in said:
            for track in said if layout == "both" else ["mixed"]:
                found = studio.pieces(folder, track)
                assert np.array_equal(studio.joined(found, len(said[track])), said[track])
                assert all(start % rate == 0 and len(samples) <= rate for start, samples in found)
                assert all(samples.any() for start, samples in found if start)
        if layout == "stereo" or set(SIDES) <= said.keys():
            length = max((len(said[side]) for side in SIDES if side in said), default=0)
            for channel, side in enumerate(SIDES):
                found = studio.pieces(folder, "stereo", channel)
                expected = np.pad(said.get(side, np.zeros(0, np.int16)), (0, length))[:length]
                assert np.array_equal(studio.joined(found, length), expected)
                assert all(start % rate == 0 for start, _ in found)
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert set(studio.recover(folder, layout, segment_s=1)) == set(before)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_is_behind_a_cut_is_finished_while_the_stream_goes_on(studio: Any, tmp_path: Path) -> None:
    said, answered = studio.noise(20_000), studio.noise(20_000)
    stream, owner = studio.stream_in(tmp_path, tracks=SIDES)
    first = ["inbound.flac", "outbound.flac", "stereo.flac"]

    async def events() -> AsyncIterator[Event]:
        for event in studio.frames("inbound", said, size=2000):
            yield event
        assert owner.files == []  # the other side has still to come to the cut
        for event in studio.frames("outbound", answered[:8000], size=2000):
            yield event
        await asyncio.wait_for(finished(), studio.WAIT_S)
        for event in studio.frames("outbound", answered[8000:], 8000):
            yield event

    async def finished() -> None:
        while sorted(owner.files) != first:
            await asyncio.sleep(0.01)

    async def run() -> None:
        async with plugin(segment_s=1, encoding="flac") as opened:
            sink: Any = opened.sink
            await sink(stream, events())

    asyncio.run(run())
    starts = ("", "@8000", "@16000")
    expected = sorted(f"{name}{start}.flac" for name in (*SIDES, "stereo") for start in starts)
    assert sorted(owner.files) == studio.names(tmp_path) == expected
    whole = np.concatenate([studio.by_soundfile(tmp_path / f"stereo{start}.flac") for start in starts])
    assert np.array_equal(whole, np.stack([said, answered], axis=1))


def test_days_without_audio_make_no_files(studio: Any, tmp_path: Path) -> None:
    days = 10 * 86_400 * 8000 + 123
    said = studio.noise(160)
    events: list[Event] = [
        *studio.frames("inbound", said),
        Gap("inbound", 160, days, 8000, Cause.UNSENT),
        *studio.frames("inbound", said, days),
        Gap("outbound", 0, days, 8000, Cause.UNSENT),
    ]
    studio.record(tmp_path, events, "separate")
    cut = 240 * 28_800_000
    assert studio.names(tmp_path) == ["inbound.wav", f"inbound@{cut}.wav"]
    assert len(studio.by_wave(tmp_path / "inbound.wav")) == 28_800_000
    assert np.array_equal(studio.by_wave(tmp_path / f"inbound@{cut}.wav")[123:, 0], said)


def test_many_streams_that_are_cut_at_once_share_a_few_threads(studio: Any, tmp_path: Path) -> None:
    said = studio.noise(800)
    folders = [tmp_path / str(number) for number in range(60)]
    threads: set[str] = set()

    async def call(opened: Any, folder: Path) -> None:
        await asyncio.to_thread(folder.mkdir)
        events = [event for at in range(0, 800, 160) for event in pair_at(at)]
        await opened.sink(studio.stream_in(folder, tracks=SIDES)[0], studio.each(events))
        threads.update(thread.name for thread in threading.enumerate() if thread.name.startswith("wav finisher"))

    def pair_at(at: int) -> list[Event]:
        return [Frame(track, at, 200, said[at : at + 160]) for track in SIDES]

    async def run() -> None:
        async with plugin(segment_s=1, layout="stereo") as opened:
            await asyncio.gather(*(call(opened, folder) for folder in folders))

    asyncio.run(run())
    assert 1 <= len(threads) <= FINISHERS
    for folder in folders:
        assert studio.names(folder) == ["stereo.wav", "stereo@200.wav", "stereo@400.wav", "stereo@600.wav"]
        assert np.array_equal(studio.joined(studio.pieces(folder, "stereo", 1), 800), said)


def test_a_call_over_a_socket_is_cut_on_its_timeline(studio: Any, run_receiver: RunReceiver) -> None:
    said, answered = studio.noise(20_000), studio.noise(20_000)
    sinks = {"wav": {"use": "wav", "options": {"segment_s": 1, "layout": "stereo"}}}
    with run_receiver(sinks=sinks) as server:
        recorded = server.play((said, 8000), outbound=(answered, 8000), codec="L16", rate=8000)
    names = ["stereo.wav", "stereo@16000.wav", "stereo@8000.wav"]
    assert studio.names(recorded.folder) == sorted([*names, "stream.json"])
    assert sorted(file["path"] for file in recorded.told["files"]) == names
    assert recorded.told["sinks"]["wav"]["status"] == "ok"
    for channel, audio in enumerate((said, answered)):
        found = studio.pieces(recorded.folder, "stereo", channel)
        assert np.array_equal(studio.joined(found, 20_000), audio)


def test_a_file_is_kept_below_a_number_of_bytes(studio: Any, tmp_path: Path) -> None:
    said = studio.noise(80_000)
    events = [event for track in SIDES for event in studio.frames(track, said, size=7000)]
    studio.record(tmp_path, events, tracks=SIDES, segment_bytes=65_536)
    for name in (*SIDES, "stereo"):
        assert np.array_equal(studio.joined(studio.pieces(tmp_path, name), 80_000), said)
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert max(sizes.values()) == sizes["stereo.wav"] == 65_536


def test_a_pair_that_a_disk_kept_from_being_made_is_made_later(studio: Any, tmp_path: Path) -> None:
    said = studio.noise(20_000)
    stream, owner = studio.stream_in(tmp_path, tracks=SIDES)
    (tmp_path / "stereo.wav.assembling").symlink_to(tmp_path / "nowhere")  # cannot be opened

    async def events() -> AsyncIterator[Event]:
        for at in range(0, 20_000, 4000):
            for track in SIDES:
                yield Frame(track, at, 8000, said[at : at + 4000])
        while "inbound@8000.wav" not in owner.files or "stereo@8000.wav" not in owner.files:
            await asyncio.sleep(0.01)
        assert "stereo.wav" not in owner.files
        await asyncio.to_thread((tmp_path / "stereo.wav.assembling").unlink)

    async def run() -> None:
        async with plugin(segment_s=1) as opened:
            sink: Any = opened.sink
            await sink(stream, events())

    asyncio.run(run())
    assert np.array_equal(studio.joined(studio.pieces(tmp_path, "stereo", 1), 20_000), said)
    assert len(owner.files) == len(set(owner.files)) == 9


KILLED = """
import asyncio, importlib.util, sys
import numpy as np
from pathlib import Path
spec = importlib.util.spec_from_file_location("there", sys.argv[2])
there = importlib.util.module_from_spec(spec)
spec.loader.exec_module(there)
async def events():
    for position in range(0, 20_000, 100):
        for track in ("inbound", "outbound"):
            yield there.Frame(track, position, 1000, np.arange(position, position + 100).astype(np.int16))
        await asyncio.sleep(0.002)
    print("ready", flush=True)
    await asyncio.sleep(60)
async def main():
    stream = there.stream_in(Path(sys.argv[1]), tracks=("inbound", "outbound"))[0]
    async with there.plugin(segment_s=3, layout=sys.argv[3]) as opened:
        await opened.sink(stream, events())
asyncio.run(main())
"""


@pytest.mark.parametrize("layout", ["both", "stereo"])
def test_a_killed_recorder_is_finished_segment_by_segment(studio: Any, tmp_path: Path, layout: Layout) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path), studio.__file__, layout]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGKILL)
    assert list(tmp_path.glob("*.part"))
    studio.recover(tmp_path, layout, segment_s=3)
    for channel in (0, 1):
        found = studio.pieces(tmp_path, "stereo", channel)
        assert [start for start, _ in found] == list(range(0, 20_000, 3000))[: len(found)]
        heard = studio.joined(found, found[-1][0] + len(found[-1][1]))
        assert len(heard) >= 15_000
        assert ((heard == np.arange(len(heard)).astype(np.int16)) | (heard == 0)).all()
        assert heard[1:15_000].all()
    assert not list(tmp_path.glob("*.part")) and bool(list(tmp_path.glob("inbound*"))) == (layout == "both")
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    studio.recover(tmp_path, layout, segment_s=3)
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()} == before


def test_a_call_of_the_sink_that_failed_is_followed_by_files_that_say_where_they_begin(
    studio: Any, tmp_path: Path
) -> None:
    said, answered = studio.noise(20_000), studio.noise(20_000)
    stream, owner = studio.stream_in(tmp_path, tracks=SIDES)

    async def first() -> AsyncIterator[Event]:
        yield Frame("inbound", 0, 8000, said[:9000])
        yield Frame("outbound", 0, 8000, answered[:11_000])
        raise OSError("gone")

    async def second() -> AsyncIterator[Event]:
        yield Gap("inbound", 0, 9000, 8000, Cause.DROPPED)
        yield Gap("outbound", 0, 11_000, 8000, Cause.DROPPED)
        yield Frame("inbound", 9000, 8000, said[9000:])
        yield Frame("outbound", 11_000, 8000, answered[11_000:])

    async def run() -> None:
        async with plugin(segment_s=1, layout="stereo") as opened:
            sink: Any = opened.sink
            with pytest.raises(OSError, match="gone"):
                await sink(stream, first())
            await sink(stream, second())

    asyncio.run(run())
    assert sorted(owner.files) == studio.names(tmp_path) == ["stereo.wav", "stereo@16000.wav", "stereo@8000.wav"]
    for channel, audio in enumerate((said, answered)):
        assert np.array_equal(studio.joined(studio.pieces(tmp_path, "stereo", channel), 20_000), audio)
