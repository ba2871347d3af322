"""The wav plugin on a disk that fails: it goes on in a new segment; each sample is in a file or said to be missing."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from receiver_plugins.wav import plugin
from receiver_plugins.wav.losses import NotRecorded

from receiver import files
from receiver.events import Cause, Event, Frame, Gap, Samples
from receiver.testing import RunReceiver

BEGIN = """
import asyncio, importlib.util, resource, signal, sys
from pathlib import Path
import numpy as np
spec = importlib.util.spec_from_file_location("there", sys.argv[2])
there = importlib.util.module_from_spec(spec)
spec.loader.exec_module(there)
folder = Path(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
async def main(events, **options):
    stream, owner = there.stream_in(folder, tracks=("inbound", "outbound"))
    try:
        async with there.plugin(**options) as opened:
            await opened.sink(stream, events())
    finally:
        for said in owner.annotations:
            print(said.kind, said.track, said.start, said.end, said.data)
        print(*sorted(owner.files))
"""


def run(studio: Any, folder: Path, program: str, *around: str) -> list[str]:
    command = [*around, sys.executable, "-c", BEGIN + program, str(folder), studio.__file__]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def check(studio: Any, folder: Path, tracks: dict[str, Samples], declared: list[tuple[str, int, int]]) -> None:
    """What is in the files and what is said to be missing is all there was, and nothing is both."""
    for track, audio in tracks.items():
        whole = audio.copy()
        for name, start, end in declared:
            if name == track:
                assert start < end and whole[start:end].any()  # and said once
                whole[start:end] = 0
        assert np.array_equal(studio.joined(studio.pieces(folder, track), len(whole)), whole)


def test_a_file_that_can_grow_no_more_is_continued_where_it_is_let_again(studio: Any, tmp_path: Path) -> None:
    *lines, names, problem = run(
        studio,
        tmp_path,
        """
said = (np.arange(80_000) % 30_000 + 1).astype(np.int16)
async def events():
    for at in range(0, 80_000, 8000):
        if at == 56_000:
            await asyncio.sleep(1.05)  # within which nothing is tried
            limit(resource.RLIM_INFINITY)
        yield there.Frame("inbound", at, 8000, said[at:at + 8000])
        yield there.Frame("outbound", at, 8000, -said[at:at + 8000])
        await asyncio.sleep(0.1)
limit(44 + 2 * 24_007 + 1)
try:
    asyncio.run(main(events))
except Exception as problem:
    print(type(problem).__name__, problem)
""",
    )
    audio = (np.arange(80_000) % 30_000 + 1).astype(np.int16)
    tracks = {"inbound": audio, "outbound": -audio}
    spans = declared_in(lines, os.strerror(errno.EFBIG))
    check(studio, tmp_path, tracks, spans)
    both = studio.by_soundfile(tmp_path / "stereo.wav")
    for channel, (track, whole) in enumerate(tracks.items()):
        of_it = [(start, end) for name, start, end in spans if name == track]
        assert of_it[0][0] == 24_007  # to the sample, of a write that was cut within one
        assert len(studio.pieces(tmp_path, track)) >= 2
        for start, end in of_it:
            whole[start:end] = 0
        assert np.array_equal(both[:, channel], whole)
    assert set(names.split()) == set(studio.names(tmp_path))
    assert problem.startswith("NotRecorded not recorded: ") and "s of inbound" in problem


def declared_in(lines: list[str], cause: str) -> list[tuple[str, int, int]]:
    found = []
    for line in lines:
        kind, track, start, end, data = line.split(maxsplit=4)
        assert (kind, data) == ("not_recorded", str({"cause": cause}))
        found.append((track, int(start), int(end)))
    return found


def test_whatever_fails_when_every_sample_is_in_a_file_or_said_to_be_missing(studio: Any, tmp_path: Path) -> None:
    lines = run(
        studio,
        tmp_path,
        """
import json, random
from receiver_plugins.wav import track
from receiver.events import Cause, Gap
track.RETRY_S = 0.05
for number in range(7):
    chance = random.Random(number)
    folder = Path(sys.argv[1]) / str(number)
    folder.mkdir()
    said = {}
    async def events():
        at = dict.fromkeys(("inbound", "outbound"), 0)
        for step in range(40):
            if chance.random() < 0.3:
                limit(chance.choice([44, 45, 100, 2044, 9000, resource.RLIM_INFINITY, resource.RLIM_INFINITY]))
            for name in at:
                length = chance.randrange(1, 900)
                if chance.random() < 0.3:
                    yield Gap(name, at[name], at[name] + length, 1000, Cause.UNSENT)
                    samples = np.zeros(length, np.int16)
                else:
                    samples = np.full(length, step + 1, np.int16)
                    yield there.Frame(name, at[name], 1000, samples)
                at[name] += length
                said.setdefault(name, []).append(samples)
            if chance.random() < 0.5:
                await asyncio.sleep(0.03)
        limit(resource.RLIM_INFINITY)  # or not even a stereo file
        await asyncio.sleep(0.06)
    failed = False
    try:
        asyncio.run(main(events, segment_s=chance.choice([0, 2, 5])))
    except Exception as problem:
        failed = True
    np.savez(folder / "said.npz", **{name: np.concatenate(parts) for name, parts in said.items()})
    print("end", number, failed)
""",
    )
    spans: list[str] = []
    lost = 0
    for line in lines:
        if line.startswith("not_recorded"):
            spans.append(line)
        elif line.startswith("end"):
            _, number, failed = line.split()
            folder = tmp_path / number
            tracks: dict[str, Samples] = dict(np.load(folder / "said.npz").items())
            declared = declared_in(spans, os.strerror(errno.EFBIG))
            assert (failed == "True") == bool(declared)
            check(studio, folder, tracks, declared)
            assert not list(folder.glob("*.part"))
            for channel, (name, whole) in enumerate(tracks.items()):
                for track, start, end in declared:
                    if track == name:
                        whole[start:end] = 0
                found = studio.pieces(folder, "stereo", channel)
                length = max(max(map(len, tracks.values())), found[-1][0] + len(found[-1][1]))
                assert np.array_equal(studio.joined(found, length), np.pad(whole, (0, length - len(whole))))
            lost += len(declared)
            spans = []
    assert lost > 5


def test_a_disk_that_is_behind_leaves_holes_in_the_same_file(studio: Any, tmp_path: Path) -> None:
    said = np.arange(1, 1601).astype(np.int16)
    reading, writing = os.pipe()
    stuck = files.adopt(writing, Path("stuck"))
    seen: list[float] = []
    stream, owner = studio.stream_in(tmp_path)

    async def run() -> None:
        async with plugin() as opened:
            sink: Any = opened.sink

            async def events() -> AsyncIterator[Event]:
                yield Frame("inbound", 0, 8000, said[:160])
                await asyncio.to_thread(studio.grown, tmp_path / "inbound.wav.part", 44 + 2 * 160)
                files.configure(limit_bytes=200_000)
                stuck.append(bytes(199_700))
                yield Frame("inbound", 160, 8000, said[160:1000])
                yield Gap("inbound", 1000, 1100, 8000, Cause.LOST)
                yield Frame("outbound", 0, 8000, np.ones(20_000, np.int16))  # not even a header of it
                seen.extend(sample.value for family in opened.metrics.collect() for sample in family.samples)
                await asyncio.to_thread(drain)
                yield Frame("inbound", 1100, 8000, said[1100:1200])
                await asyncio.to_thread(studio.grown, tmp_path / "inbound.wav.part", 44 + 2 * 1200)
                yield Frame("inbound", 1200, 8000, said[1200:])
                assert [one.end for one in owner.annotations] == [1000]  # said as soon as it was over

            def drain() -> None:
                got = 0
                while got < 199_700:
                    got += len(os.read(reading, 65536))
                pause = threading.Event()
                while files.queued_bytes():
                    pause.wait(0.01)

            await sink(stream, events())

    with pytest.raises(NotRecorded, match=r"0.105 s of inbound, 2.500 s of outbound \(No buffer space available\)"):
        asyncio.run(run())
    os.close(reading)
    stuck.close()
    assert seen == [840 / 8000 + 2.5, 2]
    expected = said.copy()
    expected[160:1100] = 0
    assert np.array_equal(studio.by_soundfile(tmp_path / "inbound.wav")[:, 0], expected)
    assert studio.names(tmp_path) == owner.files == ["inbound.wav", "stereo.wav"]
    assert [(one.track, one.start, one.end, one.data) for one in owner.annotations] == [
        ("inbound", 160, 1000, {"cause": os.strerror(errno.ENOBUFS)}),
        ("outbound", 0, 20_000, {"cause": os.strerror(errno.ENOBUFS)}),
    ]


def test_a_name_that_is_taken_costs_a_second_and_nothing_else(studio: Any, tmp_path: Path) -> None:
    (tmp_path / "inbound.wav.part").write_bytes(b"precious")
    said = np.arange(1, 8001).astype(np.int16)
    stream, owner = studio.stream_in(tmp_path)

    async def events() -> AsyncIterator[Event]:
        for at in range(0, 8000, 160):
            yield Frame("inbound", at, 8000, said[at : at + 160])
            await asyncio.sleep(0.03)

    async def run() -> None:
        async with plugin(layout="separate") as opened:
            sink: Any = opened.sink
            await sink(stream, events())

    with pytest.raises(NotRecorded, match=os.strerror(errno.EEXIST)):
        asyncio.run(run())
    (name,) = owner.files
    (missing,) = owner.annotations
    assert name == f"inbound@{missing.end}.wav" and missing.start == 0
    assert np.array_equal(studio.by_soundfile(tmp_path / name)[:, 0], said[missing.end :])
    assert (tmp_path / "inbound.wav.part").read_bytes() == b"precious"


@pytest.mark.parametrize(("on_error", "status", "restarts"), [("stop", "failed", 0), ("restart", "ok", 1)])
def test_what_a_slow_disk_did_not_take_of_a_call_is_in_its_stream_json(
    studio: Any, run_receiver: RunReceiver, on_error: str, status: str, restarts: int
) -> None:
    said = np.arange(1, 8001).astype(np.int16)
    sinks = {"wav": {"use": "wav", "on_error": on_error}}
    with run_receiver(sinks=sinks, limits={"writer_bytes": 6000}) as server:
        recorded = server.play((said, 8000), codec="L16", rate=8000)
    sink = recorded.told["sinks"]["wav"]
    assert (sink["status"], sink["restarts"]) == (status, restarts)
    assert (sink["error"] or "NotRecorded: not recorded: ").startswith("NotRecorded: not recorded: ")
    missing = [one for one in recorded.annotations if one["kind"] == "not_recorded"]
    assert missing and {one["data"]["cause"] for one in missing} == {os.strerror(errno.ENOBUFS)}
    check(studio, recorded.folder, {"inbound": said}, [(one["track"], one["start"], one["end"]) for one in missing])


def test_all_that_went_wrong_is_said(studio: Any, tmp_path: Path) -> None:
    said = np.ones(8000, np.int16)
    (tmp_path / "inbound.wav.part").mkdir()

    async def events() -> AsyncIterator[Event]:
        yield Frame("inbound", 0, 8000, said)
        for track, rate in (("inbound", 8000), ("outbound", 16_000)):
            await asyncio.sleep(1.05)
            yield Frame(track, 8000 if track == "inbound" else 0, rate, said)

    stream, owner = studio.stream_in(tmp_path)

    async def run() -> None:
        async with plugin() as opened:
            sink: Any = opened.sink
            await sink(stream, events())

    with pytest.raises(RuntimeError, match=r"different rates.*; not recorded: 1.000 s of inbound \(File exists\)"):
        asyncio.run(run())
    assert owner.files == ["inbound@8000.wav", "outbound.wav"]


FULL = """
import asyncio, shutil, sys
from pathlib import Path
import numpy as np
from receiver.testing import running_receiver
disk, out = Path(sys.argv[1]), Path(sys.argv[2])
audio = np.load(out / "said.npy")
async def until(pattern, size):
    while not any(file.stat().st_size >= size for file in disk.glob(pattern)):
        await asyncio.sleep(0.02)
async def fill():
    await until("**/inbound.wav.part", 20_000)
    with open(disk / "filler", "wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError as problem:
            print(problem.strerror)
    await asyncio.sleep(1.5)
    (disk / "filler").unlink()
async def main():
    sinks = {"wav": {"use": "wav", "options": {"segment_s": 4}}}
    async with running_receiver(directory=disk, sinks=sinks) as server:
        filling = asyncio.create_task(fill())
        other = (audio[::-1].copy(), 8000)
        recorded = await server.play((audio, 8000), outbound=other, codec="L16", rate=8000, speed=1)
        await filling
        shutil.copytree(recorded.folder, out / "folder")
asyncio.run(main())
"""


@pytest.mark.system
def test_a_call_goes_on_while_the_disk_is_full_and_is_recorded_again_when_there_is_room(
    studio: Any, tmp_path: Path
) -> None:
    said = (np.arange(6 * 8000) % 30_000 + 1).astype(np.int16)
    np.save(tmp_path / "said.npy", said)
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = 'mount -t tmpfs -o size=2m tmpfs "$1" && exec "$2" -c "$3" "$1" "$4"'
    arguments = [disk, sys.executable, FULL, tmp_path]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mounted, "sh", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines()) == (0, [os.strerror(errno.ENOSPC)]), done.stderr
    folder = tmp_path / "folder"
    told = json.loads((folder / "stream.json").read_bytes())
    sink = told["sinks"]["wav"]
    assert sink["status"] == "failed" and sink["error"].startswith("NotRecorded: not recorded: ")
    assert told["end"]["stop_received"]
    missing = [one for one in told["annotations"] if one["kind"] == "not_recorded"]
    assert {one["data"]["cause"] for one in missing} == {os.strerror(errno.ENOSPC)}
    for channel, (track, audio) in enumerate({"inbound": said, "outbound": said[::-1].copy()}.items()):
        assert told["tracks"][track]["gaps"] == []
        of_it = [(one["start"], one["end"]) for one in missing if one["track"] == track]
        assert of_it and of_it == sorted(of_it)
        for start, end in of_it:
            assert audio[start:end].all()
            audio[start:end] = 0
        assert np.array_equal(studio.joined(studio.pieces(folder, track), len(audio)), audio)
        assert np.array_equal(studio.joined(studio.pieces(folder, "stereo", channel), len(audio)), audio)
    listed = {file["path"]: file["bytes"] for file in told["files"]}
    assert listed == {path.name: path.stat().st_size for path in folder.glob("*.wav")}
    assert not list(folder.glob("*.part"))
