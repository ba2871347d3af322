"""The open files of a stream; what readers find in them is tested with the whole plugin."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from receiver_plugins.wav.format import HEADER_BYTES
from receiver_plugins.wav.tracks import Tracks, stem

from receiver.events import Cause, Digit, Gap


def test_a_track_has_a_file_from_its_first_audio_or_gap_on(studio: Any, tmp_path: Path) -> None:
    tracks = Tracks(tmp_path)
    for event in [*studio.frames("inbound", studio.noise(160)), Gap("outbound", 0, 80, 8000, Cause.LOST)]:
        tracks.take(event)
    tracks.take(Digit("5", 160, 8000))
    assert [path.name for path in tracks.paths()] == ["inbound.wav.part", "outbound.wav.part"]
    assert [done.result(20) for done in tracks.close()] == [HEADER_BYTES + 320, HEADER_BYTES + 160]
    assert [path.stat().st_size for path in tracks.paths()] == [HEADER_BYTES + 320, HEADER_BYTES + 160]


@pytest.mark.parametrize("track", ["inbound", "../../x", "/etc/x", "a\0b", "x" * 500, "\U0001f389", ""])
def test_a_name_is_safe(track: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_.-]{0,64}", stem(track))
