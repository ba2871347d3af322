"""Blocks: a sink's events as audio of one shape."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import numpy.typing as npt
import pytest

from receiver.events import Cause, Ended, EndReason, Event, Frame, Gap
from receiver.sinks.blocks import blocks
from receiver.sinks.cutter import Block

ENDED = Ended(EndReason.STOP, True, {})


def frame(start: int, samples: npt.ArrayLike, track: str = "inbound", rate: int = 8000) -> Frame:
    array = np.asarray(samples, np.int16)
    array.flags.writeable = False
    return Frame(track, start, rate, array)


def gap(start: int, end: int, track: str = "inbound", rate: int = 8000) -> Gap:
    return Gap(track, start, end, rate, Cause.LOST)


def tone(count: int, rate: int = 8000, amplitude: int = 8000) -> npt.NDArray[np.int16]:
    return np.asarray(np.rint(amplitude * np.sin(2 * np.pi * 440 * np.arange(count) / rate)), np.int16)


def joined(made: list[Block]) -> npt.NDArray[np.generic]:
    return np.concatenate([block.samples for block in made])


def test_asynchronous_events_give_the_same_blocks() -> None:
    events = [frame(0, tone(999)), gap(999, 2000), frame(2000, tone(77)), ENDED]

    async def feed() -> AsyncIterator[Event]:
        for event in events:
            yield event

    async def collect() -> list[Block]:
        source = blocks(feed(), rate=16000, ms=30)
        made = [block async for block in source]
        assert source.late == {}
        return made

    plain = list(blocks(iter(events), rate=16000, ms=30))
    made = asyncio.run(collect())
    assert [(block.track, block.start, len(block.samples)) for block in made] == [
        (block.track, block.start, len(block.samples)) for block in plain
    ]
    assert np.array_equal(joined(made), joined(plain))


def test_tracks_are_separate_unless_told_otherwise() -> None:
    made = list(blocks(iter([frame(0, [1] * 160), frame(0, [2] * 160, "outbound"), ENDED])))
    assert [(block.track, int(block.samples[0])) for block in made] == [("inbound", 1), ("outbound", 2)]


def test_no_audio_is_no_blocks() -> None:
    assert list(blocks(iter([ENDED]), tracks="mix")) == []
    assert list(blocks(iter([]))) == []


@pytest.mark.parametrize(
    "wrong",
    [{"ms": 0}, {"rate": 0}, {"max_skew_s": -1}, {"dtype": "int32"}, {"tracks": "both"}, {"gaps": "drop"}],
)
def test_unknown_arguments_are_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        blocks(iter([]), **wrong)


@pytest.mark.parametrize(("tracks", "expected"), [("mix", [1, 3, 2, 2]), ("pair", [[1, 0], [1, 2], [0, 2], [0, 2]])])
def test_joined_tracks_become_blocks_of_one_name(tracks: str, expected: list[object]) -> None:
    events = [frame(0, [1, 1]), gap(0, 1, "outbound"), frame(1, [2, 2, 2], "outbound"), ENDED]
    source = blocks(iter(events), tracks=tracks, ms=0.25)
    made = list(source)
    assert [(block.track, block.start, block.rate) for block in made] == [(tracks, 0, 8000), (tracks, 2, 8000)]
    assert joined(made).tolist() == expected
    assert source.late == {}


def test_joined_tracks_of_different_rates_come_at_the_first_ones() -> None:
    events = [frame(0, np.ones(160)), frame(0, np.ones(320), "outbound", 16000), ENDED]
    made = list(blocks(iter(events), tracks="pair", ms=20))
    assert [(block.rate, block.samples.shape) for block in made] == [(8000, (160, 2))]
