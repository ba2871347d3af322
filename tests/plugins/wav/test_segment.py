"""The names of segments, and what is lost of a file that failed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from receiver_plugins.wav.format import HEADER_BYTES
from receiver_plugins.wav.segment import Written, file_name, place, stem, track_of

from receiver import files


@pytest.mark.parametrize("track", ["inbound", "../../x", "/etc/x", "a\0b", "x" * 500, "\U0001f389", "", "a@5"])
def test_a_name_is_safe_and_is_no_segments(track: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_.-]{0,64}", stem(track))
    assert place(stem(track)) == 0


@pytest.mark.parametrize("start", [0, 1, 28_800_000])
def test_a_name_says_which_track_it_is_of_and_where_it_begins(start: int) -> None:
    name = file_name("inbound", start)
    assert (track_of(name), place(name)) == ("inbound", start)
    assert place(f"{name}-2") == start  # the same where the name was taken


@pytest.mark.parametrize("name", ["inbound-2", "inbound@", "inbound@x", "inbound@5-2", "inbound@-5"])
def test_what_does_not_say_a_place_alone_is_a_track_of_its_own(name: str) -> None:
    assert track_of(name) == name


@pytest.mark.parametrize(
    ("landed", "holes", "lost"),
    [
        (HEADER_BYTES + 200, [], []),
        (HEADER_BYTES + 100, [], [(1050, 1100)]),
        (HEADER_BYTES + 101, [], [(1050, 1100)]),  # half a sample is none
        (10, [], [(1000, 1100)]),
        (HEADER_BYTES + 40, [(1000, 1010), (1030, 1040), (1090, 1100)], [(1020, 1030), (1040, 1090)]),
        (HEADER_BYTES + 40, [(1010, 1030)], [(1030, 1100)]),
        (HEADER_BYTES + 40, [(1020, 1100)], []),
    ],
)
def test_what_a_failed_file_does_not_hold_is_lost_but_for_its_holes(
    tmp_path: Path, landed: int, holes: list[tuple[int, int]], lost: list[tuple[int, int]]
) -> None:
    file = files.File(tmp_path / "a")
    file.landed = landed
    assert Written(file, "inbound", "inbound", 1000, 1100, 8000, holes).lost() == lost
