"""Finishing: in order, off the loop, also where something fails; the rest is tested with the whole plugin."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from receiver_plugins.wav.codec import CODECS
from receiver_plugins.wav.encoder import Encoder
from receiver_plugins.wav.finishing import MAX_PROBLEMS, Finishing, Workshop
from receiver_plugins.wav.format import header
from receiver_plugins.wav.layout import Layout
from receiver_plugins.wav.losses import Losses
from receiver_plugins.wav.rotation import Rotation
from receiver_plugins.wav.segment import Written, file_name
from receiver_plugins.wav.tracks import Behind

from receiver import files

NOTHING: tuple[Written, ...] = ()


class Stream:
    """A stream's folder, and who finishes what is written there."""

    def __init__(self, studio: Any, folder: Path, layout: Layout = "both", encoder: Encoder | None = None) -> None:
        self.studio, self.folder = studio, folder
        self.stream, self.owner = studio.stream_in(folder, tracks=("inbound", "outbound"))
        self.shop = Workshop(layout, Rotation(1, 0), encoder, ThreadPoolExecutor(1, "wav encoder"))
        self.losses = Losses(self.stream, self.shop.figures)
        self.finishing = Finishing(self.stream, self.shop, self.losses)

    def written(self, track: str, start: int = 0, length: int = 8000) -> Written:
        file = files.create(self.folder / f"{file_name(track, start)}.wav.part")
        file.append(header(8000))
        file.append(self.studio.noise(length))
        file.close()
        return Written(file, track, track, start, start + length, 8000)


def test_a_pair_is_made_when_its_period_is_settled_and_its_sides_are_declared_before(
    studio: Any, tmp_path: Path
) -> None:
    call = Stream(studio, tmp_path)
    final = call.finishing.finish(Behind((call.written("inbound"),), 0, False))
    assert [path.name for path in final] == ["inbound.wav"]
    sides = (call.written("inbound", 8000), call.written("outbound"))
    final = call.finishing.finish(Behind(sides, 1, True))
    assert [path.name for path in final] == ["inbound@8000.wav", "outbound.wav", "stereo.wav"]
    assert [path.name for path in call.finishing.finish(Behind(NOTHING, None, True))] == ["stereo@8000.wav"]


@pytest.mark.parametrize(("layout", "encoder"), [("stereo", None), ("both", Encoder(CODECS["flac"]))])
def test_what_may_not_stay_is_not_for_good_before_it_is_paired(
    studio: Any, tmp_path: Path, layout: Layout, encoder: Encoder | None
) -> None:
    call = Stream(studio, tmp_path, layout, encoder)
    both = Behind((call.written("inbound"), call.written("outbound"), call.written("mixed")), 0, True)
    assert [path.name for path in call.finishing.finish(both)] == ["mixed.wav"]
    final = [path.name for path in call.finishing.finish(Behind(NOTHING, 1, True))]
    assert final == (["stereo.wav"] if layout == "stereo" else ["inbound.wav", "outbound.wav", "stereo.wav"])


def test_a_file_that_cannot_be_completed_now_is_completed_later_and_nothing_is_paired_without_it(
    studio: Any, tmp_path: Path
) -> None:
    call = Stream(studio, tmp_path)
    inbound, outbound = call.written("inbound"), call.written("outbound")
    outbound.file.close().result(20)
    outbound.file.path.rename(tmp_path / "away")
    assert [path.name for path in call.finishing.finish(Behind((inbound, outbound), 1, True))] == ["inbound.wav"]
    (tmp_path / "away").rename(outbound.file.path)
    assert [path.name for path in call.finishing.finish(Behind(NOTHING, 1, True))] == ["outbound.wav", "stereo.wav"]
    assert not call.finishing.problems


def test_what_cannot_be_completed_in_the_end_is_said(studio: Any, tmp_path: Path) -> None:
    call = Stream(studio, tmp_path)
    lost = [call.written("mixed", 8000 * number) for number in range(MAX_PROBLEMS + 5)]
    for written in lost:
        written.file.close().result(20)
        written.file.path.unlink()

    async def run() -> None:
        call.finishing.add(Behind((call.written("inbound"),), 0, False))
        await call.finishing.end(Behind(tuple(lost), None, False))

    asyncio.run(run())
    assert call.owner.files == ["inbound.wav"]
    assert len(call.finishing.problems) == MAX_PROBLEMS
    assert isinstance(call.finishing.problems[0], FileNotFoundError)


def test_a_stream_that_ends_does_not_wait_for_others(studio: Any, tmp_path: Path) -> None:
    call = Stream(studio, tmp_path)

    async def run() -> None:
        never = asyncio.Event()
        loop = asyncio.get_running_loop()
        stuck = [call.shop.finishers.submit(asyncio.run_coroutine_threadsafe(never.wait(), loop).result) for _ in "12"]
        for start in (0, 8000):
            call.finishing.add(Behind((call.written("inbound", start),), 0, False))
        await asyncio.wait_for(call.finishing.end(Behind((call.written("outbound"),), None, True)), 20)
        never.set()
        await asyncio.gather(*map(asyncio.wrap_future, stuck))

    asyncio.run(run())
    expected = ["inbound.wav", "inbound@8000.wav", "outbound.wav", "stereo.wav", "stereo@8000.wav"]
    assert sorted(call.owner.files) == studio.names(tmp_path) == expected


def test_what_is_abandoned_stays_for_the_next_call_which_finishes_it(studio: Any, tmp_path: Path) -> None:
    call = Stream(studio, tmp_path, "stereo")

    async def run() -> None:
        await call.finishing.abandon(Behind((call.written("inbound", 0, 100), call.written("outbound")), None, True))
        assert studio.names(tmp_path) == ["inbound.wav.part", "outbound.wav.part"]
        again = Finishing(call.stream, call.shop, call.losses)
        await again.resume()
        assert studio.names(tmp_path) == ["inbound.wav", "outbound.wav"]
        await again.end(Behind((call.written("inbound", 100, 7900),), None, False))

    asyncio.run(run())
    assert call.owner.files == studio.names(tmp_path) == ["stereo.wav"]
    assert studio.by_soundfile(tmp_path / "stereo.wav").shape == (8000, 2)


def test_an_encoding_that_is_abandoned_before_it_began_leaves_the_wav_files_declared(
    studio: Any, tmp_path: Path
) -> None:
    call = Stream(studio, tmp_path, "separate", Encoder(CODECS["flac"]))

    async def run() -> None:
        never = asyncio.Event()
        loop = asyncio.get_running_loop()
        stuck = call.shop.encoders.submit(asyncio.run_coroutine_threadsafe(never.wait(), loop).result)
        call.finishing.add(Behind((call.written("inbound"),), 1, False))
        await asyncio.to_thread(studio.grown, tmp_path / "inbound.wav", 44 + 16_000)
        await call.finishing.abandon(Behind(NOTHING, None, False))
        never.set()
        await asyncio.wrap_future(stuck)

    asyncio.run(run())
    assert studio.names(tmp_path) == ["inbound.wav"]


def test_what_went_wrong_with_an_earlier_segments_encoding_is_said_in_the_end(studio: Any, tmp_path: Path) -> None:
    call = Stream(studio, tmp_path, "separate", Encoder(CODECS["flac"]))
    (tmp_path / "inbound.flac.part").symlink_to(tmp_path / "nowhere")

    async def run() -> None:
        for start in (0, 8000, 16_000):
            call.finishing.add(Behind((call.written("inbound", start),), 0, False))
            await asyncio.to_thread(encoded, start)
        await call.finishing.end(Behind(NOTHING, None, False))

    def encoded(start: int) -> None:
        studio.grown(tmp_path / "inbound.wav", 44 + 16_000)
        while start and not list(tmp_path.glob(f"inbound@{start}.flac")):
            pass

    asyncio.run(run())
    assert sorted(call.owner.files) == ["inbound.wav", "inbound@16000.flac", "inbound@8000.flac"]
    (problem,) = call.finishing.problems
    assert str(problem).startswith("inbound.wav stays as it is: ")


def test_what_a_disk_did_not_take_of_a_closed_file_is_lost(studio: Any, tmp_path: Path) -> None:
    call = Stream(studio, tmp_path, "separate")
    written = call.written("inbound", 0, 100)
    written.file.close().result(20)
    written.file.landed = 44 + 2 * 60
    failed = files.File(written.file.path)
    failed.landed, failed.error = written.file.landed, files.FileError(28, "full", "a")
    failed.done = asyncio.run(done_with(failed.error))
    final = call.finishing.finish(Behind((Written(failed, "inbound", "inbound", 0, 100, 8000),), None, False))
    assert len(studio.by_soundfile(final[0])) == 60  # and what may be there beyond that is not believed
    (said,) = call.owner.annotations
    assert (said.start, said.end, said.data) == (60, 100, {"cause": "No space left on device"})


async def done_with(problem: Exception) -> Any:
    from concurrent.futures import Future

    future: Future[int] = Future()
    future.set_exception(problem)
    return future


def test_a_problem_that_nobody_thought_of_costs_one_file(studio: Any, tmp_path: Path) -> None:
    call = Stream(studio, tmp_path, "separate")
    (tmp_path / "stereo@999.wav").touch()
    strange = Written(None, "inbound", "inbound", 0, 100, 8000)  # type: ignore[arg-type]

    async def run() -> None:
        call.finishing.add(Behind((strange,), 0, False))
        call.finishing.add(Behind((call.written("inbound"),), 0, False))
        await asyncio.to_thread(studio.grown, tmp_path / "inbound.wav", 44 + 16_000)
        await call.finishing.end(Behind(NOTHING, None, False))

    asyncio.run(run())
    assert call.owner.files == ["inbound.wav"]
    assert [type(problem) for problem in call.finishing.problems] == [AttributeError]
    assert np.array_equal(studio.names(tmp_path), ["inbound.wav", "stereo@999.wav"])


def test_where_a_part_is_missing_in_the_end_the_sides_stay_for_the_next_start(studio: Any, tmp_path: Path) -> None:
    call = Stream(studio, tmp_path, "stereo")
    inbound, outbound = call.written("inbound"), call.written("outbound")
    outbound.file.close().result(20)
    outbound.file.path.rename(tmp_path / "away")
    final = call.finishing.finish(Behind((inbound, outbound), None, True))
    assert [path.name for path in final] == ["inbound.wav"]
    (tmp_path / "away").rename(outbound.file.path)
    assert studio.recover(tmp_path, "stereo", segment_s=1) == ["stereo.wav"]


@pytest.mark.parametrize("precious", [b"x" * 100, header(8000, data_bytes=2) + b"\1\0"])
def test_a_file_that_has_the_name_already_is_neither_overwritten_nor_paired(
    studio: Any, tmp_path: Path, precious: bytes
) -> None:
    (tmp_path / "inbound.wav").write_bytes(precious)
    said = {name: studio.noise(160) for name in ("inbound", "outbound")}
    for name, samples in said.items():
        studio.wav(tmp_path / f"{name}.wav.part", samples)
    studio.recover(tmp_path)
    assert studio.names(tmp_path) == ["inbound-2.wav", "inbound.wav", "outbound.wav", "stereo.wav"]
    assert (tmp_path / "inbound.wav").read_bytes() == precious
    both = studio.by_soundfile(tmp_path / "stereo.wav")
    for channel, samples in enumerate(said.values()):
        assert np.array_equal(both[:, channel], samples)
