"""Two sides in one file: put together, read back, and trusted only then."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from receiver_plugins.wav import Layout, stereo
from receiver_plugins.wav.segment import Segment

from receiver.events import Samples


def test_inbound_is_left_and_outbound_right_and_the_shorter_one_padded(
    studio: Any, tmp_path: Path, reader: Any
) -> None:
    left, right = studio.noise(stereo.STEP * 2 + 5), studio.noise(stereo.STEP + 77)
    added = studio.record(
        tmp_path, [*studio.frames("outbound", right, size=5000), *studio.frames("inbound", left, size=5000)]
    )
    assert sorted(added) == studio.names(tmp_path) == ["inbound.wav", "outbound.wav", "stereo.wav"]
    both = reader(tmp_path / "stereo.wav", 2)
    assert both.shape == (len(left), 2)
    assert np.array_equal(both[:, 0], left)
    assert np.array_equal(both[: len(right), 1], right)
    assert not both[len(right) :, 1].any()


def test_sides_of_different_rates_stay_apart_and_that_is_said(studio: Any, tmp_path: Path) -> None:
    events = [*studio.frames("inbound", studio.noise(160)), *studio.frames("outbound", studio.noise(160), rate=16000)]
    with pytest.raises(ValueError, match=r"different rates.*'inbound.wav': 8000.*'outbound.wav': 16000"):
        studio.record(tmp_path, events)
    assert studio.names(tmp_path) == ["inbound.wav", "outbound.wav"]


def test_mono_files_go_once_the_stereo_file_is_known_to_hold_them(studio: Any, tmp_path: Path) -> None:
    events = [event for track in ("inbound", "outbound") for event in studio.frames(track, studio.noise(800))]
    studio.record(tmp_path, events, "both")
    assert studio.recover(tmp_path, "stereo") == ["stereo.wav"]
    assert studio.names(tmp_path) == ["stereo.wav"]


def test_a_stereo_file_that_does_not_read_back_is_not_used(
    studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.record(
        tmp_path,
        [event for track in ("inbound", "outbound") for event in studio.frames(track, studio.noise(800))],
        "separate",
    )
    monkeypatch.setattr(os, "fsync", lambda descriptor: os.ftruncate(descriptor, 100))  # a disk that lies
    with pytest.raises(ValueError, match="does not read back"):
        stereo.assemble(side(tmp_path / "inbound.wav"), side(tmp_path / "outbound.wav"), tmp_path / "stereo.wav")
    assert studio.names(tmp_path) == ["inbound.wav", "outbound.wav", "stereo.wav.assembling"]


def test_a_stereo_file_that_was_cut_does_not_hold_its_sides(studio: Any, tmp_path: Path) -> None:
    studio.record(
        tmp_path, [event for track in ("inbound", "outbound") for event in studio.frames(track, studio.noise(800))]
    )
    left, right = side(tmp_path / "inbound.wav"), side(tmp_path / "outbound.wav")
    both = tmp_path / "stereo.wav"
    assert stereo.holds(both, left, right) and stereo.length(both) == 800
    assert not stereo.holds(both, right, left)
    for size in (both.stat().st_size - 1, both.stat().st_size - 4):
        os.truncate(both, size)
        assert not stereo.holds(both, left, right)


@pytest.mark.parametrize("layout", ["both", "stereo"])
def test_a_crash_between_two_steps_of_the_end_is_finished(studio: Any, tmp_path: Path, layout: Layout) -> None:
    left, right = studio.noise(800), studio.noise(640)
    studio.record(tmp_path, [*studio.frames("inbound", left), *studio.frames("outbound", right)], "separate")
    (tmp_path / "stereo.wav.assembling").write_bytes(b"half of it")  # died while it was written
    (tmp_path / "stereo.wav").touch()  # or between taking the name and using it
    studio.recover(tmp_path, layout)
    monos = [] if layout == "stereo" else ["inbound.wav", "outbound.wav"]
    assert studio.names(tmp_path) == [*monos, "stereo.wav"]
    both = studio.by_soundfile(tmp_path / "stereo.wav")
    assert np.array_equal(both[:, 0], left)
    assert np.array_equal(both[:640, 1], right)


def side(path: Path, start: int = 0) -> list[Segment]:
    return [Segment(path, path.stem, start)]


def mono(path: Path, samples: Samples, rate: int = 8000) -> Path:
    soundfile.write(path, samples, rate, "PCM_16", format="WAV")
    return path


@pytest.mark.parametrize("silent", ["left", "right"])
def test_a_missing_side_is_silent(studio: Any, tmp_path: Path, silent: str) -> None:
    said = studio.noise(stereo.STEP + 3)
    one = side(mono(tmp_path / "one.wav", said, 16000))
    sides: Any = ([], one) if silent == "left" else (one, [])
    made = stereo.assemble(*sides, tmp_path / "stereo.wav")
    both = studio.by_soundfile(made)
    heard, quiet = (1, 0) if silent == "left" else (0, 1)
    assert np.array_equal(both[:, heard], said)
    assert not both[:, quiet].any()
    assert soundfile.info(made).samplerate == 16000
    assert stereo.holds(made, *sides)


def test_no_side_at_all_has_no_rate(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="different rates"):
        stereo.assemble([], [], tmp_path / "stereo.wav")
    assert os.listdir(tmp_path) == []


def test_a_name_that_is_taken_is_left_alone(studio: Any, tmp_path: Path) -> None:
    left, right = (side(mono(tmp_path / f"{name}.wav", studio.noise(100))) for name in ("left", "right"))
    (tmp_path / "stereo.wav").write_bytes(b"precious")
    assert stereo.assemble(left, right, tmp_path / "stereo.wav").name == "stereo-2.wav"
    assert (tmp_path / "stereo.wav").read_bytes() == b"precious"


def test_what_is_no_stereo_file_holds_nothing(studio: Any, tmp_path: Path) -> None:
    left, right = (side(mono(tmp_path / f"{name}.wav", studio.noise(100))) for name in ("left", "right"))
    assert not stereo.holds(tmp_path / "left.wav", left, right)
    (tmp_path / "torn.wav").write_bytes(b"RIFF")
    assert not stereo.holds(tmp_path / "torn.wav", left, right)


def test_an_unfinished_file_that_is_a_link_is_not_followed(studio: Any, tmp_path: Path) -> None:
    one = side(mono(tmp_path / "one.wav", studio.noise(100)))
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "stereo.wav.assembling").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"):
        stereo.assemble(one, [], tmp_path / "stereo.wav")
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_segments_lie_in_their_places_and_what_is_between_them_is_silent(studio: Any, tmp_path: Path) -> None:
    first, second, other = (studio.noise(length) for length in (stereo.STEP + 5, 700, 90))
    start = 1000 + len(first) + 33
    left = [*side(mono(tmp_path / "b.wav", second), start), *side(mono(tmp_path / "a.wav", first), 1000)]
    right = side(mono(tmp_path / "c.wav", other), 1010)
    made = stereo.assemble(left, right, tmp_path / "stereo@1000.wav")
    both = studio.by_soundfile(made)
    assert np.array_equal(both[:, 0], np.concatenate([first, np.zeros(33, np.int16), second]))
    assert np.array_equal(both[:, 1], np.pad(other, (10, len(both) - 100)))
    assert stereo.holds(made, left, right, start=1000) and stereo.holds(made, left[1:], [], start=1000)
    assert not stereo.holds(made, left, right)  # that would reach beyond its end
    assert not stereo.holds(made, left, right, start=1001)  # and that begin before it


def test_files_of_a_side_that_overlap_are_no_pair(studio: Any, tmp_path: Path) -> None:
    left = [*side(mono(tmp_path / "a.wav", studio.noise(100))), *side(mono(tmp_path / "b.wav", studio.noise(100)), 50)]
    with pytest.raises(ValueError, match="overlap"):
        stereo.assemble(left, [], tmp_path / "stereo.wav")


def test_a_side_that_becomes_shorter_while_it_is_read_makes_no_pair(
    studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = side(mono(tmp_path / "a.wav", studio.noise(100)))
    stated = os.fstat

    def longer(descriptor: int) -> Any:
        found = list(stated(descriptor))
        return os.stat_result([*found[:6], found[6] + 20, *found[7:10]])

    monkeypatch.setattr(os, "fstat", longer)
    with pytest.raises(ValueError, match="became shorter"):
        stereo.assemble(left, [], tmp_path / "stereo.wav")
