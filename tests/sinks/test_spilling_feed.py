"""A feed that spills: what is queued, what is read from the history, and when."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from receiver.events import (
    Annotation,
    Cause,
    Digit,
    Discontinuity,
    Ended,
    EndReason,
    Event,
    Frame,
    Gap,
    Marked,
    TrackCounters,
)
from receiver.sinks.budget import Budget
from receiver.sinks.feed import OTHERS_LIMIT
from receiver.sinks.recall import Recall
from receiver.sinks.spilling_feed import FIRST_PAUSE_S, LAST_PAUSE_S, SpillingFeed
from receiver.sinks.workers import Workers

RATE = 8000


class Steps(Workers):
    """Does a job when the test says so, on the test's own thread."""

    def __init__(self) -> None:
        super().__init__("steps", 0)
        self.jobs: list[Callable[[], object]] = []

    def submit(self, job: Callable[[], object]) -> None:
        self.jobs.append(job)

    def step(self) -> None:
        while self.jobs:
            self.jobs.pop(0)()


class Rig:
    """A feed with a history, and both sides of it."""

    def __init__(self, kept: Any, overflow: str = "spill", buffer_s: float = 0.1) -> None:
        self.kept = kept
        self.steps = Steps()
        self.budget = Budget(1 << 30)
        self.woken = 0
        self.recall = Recall(kept.open, self.steps)
        self.recall.on_answer(self._wake)
        self.feed = SpillingFeed(self.budget, self.recall, buffer_s=buffer_s, overflow=overflow)  # type: ignore[arg-type]

    def put(self, *events: Event, kept: bool = True) -> bool:
        if kept:
            self.kept.add(events)
        return self.feed.put(events)

    def take(self, count: int = 1000) -> list[Event]:
        """Up to so many events, with as many reads as it takes."""
        events: list[Event] = []
        while len(events) < count:
            event = self.feed.take()
            if event is not None:
                events.append(event)
            elif self.steps.jobs:
                self.steps.step()
            else:
                break
        return events

    def _wake(self) -> None:
        self.woken += 1


@pytest.fixture
def rig(town: Any) -> Iterator[Rig]:
    rig = Rig(town.Kept())
    yield rig
    rig.feed.close()
    rig.steps.step()
    assert {reading.closed for reading in rig.kept.readings} <= {1}


def frame(number: int, track: str = "inbound") -> Frame:
    start = 160 * number
    return Frame(track, start, RATE, (np.arange(start, start + 160) % 30000).astype(np.int16))


def frames(first: int, last: int, track: str = "inbound") -> list[Event]:
    return [frame(number, track) for number in range(first, last)]


def ended(**lengths: int) -> Ended:
    return Ended(EndReason.STOP, True, {track: TrackCounters(RATE, length) for track, length in lengths.items()})


def starts(events: list[Event]) -> list[int]:
    return [event.start for event in events if isinstance(event, Frame)]


def names(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def test_what_does_not_fit_is_read_from_the_history_and_nothing_is_dropped(rig: Rig) -> None:
    rig.put(*frames(0, 50))
    assert rig.feed.queued_s == 0.1  # five frames, and not one more
    assert starts(rig.take()) == [160 * number for number in range(50)]
    rig.put(*frames(50, 53), ended(inbound=53 * 160))
    events = rig.take()
    assert starts(events) == [8000, 8160, 8320] and isinstance(events[-1], Ended)
    assert (rig.feed.dropped_s, rig.feed.events_dropped) == ({}, 0)


def test_when_it_has_caught_up_it_queues_again_and_reads_no_more(rig: Rig) -> None:
    rig.put(*frames(0, 50))
    rig.take()
    reads = rig.kept.readings[0].reads
    for number in range(50, 60):
        assert rig.put(frame(number), kept=False)
        assert starts(rig.take()) == [160 * number]
    assert rig.kept.readings[0].reads == reads


def test_spilled_audio_wakes_only_who_waits_for_it(rig: Rig) -> None:
    assert rig.put(*frames(0, 6))  # it spills
    assert not rig.put(frame(6))
    assert rig.put(Digit("1", 0, RATE), kept=False)
    assert not rig.put(Gap("inbound", 1120, 1280, RATE, Cause.LOST))
    rig.take()  # all there was
    rig.budget.over = True  # so that it cannot go on with the queue
    assert rig.put(frame(8))
    assert starts(rig.take()) == [1280]
    rig.budget.over = False
    assert rig.put(frame(9))
    assert rig.put(ended(inbound=1600))
    assert names(rig.take()) == ["Frame", "Ended"]


def test_a_second_spill_goes_on_in_the_same_history(rig: Rig) -> None:
    for round_ in range(4):
        rig.put(*frames(50 * round_, 50 * round_ + 50))
        assert starts(rig.take()) == [160 * number for number in range(50 * round_, 50 * round_ + 50)]
    assert len(rig.kept.readings) == 1


def test_while_it_is_stuck_it_holds_its_buffer_and_reads_nothing(rig: Rig) -> None:
    rig.put(*frames(0, 5000))
    assert rig.feed.queued_bytes < 10_000
    assert rig.kept.readings == []
    rig.take(6)
    assert rig.kept.readings[0].reads == 1  # one at a time, when it is asked for


def test_frames_of_other_boundaries_are_cut_where_the_queue_ends_and_begins(rig: Rig, town: Any) -> None:
    ledger: list[Frame] = []
    whole = np.arange(50 * 160, dtype=np.int16)
    rig.put(*frames(0, 50), kept=False)
    rig.kept.add([Frame("inbound", start, RATE, whole[start : start + 300]) for start in range(0, 8000, 300)])
    rig.put(Digit("1", 8000, RATE), kept=False)
    events = rig.take()
    rig.put(*frames(50, 52), kept=False)
    events += rig.take()
    ledger = [event for event in events if isinstance(event, Frame)]
    assert [event.start for event in ledger[1:]] == [event.end for event in ledger[:-1]]
    assert np.array_equal(np.concatenate([event.samples for event in ledger]), np.arange(52 * 160))


def test_history_that_is_ahead_of_the_queue_is_not_given_twice(rig: Rig) -> None:
    rig.put(*frames(0, 10))
    rig.take(7)
    assert rig.put(ended(inbound=1600)) is True
    rig.kept.add(frames(10, 20))
    assert starts(rig.take()) == [160 * number for number in range(7, 10)]


def test_live_frames_that_the_history_gave_already_are_passed_over(rig: Rig) -> None:
    rig.put(*frames(0, 10))
    rig.take()
    rig.kept.at_once = 100
    rig.budget.over = True
    rig.put(frame(10), kept=False)  # happened, and not written yet
    rig.feed.take()
    rig.steps.step()
    assert rig.feed.take() is None
    rig.budget.over = False
    gaps = [Gap("outbound", 0, 800, RATE, Cause.LOST), Gap("outbound", 800, 900, RATE, Cause.LOST)]
    gap = Gap("inbound", 2080, 2240, RATE, Cause.LOST)
    rig.put(frame(11), frame(12), *gaps, gap, frame(14), kept=False)  # queued again, from 11 on
    rig.kept.add([gaps[0], Frame("inbound", 1600, RATE, np.arange(1600, 2000, dtype=np.int16))])
    events = rig.take()
    assert [event for event in events if isinstance(event, Gap) and event.track == "outbound"] == gaps
    events = [event for event in events if isinstance(event, (Frame, Gap)) and event.track == "inbound"]
    assert [(event.start, event.end) for event in events if isinstance(event, (Frame, Gap))] == [
        *((1600, 2000), (2000, 2080), (2080, 2240), (2240, 2400)),
    ]
    assert rig.feed.queued_s == 0


def test_what_is_queued_again_with_the_audio_is_not_overtaken_by_history(rig: Rig) -> None:
    rig.put(*frames(0, 10))
    rig.take()
    rig.kept.at_once = 100
    rig.budget.over = True
    rig.put(frame(10), kept=False)
    rig.feed.take()
    rig.steps.step()
    assert rig.feed.take() is None
    rig.budget.over = False
    rig.put(frame(11), Digit("1", 1920, RATE), frame(12), kept=False)  # queued again, from 11 on
    rig.kept.add(frames(10, 20))  # it reads further than that
    assert names(rig.take()) == ["Frame", "Frame", "Digit", "Frame"]
    rig.put(*frames(13, 40), kept=False)  # and what it has read is there when it spills again
    rig.kept.add(frames(20, 40))
    assert starts(rig.take()) == [160 * number for number in range(13, 40)]
    assert rig.feed.dropped_s == {}


def test_where_the_writer_lags_it_asks_again_ever_later(rig: Rig) -> None:
    rig.put(*frames(0, 10), kept=False)
    rig.kept.add(frames(0, 7))
    assert len(rig.take()) == 7
    pauses = []
    for _ in range(6):
        assert rig.feed.patience is not None
        pauses.append(rig.feed.patience)
        rig.take()
    assert pauses[0] == FIRST_PAUSE_S and pauses[-1] == LAST_PAUSE_S and pauses == sorted(pauses)
    rig.kept.add(frames(7, 9))
    assert starts(rig.take()) == [1120, 1280]
    assert rig.feed.patience == FIRST_PAUSE_S
    rig.kept.add(frames(9, 10))
    rig.take()
    assert rig.feed.patience is None  # there is nothing more to wait for than a wake


def test_other_events_come_where_they_belong_and_never_from_the_history(rig: Rig) -> None:
    rig.put(*frames(0, 10), kept=True)
    rig.put(
        Digit("1", 1600, RATE),
        Discontinuity("inbound", 1600, RATE, 1, 2),
        Annotation("word", "inbound", 0, 3200, 2 * RATE),
        kept=False,
    )
    rig.kept.add([Digit("X", 1600, RATE)])
    rig.put(*frames(10, 20))
    rig.put(Marked("m", 3200, RATE), kept=False)
    rig.put(*frames(20, 30))
    rig.put(Annotation("far", None, 0, 10**9, RATE), Digit("2", 4800, RATE), kept=False)
    events = rig.take()
    order = [type(event).__name__ if not isinstance(event, Frame) else event.start // 160 for event in events]
    assert order == [
        *(*range(10), "Digit", "Discontinuity", "Annotation"),
        *(*range(10, 20), "Marked"),
        *(*range(20, 30), "Annotation", "Digit"),
    ]
    assert [event.digit for event in events if isinstance(event, Digit)] == ["1", "2"]


def test_a_discontinuity_waits_for_its_own_track(rig: Rig) -> None:
    rig.put(*frames(0, 10), *frames(0, 10, "outbound"))
    rig.put(Discontinuity("outbound", 1600, RATE, 1, 2), kept=False)
    rig.put(*frames(10, 20), *frames(10, 20, "outbound"))
    events = rig.take()
    place = next(number for number, event in enumerate(events) if isinstance(event, Discontinuity))
    assert [event.end for event in events[:place] if isinstance(event, Frame)][-1] == 1600
    assert sum(isinstance(event, Frame) and event.track == "outbound" for event in events[:place]) == 10


def test_more_other_events_than_may_wait_are_counted_and_too_many_gaps_spill(rig: Rig) -> None:
    rig.put(*frames(0, 10))
    rig.put(*[Marked("m", 1600, RATE)] * (OTHERS_LIMIT + 7), kept=False)
    assert rig.feed.events_dropped == 7
    assert len(rig.take(20_000)) == 10 + OTHERS_LIMIT
    gaps = [Gap("outbound", at, at + 1, RATE, Cause.LOST) for at in range(OTHERS_LIMIT + 100)]
    rig.put(*gaps)
    assert rig.take(20_000) == gaps
    assert rig.feed.dropped_s == {}


def test_a_history_that_ends_too_soon_costs_the_rest_and_then_the_feed_drops(rig: Rig) -> None:
    rig.put(*frames(0, 20), kept=False)
    rig.kept.add(frames(0, 8))
    rig.kept.over = True
    events = rig.take()
    assert events[-1] == Gap("inbound", 1280, 3200, RATE, Cause.DROPPED)
    assert rig.feed.dropped_s == {"inbound": 0.24}
    assert rig.put(*frames(20, 30), kept=False)
    events = rig.take()
    assert starts(events) == [160 * number for number in range(20, 25)]  # queued again; five do not fit
    assert rig.feed.dropped_s == {"inbound": pytest.approx(0.34)}
    rig.put(ended(inbound=4800, outbound=0), kept=False)
    assert rig.take() == [Gap("inbound", 4000, 4800, RATE, Cause.DROPPED), ended(inbound=4800, outbound=0)]


def test_a_history_that_ends_while_it_is_behind_the_live_audio_counts_on(rig: Rig) -> None:
    rig.put(*frames(0, 10), kept=False)
    rig.kept.over = True
    rig.budget.over = True
    assert rig.take()[-1] == Gap("inbound", 800, 1600, RATE, Cause.DROPPED)
    assert rig.put(frame(10), kept=False)
    assert rig.take() == [Gap("inbound", 1600, 1760, RATE, Cause.DROPPED)]
    rig.put(ended(inbound=1920, outbound=160), kept=False)
    assert names(rig.take()) == ["Gap", "Gap", "Ended"]
    assert rig.feed.dropped_s == {"inbound": pytest.approx(0.14), "outbound": 0.02}


def test_only_the_tracks_that_miss_something_lose_it(rig: Rig) -> None:
    rig.put(*frames(0, 10), *frames(0, 10, "outbound"), kept=False)
    rig.kept.add([*frames(0, 8), *frames(0, 10, "outbound")])
    rig.kept.over = True
    assert rig.take()[-1] == Gap("inbound", 1280, 1600, RATE, Cause.DROPPED)
    assert rig.feed.dropped_s == {"inbound": 0.04}


def test_a_hole_in_the_history_is_a_gap_that_counts(rig: Rig) -> None:
    rig.put(*frames(0, 10), kept=False)
    rig.kept.add([*frames(0, 6), *frames(8, 10)])
    events = rig.take()
    assert Gap("inbound", 960, 1280, RATE, Cause.DROPPED) in events
    assert rig.feed.dropped_s == {"inbound": 0.04}


def test_a_sink_that_fails_while_it_catches_up_has_missed_what_it_was_not_given(rig: Rig) -> None:
    rig.put(*frames(0, 10))
    rig.kept.over = True
    rig.kept.events[6:8] = []
    events = rig.take(8)
    assert [type(event) for event in events] == [*[Frame] * 6, Gap, Frame]
    rig.feed.close()
    rig.put(*frames(10, 12), kept=False)
    rig.put(ended(inbound=2000), kept=False)
    assert rig.feed.dropped_s == {"inbound": (2000 - 7 * 160) / RATE}


@pytest.mark.parametrize("overflow", ["drop_newest", "drop_oldest"])
def test_what_was_dropped_before_it_spilled_is_missed_once(town: Any, overflow: str) -> None:
    rig = Rig(town.Kept(at_once=2), overflow)
    rig.put(*frames(0, 10))
    rig.feed.idle = True
    rig.put(*frames(10, 20))
    rig.feed.idle = False
    taken = sum(event.end - event.start for event in rig.take(9) if isinstance(event, Frame))
    rig.feed.close()
    rig.put(ended(inbound=3200), kept=False)
    assert rig.feed.dropped_s == {"inbound": (3200 - taken) / RATE}


@pytest.mark.parametrize("overflow", ["drop_newest", "drop_oldest"])
def test_without_spill_it_spills_only_while_idle_or_catching_up(town: Any, overflow: str) -> None:
    rig = Rig(town.Kept(at_once=2), overflow)
    rig.put(*frames(0, 10))
    assert rig.feed.dropped_s == {"inbound": 0.1}
    rig.feed.idle = True
    rig.put(*frames(10, 20))
    rig.feed.idle = False
    events = rig.take(6)
    rig.put(*frames(20, 40))  # it has not caught up: what does not fit now is not dropped either
    events += rig.take()
    rig.put(*frames(40, 42), Digit("1", 6720, RATE))
    events += rig.take()
    assert rig.feed.dropped_s == {"inbound": 0.1}
    heard = starts(events)
    assert heard[-32:] == [160 * number for number in range(10, 42)]
    rig.put(*frames(42, 60))
    assert rig.feed.dropped_s == {"inbound": pytest.approx(0.1 + 13 * 0.02)}
    assert len(starts(rig.take())) == 5


@pytest.mark.parametrize("overflow", ["drop_newest", "drop_oldest"])
def test_what_was_dropped_before_it_spilled_is_a_gap_as_long_as_what_was_counted(town: Any, overflow: str) -> None:
    rig = Rig(town.Kept(), overflow)
    rig.put(*frames(0, 10), *frames(0, 10, "outbound"), *frames(10, 20))  # five of each track fit
    dropped_s = rig.feed.dropped_s
    rig.feed.idle = True
    rig.put(*frames(10, 20, "outbound"), *frames(20, 30))
    rig.feed.idle = False
    events = rig.take()
    for track in ("inbound", "outbound"):
        audio = [event for event in events if isinstance(event, (Frame, Gap)) and event.track == track]
        assert [event.start for event in audio[1:]] == [event.end for event in audio[:-1]]
        lengths = [event.end - event.start for event in audio if isinstance(event, Gap)]
        assert sum(lengths) == round(dropped_s[track] * RATE)
    assert rig.feed.dropped_s == dropped_s


@pytest.mark.parametrize("overflow", ["drop_newest", "drop_oldest"])
def test_what_does_not_fit_before_it_has_come_to_the_rejoin_spills_again(town: Any, overflow: str) -> None:
    rig = Rig(town.Kept(), overflow)
    rig.feed.idle = True
    rig.put(*frames(0, 10))
    rig.feed.idle = False
    events = rig.take()
    rig.budget.over = True
    rig.put(*frames(10, 12))
    assert rig.feed.take() is None  # a read is on its way
    rig.budget.over = False
    rig.put(*frames(12, 30))  # queued again, until it is full
    rig.put(Digit("1", 4800, RATE), *frames(30, 40), kept=False)
    rig.kept.add(frames(30, 40))
    events += rig.take()
    assert starts(events) == [160 * number for number in range(40)]
    assert names(events)[30] == "Digit"
    assert rig.feed.dropped_s == {}


def test_an_answer_that_came_when_the_queue_was_read_again_is_cut_at_the_next_spill(rig: Rig) -> None:
    rig.put(*frames(0, 10))
    events = rig.take()
    rig.recall.ask({"inbound": 1600})  # as it does when a spill begins just while it looks for the end of another
    rig.put(*frames(10, 13))
    events += [rig.feed.take() for _ in range(3)]  # type: ignore[misc]
    rig.put(*frames(13, 30))
    rig.steps.step()
    events += rig.take()
    assert starts(events) == [160 * number for number in range(30)]
    assert rig.feed.dropped_s == {}


def test_beside_a_sentinel_nothing_is_evicted(town: Any) -> None:
    rig = Rig(town.Kept(), "drop_oldest")
    rig.feed.idle = True
    rig.put(*frames(0, 10))
    rig.feed.idle = False
    events = rig.take()
    rig.budget.over = True
    rig.put(*frames(10, 12))
    rig.kept.add([ended(inbound=1920)])  # it will not know any more than that
    assert rig.feed.take() is None
    rig.steps.step()
    events += [rig.feed.take()]  # type: ignore[list-item]  # one of two
    rig.budget.over = False
    rig.put(*frames(12, 30), kept=False)  # queued again, behind a Rejoin that is not reached; and there is no history
    events += rig.take()
    assert starts(events) == [160 * number for number in range(17)]
    assert rig.feed.dropped_s == {"inbound": pytest.approx(13 * 0.02)}
    rig.put(*frames(30, 50), kept=False)  # now it may
    assert starts(rig.take()) == [160 * number for number in range(45, 50)]


def test_a_closed_feed_gives_nothing_and_lets_its_history_go(rig: Rig) -> None:
    rig.put(*frames(0, 20))
    rig.take(8)
    rig.feed.close()
    rig.feed.close()
    assert rig.feed.take() is None
    assert not rig.put(frame(20))
    rig.steps.step()
    assert [reading.closed for reading in rig.kept.readings] == [1]
