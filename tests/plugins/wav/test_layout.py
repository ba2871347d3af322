"""Which WAV files there are of a stream that is over; the same from event to file is tested with the whole plugin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from receiver_plugins.wav.layout import Layout, lay_out, left_over


def parts(studio: Any, folder: Path, *names: str, rate: int = 8000) -> list[Path]:
    return [studio.wav(folder / f"{name}.wav.part", studio.noise(160), rate) for name in names]


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("separate", ["inbound.wav", "outbound.wav", "mixed.wav"]),
        ("both", ["inbound.wav", "outbound.wav", "mixed.wav", "stereo.wav"]),
        ("stereo", ["mixed.wav", "stereo.wav"]),
    ],
)
def test_the_files_that_were_made_are_answered(
    studio: Any, tmp_path: Path, layout: Layout, expected: list[str]
) -> None:
    stream, owner = studio.stream_in(tmp_path)
    made, problem = lay_out(stream, parts(studio, tmp_path, "inbound", "outbound", "mixed"), layout)
    assert ([path.name for path in made], problem) == (expected, None)
    assert studio.names(tmp_path) == sorted(expected)
    assert owner.files == []  # to say so is for whom it asked
    assert lay_out(stream, [], layout) == ([], None)  # again: nothing is made again


def test_sides_that_make_no_pair_are_answered_with_the_reason(studio: Any, tmp_path: Path) -> None:
    stream, _ = studio.stream_in(tmp_path)
    sides = [*parts(studio, tmp_path, "inbound"), *parts(studio, tmp_path, "outbound", rate=16000)]
    made, problem = lay_out(stream, sides, "both")
    assert [path.name for path in made] == ["inbound.wav", "outbound.wav"]
    assert isinstance(problem, ValueError) and "different rates" in str(problem)


def test_what_an_earlier_run_has_left_goes_by_the_streams_own_names(studio: Any, tmp_path: Path) -> None:
    stream, _ = studio.stream_in(tmp_path, tracks=("inbound", "mixed/../x"))
    for name in ("inbound", "outbound", "stereo", "mixed_.._x", "segment-1", "inbound-2"):
        studio.wav(tmp_path / f"{name}.wav", studio.noise(10))
    (tmp_path / "outbound.wav").write_bytes(b"")  # a name that was taken and not used
    left = left_over(stream, [tmp_path / "stereo.wav"])
    assert [path.name for path in left] == ["inbound.wav", "mixed_.._x.wav"]
