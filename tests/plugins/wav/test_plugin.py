"""The wav plugin: real streams of events in, files that independent readers agree on out."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from receiver_plugins.wav import Layout, plugin

from receiver.events import Cause, Digit, Event, Frame, Gap, Samples
from receiver.testing import RunReceiver


def test_every_reader_finds_every_sample_in_its_place(studio: Any, tmp_path: Path, reader: Any) -> None:
    said = studio.noise(8000)
    events: list[Event] = [
        Gap("inbound", 0, 333, 8000, Cause.UNSENT),
        *studio.frames("inbound", said, 333),
        Digit("5", 8333, 8000),
        Gap("inbound", 8333, 9000, 8000, Cause.LOST),
    ]
    assert studio.record(tmp_path, events) == ["inbound.wav"]
    expected = np.concatenate([np.zeros(333), said, np.zeros(667)]).astype(np.int16)
    assert np.array_equal(reader(tmp_path / "inbound.wav")[:, 0], expected)
    assert soundfile.info(tmp_path / "inbound.wav").samplerate == 8000
    assert studio.names(tmp_path) == ["inbound.wav"]


def test_a_file_is_readable_while_it_is_written(studio: Any, tmp_path: Path, reader: Any) -> None:
    said = studio.noise(1600)
    seen: list[Samples] = []

    async def events() -> AsyncIterator[Event]:
        for event in studio.frames("inbound", said):
            yield event
        yield Gap("inbound", 1600, 2000, 8000, Cause.LOST)
        yield Frame("inbound", 2000, 8000, said)
        part = tmp_path / "inbound.wav.part"
        await asyncio.to_thread(studio.grown, part, 44 + 2 * 3600)
        seen.append(await asyncio.to_thread(reader, part))

    stream, _ = studio.stream_in(tmp_path)

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
    studio: Any, tmp_path: Path, layout: Layout, tracks: list[str], expected: list[str]
) -> None:
    said = {track: studio.noise(800) for track in tracks}
    events = [event for track in tracks for event in studio.frames(track, said[track])]
    assert sorted(studio.record(tmp_path, events, layout)) == studio.names(tmp_path) == expected
    if "stereo.wav" in expected:
        both = studio.by_soundfile(tmp_path / "stereo.wav")
        silence = np.zeros(800, np.int16)
        assert np.array_equal(both[:, 0], said.get("inbound", silence))
        assert np.array_equal(both[:, 1], said.get("outbound", silence))
    for track in tracks:
        if f"{track}.wav" in expected:
            assert np.array_equal(studio.by_soundfile(tmp_path / f"{track}.wav")[:, 0], said[track])
    before = {name: (tmp_path / name).read_bytes() for name in studio.names(tmp_path)}
    assert sorted(set(studio.recover(tmp_path, layout))) == expected  # said again, nothing made again
    assert {name: (tmp_path / name).read_bytes() for name in studio.names(tmp_path)} == before


def test_an_hour_long_gap_takes_no_room(studio: Any, tmp_path: Path) -> None:
    hour = 3600 * 8000
    studio.record(
        tmp_path,
        [Gap("inbound", 0, hour, 8000, Cause.UNSENT), *studio.frames("inbound", studio.noise(160), hour)],
        segment_s=0,
    )
    found = (tmp_path / "inbound.wav").stat()
    assert found.st_size == 44 + 2 * (hour + 160)
    assert found.st_blocks * 512 < 2**18


def test_nothing_that_is_there_is_overwritten(studio: Any, tmp_path: Path) -> None:
    (tmp_path / "inbound.wav").write_bytes(b"precious")
    (tmp_path / "inbound-2.wav").symlink_to(tmp_path / "not there")
    said = studio.noise(160)
    assert studio.record(tmp_path, studio.frames("inbound", said)) == ["inbound-3.wav"]
    assert (tmp_path / "inbound.wav").read_bytes() == b"precious"
    assert np.array_equal(studio.by_soundfile(tmp_path / "inbound-3.wav")[:, 0], said)


def test_a_track_called_stereo_keeps_its_name(studio: Any, tmp_path: Path) -> None:
    events = [event for track in ("stereo", "inbound", "outbound") for event in studio.frames(track, studio.noise(320))]
    studio.record(tmp_path, events)
    expected = ["inbound.wav", "outbound.wav", "stereo-2.wav", "stereo.wav"]
    assert studio.names(tmp_path) == expected
    assert sorted(studio.recover(tmp_path)) == studio.names(tmp_path) == expected


@pytest.mark.parametrize("track", ["../../x", "/etc/x", "a\0b", "..", "x" * 500, "🎉", ""])
def test_a_tracks_name_leads_nowhere(studio: Any, tmp_path: Path, track: str) -> None:
    folder = tmp_path / "stream"
    folder.mkdir()
    (added,) = studio.record(folder, studio.frames(track, studio.noise(160)))
    assert studio.names(tmp_path) == ["stream"]
    assert studio.names(folder) == [added]


def test_files_belong_to_us_alone(studio: Any, tmp_path: Path) -> None:
    studio.record(
        tmp_path, [event for track in ("inbound", "outbound") for event in studio.frames(track, studio.noise(160))]
    )
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_two_hundred_streams_share_a_loop_and_a_writer(studio: Any, tmp_path: Path) -> None:
    said = studio.noise(480)
    added: list[list[str]] = []

    async def call(opened: Any, folder: Path) -> None:
        stream, owner = studio.stream_in(folder)
        added.append(owner.files)
        await opened.sink(stream, studio.each(studio.frames("inbound", said)))

    folders = [tmp_path / str(number) for number in range(200)]
    for folder in folders:
        folder.mkdir()

    async def run() -> None:
        async with plugin() as opened:
            await asyncio.gather(*(call(opened, folder) for folder in folders))

    asyncio.run(run())
    assert added == [["inbound.wav"]] * 200
    for folder in folders:
        assert np.array_equal(studio.by_wave(folder / "inbound.wav")[:, 0], said)


@pytest.mark.parametrize("layout", ["separate", "stereo", "both"])
def test_a_call_over_a_socket_comes_out_as_it_was_spoken(
    studio: Any, run_receiver: RunReceiver, layout: Layout
) -> None:
    said, answered = studio.noise(4000), studio.noise(2500)
    with run_receiver(sinks={"wav": {"use": "wav", "options": {"layout": layout}}}) as server:
        recorded = server.play((said, 8000), outbound=(answered, 8000), codec="L16", rate=8000)
    (inbound, _), (outbound, _) = recorded.audio("inbound"), recorded.audio("outbound")
    assert np.array_equal(inbound, said) and np.array_equal(outbound[:2500], answered) and not outbound[2500:].any()
    monos = [] if layout == "stereo" else ["inbound.wav", "outbound.wav"]
    both = [] if layout == "separate" else ["stereo.wav"]
    assert studio.names(recorded.folder) == sorted([*monos, *both, "stream.json"])
