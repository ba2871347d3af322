"""The wav plugin with an encoding: its options, and what becomes of a stream whatever goes wrong at its end."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from receiver_plugins.wav import check, plugin
from receiver_plugins.wav import plugin as opening
from receiver_plugins.wav.codec import CODECS

from receiver.errors import ConfigError
from receiver.events import Cause, Event, Frame, Gap
from receiver.sinks.loading import load

HOUR = 3600 * 8000


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"encoding": "aac"}, "sinks.wav.options.encoding: input should be 'wav', 'flac', 'opus' or 'mp3'"),
        ({"bitrate_kbps": 31}, "sinks.wav.options.bitrate_kbps: input should be 32, 48, 64, 96 or 128"),
        ({"keep_wav": "perhaps"}, "sinks.wav.options.keep_wav: "),
        ({"encoders": "many"}, "sinks.wav.options.encoders: "),
        ({"bitrate": 32}, "sinks.wav.options.bitrate: there is no such option"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load("wav", "wav", options, Path())
    assert str(raised.value).startswith(named)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"encoding": "flac", "bitrate_kbps": 32}, "options.bitrate_kbps: is for opus and mp3; flac has no bitrate"),
        ({"bitrate_kbps": 32}, "options.bitrate_kbps: is for opus and mp3; wav has no bitrate to choose"),
        ({"encoders": 0}, "options.encoders: must be 1 to 64"),
        ({"encoders": 65}, "options.encoders: must be 1 to 64"),
    ],
)
def test_options_that_make_no_sense_stop_the_start_and_the_check(options: dict[str, Any], said: str) -> None:
    loaded = load("wav", "wav", options, Path())
    (line,) = asyncio.run(loaded.check())
    assert line.startswith(said)
    with pytest.raises(ConfigError) as raised:
        asyncio.run(loaded.open().__aenter__())
    assert str(raised.value) == line


@pytest.mark.parametrize("encoding", ["wav", *CODECS])
def test_every_encoding_is_there(encoding: Any) -> None:
    assert check(encoding=encoding) == []


def test_a_library_that_cannot_write_a_format_is_found_before_any_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soundfile, "check_format", lambda container, subtype: container == "FLAC")
    monkeypatch.setattr(soundfile, "__libsndfile_version__", "1.0.28")
    assert check(encoding="flac") == []
    assert check(encoding="mp3") == ["options.encoding: libsndfile 1.0.28 cannot write mp3; it can write: wav, flac"]


def test_wav_files_may_stay_beside_the_encoded_ones(studio: Any, tmp_path: Path) -> None:
    said = studio.noise(8000)
    added = studio.record(tmp_path, studio.frames("inbound", said), encoding="flac", keep_wav=True)
    assert sorted(added) == studio.names(tmp_path) == ["inbound.flac", "inbound.wav"]


def test_a_stream_without_audio_leaves_nothing(studio: Any, tmp_path: Path) -> None:
    assert studio.record(tmp_path, [], encoding="flac") == studio.names(tmp_path) == []


def test_a_disk_that_is_full_leaves_the_wav_file_and_the_sink_fails(studio: Any, tmp_path: Path) -> None:
    program = """
import importlib.util, resource, signal, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("there", sys.argv[2])
there = importlib.util.module_from_spec(spec)
spec.loader.exec_module(there)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (44 + 2 * 80_000, 44 + 2 * 80_000))  # noise as FLAC takes a little more
try:
    there.record(Path(sys.argv[1]), there.frames("inbound", there.noise(80_000)), encoding="flac")
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), studio.__file__],
        capture_output=True,
        text=True,
        timeout=40,
        check=True,
    )
    assert done.stdout.startswith("NotEncoded inbound.wav stays as it is: ")
    assert studio.names(tmp_path) == ["inbound.wav"]
    assert len(studio.by_soundfile(tmp_path / "inbound.wav")) == 80_000
    assert sorted(set(studio.recover(tmp_path, encoding="flac"))) == studio.names(tmp_path) == ["inbound.flac"]


def test_a_file_that_does_not_read_back_is_not_used(
    studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lie(descriptor: int) -> None:
        """A disk that lies: half of what was written is not there."""
        path = Path(f"/proc/self/fd/{descriptor}").resolve()
        if path.name.endswith(".opus.part"):
            os.ftruncate(descriptor, path.stat().st_size // 2)

    monkeypatch.setattr("os.fsync", lie)
    with pytest.raises(Exception, match=r"inbound\.wav stays as it is: as opus it is .* and should be"):
        studio.record(tmp_path, studio.frames("inbound", studio.noise(80_000)), encoding="opus")
    assert studio.names(tmp_path) == ["inbound.wav"]


def test_the_good_files_are_encoded_where_one_cannot_be(studio: Any, tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    (tmp_path / "inbound.flac.part").symlink_to(tmp_path / "precious")
    stream, owner = studio.stream_in(tmp_path)
    events = [event for track in ("inbound", "outbound") for event in studio.frames(track, studio.noise(800))]

    async def run() -> None:
        async with plugin(encoding="flac") as opened:
            sink: Any = opened.sink
            await sink(stream, studio.each(events))

    with pytest.raises(Exception, match=r"^inbound\.wav stays as it is: \[Errno"):
        asyncio.run(run())
    assert sorted(owner.files) == ["inbound.wav", "outbound.flac", "stereo.flac"]
    assert {"inbound.wav", "outbound.flac", "stereo.flac"} <= set(studio.names(tmp_path))


def test_sides_that_make_no_pair_are_encoded_all_the_same(studio: Any, tmp_path: Path) -> None:
    events = [*studio.frames("inbound", studio.noise(160)), *studio.frames("outbound", studio.noise(160), rate=16000)]
    with pytest.raises(ValueError, match="different rates"):
        studio.record(tmp_path, events, encoding="flac")
    assert studio.names(tmp_path) == ["inbound.flac", "outbound.flac"]


def test_sinks_that_are_cancelled_while_they_encode_or_wait_for_it_leave_their_wav_files(
    studio: Any, tmp_path: Path
) -> None:
    folders = [tmp_path / "0", tmp_path / "1"]
    streams = []
    for folder in folders:
        folder.mkdir()
        streams.append(studio.stream_in(folder))

    def encoding() -> list[Path]:
        return sorted(tmp_path.glob("*/inbound.opus.part"))

    async def run() -> None:
        async with plugin(encoding="opus", segment_s=0, segment_bytes=0) as opened:
            sink: Any = opened.sink
            long: list[Event] = [Gap("inbound", 0, 20 * HOUR, 8000, Cause.UNSENT)]
            tasks = [asyncio.create_task(sink(stream, studio.each(long))) for stream, _ in streams]
            while not await asyncio.to_thread(encoding):
                await asyncio.sleep(0.01)
            done, _ = await asyncio.wait(tasks, timeout=0.2)
            assert not done
            assert len(await asyncio.to_thread(encoding)) == 1  # one at a time
            for task in tasks:
                task.cancel()
            for task in tasks:
                with pytest.raises(asyncio.CancelledError):
                    await task

    asyncio.run(run())
    for folder, (_, owner) in zip(folders, streams, strict=True):
        assert owner.files == studio.names(folder) == ["inbound.wav"]
        assert (folder / "inbound.wav").stat().st_size == 44 + 2 * 20 * HOUR


def test_as_many_files_are_encoded_at_once_as_there_are_encoders(studio: Any, tmp_path: Path) -> None:
    said = studio.noise(8000)
    folders = [tmp_path / str(number) for number in range(20)]
    threads: set[str] = set()

    async def call(opened: Any, folder: Path) -> None:
        await asyncio.to_thread(folder.mkdir)
        await opened.sink(studio.stream_in(folder)[0], studio.each(studio.frames("inbound", said)))
        threads.update(thread.name for thread in threading.enumerate() if thread.name.startswith("wav encoder"))

    async def run() -> None:
        async with plugin(encoding="flac", encoders=3) as opened:
            await asyncio.gather(*(call(opened, folder) for folder in folders))

    asyncio.run(run())
    assert 1 <= len(threads) <= 3
    assert all(studio.names(folder) == ["inbound.flac"] for folder in folders)


def test_the_next_start_encodes_what_a_crash_has_left(studio: Any, tmp_path: Path) -> None:
    said = studio.noise(8000)
    studio.record(tmp_path, studio.frames("inbound", said))  # complete, and died before it was encoded
    studio.record(tmp_path, studio.frames("mixed", said))
    (tmp_path / "mixed.wav").rename(tmp_path / "mixed.wav.part")  # died before it was complete
    (tmp_path / "segment-1.wav").write_bytes((tmp_path / "inbound.wav").read_bytes())  # another sink's
    (tmp_path / "inbound-2.wav").write_bytes((tmp_path / "inbound.wav").read_bytes())
    (tmp_path / "inbound.flac").touch()  # died between taking the name and using it
    added = studio.recover(tmp_path, encoding="flac")
    expected = ["inbound-2.wav", "inbound.flac", "mixed.flac", "segment-1.wav"]
    assert sorted(set(added)) == studio.names(tmp_path) == expected
    assert studio.by_soundfile(tmp_path / "inbound.flac")[:, 0].tolist() == said.tolist()
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert sorted(set(studio.recover(tmp_path, encoding="flac"))) == expected  # said again, nothing made again
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_a_start_goes_on_where_the_disk_was_full_at_the_end_of_the_call(studio: Any, tmp_path: Path) -> None:
    studio.record(tmp_path, studio.frames("inbound", studio.noise(800)))
    (tmp_path / "inbound.flac.part").symlink_to(tmp_path / "nowhere")
    caught: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: caught.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("receiver.plugins.wav")
    logger.addHandler(handler)
    try:
        assert set(studio.recover(tmp_path, encoding="flac")) == {"inbound.wav"}
    finally:
        logger.removeHandler(handler)
    (line,) = caught
    assert line.startswith(f"{tmp_path}: inbound.wav stays as it is: ")


def test_a_start_does_not_encode_for_ever(studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["receiver_plugins.wav.plugin"]
    monkeypatch.setattr(module, "RECOVERY_S", -1.0)
    studio.record(tmp_path, studio.frames("inbound", studio.noise(800)))
    stream, owner = studio.stream_in(tmp_path)

    async def run() -> None:
        async with opening(encoding="flac") as opened:
            assert opened.recover is not None
            await asyncio.to_thread(opened.recover, stream)

    with pytest.raises(Exception, match="there was no time to encode it"):
        asyncio.run(run())
    assert set(owner.files) == {"inbound.wav"}
    assert studio.names(tmp_path) == ["inbound.wav"]


def test_a_sink_that_was_started_again_encodes_what_the_first_one_left(studio: Any, tmp_path: Path) -> None:
    said = {track: studio.noise(1600) for track in ("inbound", "outbound", "mixed")}

    async def first() -> AsyncIterator[Event]:
        for track in said:
            yield Frame(track, 0, 8000, said[track][:800])
        raise OSError("gone")

    async def second() -> AsyncIterator[Event]:
        for track in said:
            yield Gap(track, 0, 800, 8000, Cause.DROPPED)
        for track in said:
            yield Frame(track, 800, 8000, said[track][800:])

    stream, owner = studio.stream_in(tmp_path)

    async def run() -> None:
        async with plugin(encoding="flac") as opened:
            sink: Any = opened.sink
            with pytest.raises(OSError, match="gone"):
                await sink(stream, first())
            await sink(stream, second())

    asyncio.run(run())
    monos = [f"{track}{at}.flac" for track in said for at in ("", "@800")]
    assert sorted(owner.files) == studio.names(tmp_path) == sorted([*monos, "stereo.flac"])
    both = studio.by_soundfile(tmp_path / "stereo.flac")
    for channel, track in enumerate(("inbound", "outbound")):
        assert np.array_equal(both[:, channel], said[track])


def test_sides_that_make_no_pair_are_encoded_at_the_next_start_too(studio: Any, tmp_path: Path) -> None:
    studio.wav(tmp_path / "inbound.wav.part", studio.noise(160))
    studio.wav(tmp_path / "outbound.wav.part", studio.noise(160), 16000)
    with pytest.raises(ValueError, match="different rates"):  # and so the next start comes back to it
        studio.recover(tmp_path, encoding="flac")
    assert studio.names(tmp_path) == ["inbound.flac", "outbound.flac"]
