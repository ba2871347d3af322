"""Where tracks are cut."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from receiver_plugins.wav.rotation import LEAST_BYTES, NEVER, Rotation

from receiver.errors import ConfigError
from receiver.sinks.loading import load


@pytest.mark.parametrize(
    ("segment_s", "segment_bytes", "channels", "rate", "length"),
    [
        (3600, 2**30, 2, 8000, 28_800_000),
        (3600, 2**30, 2, 48_000, 172_800_000),
        (0.5, 0, 1, 8000, 4000),
        (0, 2**30, 2, 8000, 268_435_445),  # both channels of a frame, and the header, fit into it
        (0, 2**30, 1, 8000, 536_870_890),
        (3600, 2**20, 1, 8000, 524_266),
        (0, 0, 2, 8000, NEVER),
        (1, 0, 1, 0.1, 1),
    ],
)
def test_whichever_comes_first_cuts(
    segment_s: float, segment_bytes: int, channels: int, rate: int, length: int
) -> None:
    assert Rotation(segment_s, segment_bytes, channels).length(rate) == length


def test_a_period_begins_with_the_sample_at_the_cut() -> None:
    cuts = Rotation(1, 0, 1)
    assert [cuts.period(position, 8000) for position in (0, 7999, 8000, 15999, 80_000)] == [0, 0, 1, 1, 10]
    assert Rotation(0, 0).period(2**61, 8000) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"segment_s": -1}, "sinks.wav.options.segment_s: must be at least 1, or 0 for never"),
        ({"segment_s": 0.5}, "sinks.wav.options.segment_s: must be at least 1, or 0 for never"),
        ({"segment_s": float("inf")}, "sinks.wav.options.segment_s: must be at least 1, or 0 for never"),
        ({"segment_s": float("nan")}, "sinks.wav.options.segment_s: must be at least 1, or 0 for never"),
        ({"segment_bytes": 1}, f"sinks.wav.options.segment_bytes: must be at least {LEAST_BYTES}, or 0 for never"),
        ({"segment_bytes": -1}, f"sinks.wav.options.segment_bytes: must be at least {LEAST_BYTES}, or 0 for never"),
    ],
)
def test_a_length_that_cannot_be_meant_stops_the_start_and_the_check(options: dict[str, Any], said: str) -> None:
    loaded = load("wav", "wav", options, Path())
    (line,) = asyncio.run(loaded.check())
    assert f"sinks.wav.{line}" == said
    with pytest.raises(ConfigError) as raised:
        asyncio.run(loaded.open().__aenter__())
    assert f"sinks.wav.{raised.value}" == said


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"segment_s": "an hour"}, "sinks.wav.options.segment_s: input should be a valid number"),
        ({"segment_bytes": 1.5}, "sinks.wav.options.segment_bytes: input should be a valid integer"),
    ],
)
def test_what_is_no_number_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load("wav", "wav", options, Path())
    assert str(raised.value).startswith(named)
