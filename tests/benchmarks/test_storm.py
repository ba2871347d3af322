"""A small reconnect storm against the real server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from storm import SHORT, blow


def test_a_storm_harms_no_running_stream_and_leaves_nothing_behind(programs: Mapping[str, Path]) -> None:
    (report,), (before, after), problems = blow(programs["load"], SHORT)
    assert problems == []
    assert report.storm_accepted > 0
    assert report.messages == SHORT.active * report.frames
    assert after.descriptors <= before.descriptors
    assert after.streams == 0
