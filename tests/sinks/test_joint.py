"""A joint: tracks mixed, or side by side."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from receiver.events import Cause, Ended, EndReason, Event, Frame, Gap
from receiver.sinks.blocks import blocks
from receiver.sinks.cutter import Block
from receiver.sinks.joint import Joint
from receiver.sinks.lane import Span

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


def test_a_pair_is_inbound_left_and_outbound_right() -> None:
    events = [frame(0, [1] * 160), frame(0, [2] * 160, "outbound"), frame(0, [9] * 160, "mixed"), ENDED]
    (made,) = blocks(iter(events), tracks="pair")
    assert made.track == "pair"
    assert made.samples.shape == (160, 2)
    assert made.samples[0].tolist() == [1, 2]


def test_a_silent_side_is_padded_as_soon_as_the_skew_is_over() -> None:
    made = blocks(iter([frame(0, [1] * 8000), frame(8000, [1] * 160), ENDED]), tracks="pair", dtype="float32")
    everything = list(made)
    assert joined(everything).shape == (8160, 2)
    assert not joined(everything)[:, 1].any()
    assert made.late == {}


def test_blocks_of_a_pair_come_while_the_other_side_is_silent() -> None:
    events: Iterator[Event] = iter([frame(0, [1] * 8000), frame(8000, [1] * 160), frame(8160, [1] * 160)])
    made = blocks(events, tracks="pair")
    assert next(made).start == 0
    assert next(made).start == 160
    assert next(events, None) is None


def test_a_late_second_side_lands_in_its_place_and_too_late_audio_is_cut_and_counted() -> None:
    events = [
        frame(0, [1] * 16000),
        gap(0, 4000, "outbound"),
        frame(4000, [2] * 8000, "outbound"),  # 4000 .. 8000 has been given out already
        ENDED,
    ]
    made = blocks(iter(events), tracks="pair")
    everything = joined(list(made))
    assert made.late == {"outbound": 4000}
    assert len(everything) == 16000
    assert everything[:, 1].tolist() == [0] * 8000 + [2] * 4000 + [0] * 4000


def test_a_mix_is_the_sum_and_does_not_wrap() -> None:
    events = [
        frame(0, [30000, -30000, 100]),
        frame(0, [30000, -30000, 11, 7], "outbound"),
        gap(3, 5),
        gap(4, 5, "outbound"),
        ENDED,
    ]
    (made,) = blocks(iter(events), tracks="mix")
    assert (made.track, made.samples.dtype) == ("mix", np.int16)
    assert made.samples.tolist() == [32767, -32768, 111, 7, 0]
    (made,) = blocks(iter(events), tracks="mix", dtype="float32")
    assert made.samples.dtype == np.float32
    assert np.allclose(made.samples, [1, -1, 111 / 32768, 7 / 32768, 0])


def test_joined_tracks_of_different_rates_meet_at_the_first_ones() -> None:
    events = [frame(0, tone(1600)), frame(0, tone(3200, 16000), "outbound", 16000), ENDED]
    made = joined(list(blocks(iter(events), tracks="pair")))
    assert made.shape == (1600, 2)
    assert np.abs(made[200:1400, 0].astype(int) - made[200:1400, 1]).max() < 200


def test_a_joint_gap_is_skipped_only_where_every_side_has_one() -> None:
    events = [frame(0, [1] * 100), gap(100, 300), gap(0, 200, "outbound"), frame(200, [2] * 100, "outbound"), ENDED]
    made = list(blocks(iter(events), tracks="pair", gaps="skip"))
    assert [(block.start, block.end) for block in made] == [(0, 100), (200, 300)]


def spans(made: Iterator[Span]) -> list[tuple[int, list[int] | None]]:
    return [(length, None if audio is None else audio.tolist()) for length, audio in made]


def ones(length: int, value: int = 1) -> Span:
    return length, np.full(length, value, np.int16)


def test_a_mix_waits_for_the_slower_track_as_long_as_the_skew_allows() -> None:
    joint = Joint("mix", 5)
    assert spans(joint.put("inbound", [ones(5)])) == []
    assert spans(joint.put("inbound", [ones(2)])) == [(2, [1, 1])]
    assert spans(joint.put("outbound", [ones(3, 10)])) == [(1, [11])]  # two came too late
    assert joint.late == {"outbound": 2}
    assert spans(joint.finish()) == [(2, [1, 1]), (2, [1, 1])]
    assert spans(joint.finish()) == []


def test_a_late_gap_is_not_audio_that_was_lost() -> None:
    joint = Joint("mix", 0)
    assert spans(joint.put("inbound", [ones(4)])) == [(4, [1] * 4)]
    assert spans(joint.put("outbound", [(3, None), (3, None)])) == [(2, None)]
    assert joint.late == {}


def test_a_pair_has_no_place_for_a_third_track() -> None:
    joint = Joint("pair", 0)
    assert spans(joint.put("mixed", [ones(4)])) == []
    assert spans(joint.finish()) == []
    assert spans(joint.put("outbound", [ones(1, 7)])) == [(1, [[0, 7]])]


def test_nothing_joined_is_nothing() -> None:
    assert spans(Joint("mix", 100).finish()) == []
