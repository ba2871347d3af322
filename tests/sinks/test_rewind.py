"""A rewind: from run to run nothing is skipped, and every run's tracks tile."""

from __future__ import annotations

import numpy as np

from receiver.events import Cause, Digit, Ended, EndReason, Event, Frame, Gap, TrackCounters
from receiver.sinks.budget import Budget
from receiver.sinks.feed import Feed
from receiver.sinks.rewind import Rewind

RATE = 8000
ENDED = Ended(EndReason.STOP, True, {"inbound": TrackCounters(RATE, 480)})


def frame(start: int, track: str = "inbound") -> Frame:
    return Frame(track, start, RATE, np.zeros(160, np.int16))


def passed(end: int, track: str = "inbound") -> Gap:
    return Gap(track, 0, end, RATE, Cause.DROPPED)


def rewind_of(*events: Event) -> tuple[Feed, Rewind]:
    feed = Feed(Budget(1 << 30), buffer_s=30)
    feed.put(events)
    return feed, Rewind(feed)


def take(rewind: Rewind, count: int) -> list[Event | None]:
    return [rewind.take() for _ in range(count)]


def test_the_next_run_begins_with_what_was_not_done_with() -> None:
    events = [frame(0), frame(0, "outbound"), frame(160), Digit("1", 320, RATE), frame(320), ENDED]
    feed, rewind = rewind_of(*events)
    assert take(rewind, 3) == events[:3]
    assert rewind.back()
    assert take(rewind, 4) == [passed(160), passed(160, "outbound"), events[2], events[3]]
    assert rewind.back()
    assert take(rewind, 5) == [passed(320), passed(160, "outbound"), events[3], events[4], events[5]]
    assert rewind.back()
    assert take(rewind, 3) == [passed(480), passed(160, "outbound"), ENDED]
    assert feed.dropped_s == {}


def test_one_that_comes_no_further_begins_in_the_same_place_each_time() -> None:
    events = [frame(0), frame(0, "outbound"), frame(160), frame(320)]
    _, rewind = rewind_of(*events)
    take(rewind, 3)
    assert rewind.back()
    for count in (0, 1, 2, 3):  # in the gaps already, or again at the same event
        assert take(rewind, count) == [passed(160), passed(160, "outbound"), events[2]][:count]
        assert not rewind.back()
    take(rewind, 4)
    assert rewind.back()


def test_what_it_asked_on_from_is_done_with_even_if_nothing_came() -> None:
    feed, rewind = rewind_of(frame(0))
    assert take(rewind, 2)[1] is None
    assert rewind.back()
    assert take(rewind, 2) == [passed(160), None]
    assert not rewind.back()
    feed.put([frame(160)])
    first, second = take(rewind, 2)
    assert first == passed(160) and isinstance(second, Frame) and second.start == 160


def test_one_that_failed_before_it_took_anything_begins_at_the_beginning() -> None:
    _, rewind = rewind_of(frame(0))
    assert not rewind.back()
    (first,) = take(rewind, 1)
    assert isinstance(first, Frame) and first.start == 0
    assert rewind.back()
    (again,) = take(rewind, 1)
    assert again is first


def test_a_hole_that_was_just_closed_stays_closed() -> None:
    _, rewind = rewind_of(frame(320))
    assert take(rewind, 1) == [passed(320)]
    assert rewind.back()
    first, second = take(rewind, 2)
    assert first == passed(320) and isinstance(second, Frame) and second.start == 320
    assert rewind.back()
    first, second = take(rewind, 2)
    assert first == passed(320) and isinstance(second, Frame) and second.start == 320


def test_patience_is_the_feeds() -> None:
    feed, rewind = rewind_of()
    assert rewind.patience is None
    feed.patience = 0.5
    assert rewind.patience == 0.5
