"""Which files a stream is left with; the same from event to file is tested with the whole plugin."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from receiver_plugins.wav.layout import Layout, left_over, pair
from receiver_plugins.wav.segment import Segment


def side(studio: Any, folder: Path, track: str, start: int = 0, length: int = 160, rate: int = 8000) -> Segment:
    name = f"{track}@{start}.wav" if start else f"{track}.wav"
    return Segment(studio.wav(folder / name, studio.noise(length), rate), track, start)


@pytest.mark.parametrize(
    ("layout", "sides", "both", "expected"),
    [
        ("both", ("inbound", "outbound"), True, ["inbound@80.wav", "outbound@80.wav", "stereo@80.wav"]),
        ("both", ("inbound",), False, ["inbound@80.wav"]),
        ("both", ("outbound",), True, ["outbound@80.wav", "stereo@80.wav"]),  # the other one has nothing in this period
        ("stereo", ("inbound", "outbound"), True, ["stereo@80.wav"]),
        ("stereo", ("inbound",), False, ["stereo@80.wav"]),
    ],
)
def test_the_layout_says_what_becomes_of_a_period(
    studio: Any, tmp_path: Path, layout: Layout, sides: tuple[str, ...], both: bool, expected: list[str]
) -> None:
    group = [side(studio, tmp_path, track, 80) for track in sides]
    made = pair(tmp_path, group, layout, both=both)
    assert studio.names(tmp_path) == expected
    assert made == (tmp_path / "stereo@80.wav" if "stereo@80.wav" in expected else None)
    if layout == "both":
        assert pair(tmp_path, group, layout, both=both) is None  # again: nothing is made again
        assert studio.names(tmp_path) == expected


def test_sides_that_make_no_pair_stay(studio: Any, tmp_path: Path) -> None:
    group = [side(studio, tmp_path, "inbound"), side(studio, tmp_path, "outbound", rate=16000)]
    with pytest.raises(ValueError, match="different rates"):
        pair(tmp_path, group, "stereo", both=True)
    assert studio.names(tmp_path) == ["inbound.wav", "outbound.wav"]


def test_a_stereo_file_that_lacks_a_later_segment_of_its_period_is_not_believed(studio: Any, tmp_path: Path) -> None:
    group = [side(studio, tmp_path, "inbound", length=300), side(studio, tmp_path, "outbound", length=100)]
    made = pair(tmp_path, group, "both", both=True)
    assert made is not None
    late = side(studio, tmp_path, "outbound", 100, 100)
    os.utime(late.path, ns=(made.stat().st_mtime_ns + 10**9,) * 2)
    again = pair(tmp_path, [*group, late], "both", both=True)
    assert again == tmp_path / "stereo-2.wav"
    assert pair(tmp_path, [*group, late], "both", both=True) is None  # one of them holds it all


def test_mono_files_that_a_crash_left_of_a_pair_go_when_the_stereo_file_holds_them(studio: Any, tmp_path: Path) -> None:
    group = [
        side(studio, tmp_path, "inbound", length=300),
        side(studio, tmp_path, "outbound", length=100),
        side(studio, tmp_path, "outbound", 120, 100),
    ]
    content = [segment.path.read_bytes() for segment in group]
    pair(tmp_path, group, "stereo", both=True)
    assert studio.names(tmp_path) == ["stereo.wav"]
    group[2].path.write_bytes(content[2])  # it was not removed yet
    assert pair(tmp_path, group[2:], "stereo", both=True) is None
    assert studio.names(tmp_path) == ["stereo.wav"]


def test_a_side_that_has_been_encoded_is_not_taken_for_a_silent_one(studio: Any, tmp_path: Path) -> None:
    (tmp_path / "inbound@80.flac").write_bytes(b"fLaC")
    assert pair(tmp_path, [side(studio, tmp_path, "outbound", 80)], "both", both=True) is None
    (tmp_path / "outbound@160.opus").write_bytes(b"OggS")
    assert pair(tmp_path, [side(studio, tmp_path, "inbound", 160)], "both", both=True) is None
    assert not list(tmp_path.glob("stereo*"))


def test_a_track_called_stereo_is_no_stereo_file(studio: Any, tmp_path: Path) -> None:
    group = [side(studio, tmp_path, "inbound"), side(studio, tmp_path, "outbound")]
    for name in ("stereo.wav", "stereophonic.wav", "stereo@1.wav"):
        studio.wav(tmp_path / name, studio.noise(160))
    assert pair(tmp_path, group, "both", both=True) == tmp_path / "stereo-2.wav"


def test_what_an_earlier_run_has_left_goes_by_the_streams_own_names(studio: Any, tmp_path: Path) -> None:
    stream, _ = studio.stream_in(tmp_path, tracks=("inbound", "mixed/../x"))
    ours = ["inbound", "inbound@80", "mixed_.._x", "mixed_.._x@160", "stereo", "stereo@80"]
    for name in (*ours, "outbound", "segment-1", "segment@80", "inbound-2", "inbound@x"):
        studio.wav(tmp_path / f"{name}.wav", studio.noise(10))
    (tmp_path / "outbound.wav").write_bytes(b"")  # a name that was taken and not used
    (tmp_path / "inbound@240.wav").write_bytes(b"x" * 100)  # somebody's, and no WAV file
    assert [path.stem for path in left_over(stream)] == sorted(ours, key=lambda name: f"{name}.wav")
