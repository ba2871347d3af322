"""A feed tiles every track, whatever is dropped and whoever is faster."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.events import (
    Cause,
    Digit,
    Ended,
    EndReason,
    Event,
    Frame,
    Gap,
    TrackCounters,
)
from receiver.sinks.budget import Budget
from receiver.sinks.feed import Feed

RATE = 8000


def frame(start: int, count: int, track: str = "inbound") -> Frame:
    return Frame(track, start, RATE, (np.arange(start, start + count) % 30000).astype(np.int16))


def ended(**lengths: int) -> Ended:
    return Ended(EndReason.STOP, True, {track: TrackCounters(RATE, length) for track, length in lengths.items()})


def drain(feed: Feed) -> list[Event]:
    events = []
    while (event := feed.take()) is not None:
        events.append(event)
    return events


def make(buffer_s: float = 1.0, overflow: str = "drop_newest", limit: int = 1 << 30) -> Feed:
    return Feed(Budget(limit), buffer_s=buffer_s, overflow=overflow)


class Ledger:
    """What a sink sees of its tracks, checked as it comes."""

    def __init__(self) -> None:
        self.position: dict[str, int] = {}
        self.audio: dict[str, int] = {}
        self.dropped: dict[str, int] = {}
        self.ended = False

    def see(self, event: Event) -> None:
        assert not self.ended, "something came after Ended"
        if isinstance(event, Ended):
            self.ended = True
        if not isinstance(event, Frame | Gap):
            return
        assert event.start == self.position.get(event.track, 0)
        assert event.end > event.start
        self.position[event.track] = event.end
        if isinstance(event, Frame):
            expected = (np.arange(event.start, event.end) % 30000).astype(np.int16)
            assert np.array_equal(event.samples, expected)
            self.audio[event.track] = self.audio.get(event.track, 0) + len(event.samples)
        elif event.cause is Cause.DROPPED:
            self.dropped[event.track] = self.dropped.get(event.track, 0) + event.end - event.start


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("frame"), st.sampled_from(["inbound", "outbound"]), st.integers(1, 3000)),
        st.tuples(st.just("gap"), st.sampled_from(["inbound", "outbound"]), st.integers(1, 100_000)),
        st.tuples(st.just("digit"), st.just(""), st.just(0)),
        st.tuples(st.just("take"), st.just(""), st.integers(1, 6)),
        st.tuples(st.just("budget"), st.just(""), st.integers(0, 1)),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(steps=STEPS, overflow=st.sampled_from(["drop_newest", "drop_oldest"]), buffer=st.integers(1, 4000))
def test_whatever_is_dropped_the_sink_sees_a_perfect_tiling(
    steps: list[tuple[str, str, int]], overflow: str, buffer: int
) -> None:
    budget = Budget(1 << 30)
    feed = Feed(budget, buffer_s=buffer / RATE, overflow=overflow)
    ledger = Ledger()
    ends: dict[str, int] = {}
    digits = 0
    for kind, track, number in steps:
        if kind == "take":
            for _ in range(number):
                if (event := feed.take()) is not None:
                    digits -= isinstance(event, Digit)
                    ledger.see(event)
        elif kind == "budget":
            budget.over = bool(number)
        elif kind == "digit":
            digits += 1
            feed.put([Digit("1", 0, RATE)])
        else:
            start = ends.get(track, 0)
            ends[track] = start + number
            feed.put(
                [
                    frame(start, number, track)
                    if kind == "frame"
                    else Gap(track, start, start + number, RATE, Cause.LOST)
                ]
            )
        assert feed.queued_s <= buffer / RATE
    feed.put([ended(**ends)])
    for event in drain(feed):
        digits -= isinstance(event, Digit)
        ledger.see(event)
    assert ledger.ended
    assert ledger.position == ends
    assert digits == 0
    assert {track: count / RATE for track, count in ledger.dropped.items()} == feed.dropped_s
    assert feed.queued_s == 0


@pytest.mark.parametrize("overflow", ["drop_newest", "drop_oldest"])
def test_with_a_thread_on_each_side_nothing_is_torn(overflow: str) -> None:
    feed = make(0.05, overflow)
    ledger = Ledger()
    digits: list[str] = []

    def consume() -> None:
        while not ledger.ended:
            event = feed.take()
            if event is not None:
                ledger.see(event)
                if isinstance(event, Digit):
                    digits.append(event.digit)

    consumer = threading.Thread(target=consume)
    consumer.start()
    ends = {"inbound": 0, "outbound": 0}
    for number in range(20_000):
        track = "inbound" if number % 2 else "outbound"
        batch: list[Event] = [frame(ends[track], 160, track)]
        ends[track] += 160
        if number % 100 == 0:
            batch.append(Digit(str(number), 0, RATE))
        feed.put(batch)
    feed.put([ended(**ends)])
    consumer.join(30)
    assert ledger.ended
    assert ledger.position == ends
    assert {track: count / RATE for track, count in ledger.dropped.items()} == feed.dropped_s
    assert sorted(map(int, digits)) == list(range(0, 20_000, 100))
