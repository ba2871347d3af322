"""One track: which files it writes. What its audio becomes on a disk that fails is tested with the whole plugin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from receiver_plugins.wav.figures import Figures
from receiver_plugins.wav.format import HEADER_BYTES
from receiver_plugins.wav.losses import Losses
from receiver_plugins.wav.segment import Written
from receiver_plugins.wav.track import Track


class Told:
    """What a track says while it goes on."""

    def __init__(self, studio: Any, folder: Path, length: int = 100, floor: int = 0) -> None:
        stream, self.owner = studio.stream_in(folder)
        self.figures = Figures()
        self.losses = Losses(stream, self.figures)
        self.closed: list[Written | None] = []
        self.track = Track("a b", "a_b", 8000, length, folder, self.losses, self, floor)

    def passed(self, closed: Written | None) -> None:
        self.closed.append(closed)

    def broken(self, failed: Written) -> None:
        raise AssertionError(failed)

    def samples(self, written: Written) -> Any:
        written.file.close().result(20)
        content = written.file.path.read_bytes()[HEADER_BYTES:]
        return np.frombuffer(content, "<i2")


def closed(written: Written | None) -> Written:
    assert written is not None
    return written


def test_audio_that_crosses_cuts_is_split_there(studio: Any, tmp_path: Path) -> None:
    told, said = Told(studio, tmp_path), studio.noise(350)
    for at in (0, 30):  # whole frames, and one that ends beyond two cuts
        told.track.frame(said[at : 30 if at == 0 else 270])
    told.track.frame(said[270:300])  # up to a cut
    told.track.frame(said[300:])
    last = closed(told.track.end())
    written = [*map(closed, told.closed), last]
    assert [(one.name, one.track, one.start, one.end) for one in written] == [
        ("a b", "a_b", start, min(start + 100, 350)) for start in (0, 100, 200, 300)
    ]
    assert [one.file.path.name for one in written] == [
        "a_b.wav.part",
        *(f"a_b@{at}.wav.part" for at in (100, 200, 300)),
    ]
    assert np.array_equal(np.concatenate([told.samples(one) for one in written]), said)
    assert told.track.end() is None


def test_a_gap_is_a_hole_up_to_the_cut_and_makes_no_file(studio: Any, tmp_path: Path) -> None:
    told, said = Told(studio, tmp_path), studio.noise(20)
    told.track.gap(30)
    told.track.frame(said)
    told.track.gap(1000)
    told.track.gap(60)  # past another cut
    told.track.frame(said)
    told.track.gap(5)
    written = [*told.closed, told.track.end()]
    first, nothing, last = written
    assert nothing is None
    assert np.array_equal(told.samples(closed(first)), np.pad(said, (30, 50)))
    assert closed(last).file.path.name == "a_b@1100.wav.part"
    assert np.array_equal(told.samples(closed(last)), np.pad(said, (10, 5)))
    assert closed(last).holes == [(1100, 1110), (1130, 1135)]


@pytest.mark.parametrize(("gaps", "floor", "names"), [([99], 0, ["a_b.wav.part"]), ([100], 0, []), ([50], 20, [])])
def test_gaps_alone_make_a_file_of_a_track_only_before_its_first_cut(
    studio: Any, tmp_path: Path, gaps: list[int], floor: int, names: list[str]
) -> None:
    told = Told(studio, tmp_path, floor=floor)
    for gap in gaps:
        told.track.gap(gap)
    told.track.silence()
    last = told.track.end()
    if last is not None:
        assert not told.samples(last).any() and len(told.samples(last)) == sum(gaps)
    assert studio.names(tmp_path) == names


def test_an_earlier_calls_audio_is_not_in_the_file(studio: Any, tmp_path: Path) -> None:
    told, said = Told(studio, tmp_path, floor=40), studio.noise(100)
    told.track.gap(40)
    told.track.frame(said)
    (first,) = told.closed
    last = closed(told.track.end())
    assert [one.file.path.name for one in (closed(first), last)] == ["a_b@40.wav.part", "a_b@100.wav.part"]
    assert np.array_equal(np.concatenate([told.samples(closed(first)), told.samples(last)]), said)


def test_holes_are_forgotten_when_what_is_behind_them_is_written(studio: Any, tmp_path: Path) -> None:
    told, said = Told(studio, tmp_path, length=10**6), studio.noise(10)
    told.track.frame(said)
    for _ in range(3):
        studio.grown(tmp_path / "a_b.wav.part", HEADER_BYTES + 2 * told.track.position)
        told.track.gap(10)
        told.track.frame(said)
    last = closed(told.track.end())
    assert len(last.holes) <= 2
    assert np.array_equal(told.samples(last), np.tile(np.pad(said, (0, 10)), 4)[:-10])
