"""A feed that spills gives every sample once and in order, whoever is faster and however the history is cut."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver.events import Cause, Digit, Ended, EndReason, Event, Frame, Gap, TrackCounters
from receiver.sinks.budget import Budget
from receiver.sinks.recall import Recall
from receiver.sinks.spilling_feed import SpillingFeed
from receiver.sinks.workers import Workers

RATES = {"inbound": 8000, "outbound": 16000}
LONG = 20.0  # seconds, for what must happen and takes as long as the machine needs


def frame(track: str, start: int, end: int) -> Frame:
    return Frame(track, start, RATES[track], (np.arange(start, end) % 30000).astype(np.int16))


def gap(track: str, start: int, end: int) -> Gap:
    return Gap(track, start, end, RATES[track], Cause.LOST)


class Steps(Workers):
    """Does a job when the test says so, on the test's own thread."""

    def __init__(self) -> None:
        super().__init__("steps", 0)
        self.jobs: list[Callable[[], object]] = []

    def submit(self, job: Callable[[], object]) -> None:
        self.jobs.append(job)

    def step(self) -> None:
        if self.jobs:
            self.jobs.pop(0)()


class Live:
    """A stream as it happens: what it was put, and what of it was kept, in frames of other lengths."""

    def __init__(self, kept: Any) -> None:
        self.kept = kept
        self.ends = dict.fromkeys(RATES, 0)
        self.digits = 0
        self._unwritten: list[Frame | Gap] = []

    def event(self, kind: str, track: str, count: int) -> Event:
        if kind == "digit":
            self.digits += 1
            now_s = max(end / RATES[track] for track, end in self.ends.items())
            return Digit(str(self.digits), int(now_s * RATES[track]), RATES[track])
        start = self.ends[track]
        self.ends[track] = end = start + count
        event = frame(track, start, end) if kind == "frame" else gap(track, start, end)
        self._unwritten.append(event)
        return event

    def write(self, count: int, cut: int) -> None:
        """Keep the oldest events, frames cut to pieces or, where they follow each other, joined."""
        for event in self._unwritten[:count]:
            if isinstance(event, Gap) or cut > len(event.samples):
                last = self.kept.events[-1] if self.kept.events and not self.kept.readings else None
                if isinstance(event, Frame) and isinstance(last, Frame) and last.track == event.track:
                    self.kept.events[-1] = frame(event.track, last.start, event.end)
                else:
                    self.kept.events.append(event)
            else:
                pieces = range(event.start, event.end, cut)
                self.kept.events += [frame(event.track, at, min(at + cut, event.end)) for at in pieces]
            self.kept.events.append(Digit("X", 0, RATES["inbound"]))  # masked, and not to be heard
        del self._unwritten[:count]

    def end(self) -> Ended:
        counters = {track: TrackCounters(RATES[track], end) for track, end in self.ends.items()}
        return Ended(EndReason.STOP, True, counters)


class Ledger:
    """What a sink sees, checked as it comes."""

    def __init__(self) -> None:
        self.position = dict.fromkeys(RATES, 0)
        self.digits: list[str] = []
        self.ended = False

    def see(self, event: Event) -> None:
        assert not self.ended, "something came after Ended"
        if isinstance(event, Ended):
            self.ended = True
        elif isinstance(event, Digit):
            self.digits.append(event.digit)
            now_s = max(end / RATES[track] for track, end in self.position.items())
            assert event.position <= now_s * event.rate, "it came before its place"
        elif isinstance(event, Frame | Gap):
            assert event.start == self.position[event.track] and event.end > event.start
            self.position[event.track] = event.end
            if isinstance(event, Frame):
                assert np.array_equal(event.samples, (np.arange(event.start, event.end) % 30000).astype(np.int16))
            else:
                assert event.cause is Cause.LOST


TRACKS = st.sampled_from(sorted(RATES))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("frame"), TRACKS, st.integers(1, 3000)),
        st.tuples(st.just("gap"), TRACKS, st.integers(1, 50_000)),
        st.tuples(st.just("digit"), TRACKS, st.just(0)),
        st.tuples(st.just("take"), st.just(""), st.integers(1, 6)),
        st.tuples(st.just("work"), st.just(""), st.integers(1, 3)),
        st.tuples(st.just("write"), st.sampled_from(["whole", "cut"]), st.integers(1, 8)),
        st.tuples(st.just("budget"), st.just(""), st.integers(0, 1)),
    ),
    max_size=80,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, buffer=st.integers(1, 4000), at_once=st.integers(1, 7), cut=st.integers(50, 2000))
def test_whatever_is_faster_the_sink_hears_everything_once(
    town: Any, steps: list[tuple[str, str, int]], buffer: int, at_once: int, cut: int
) -> None:
    live, ledger, workers, budget = Live(town.Kept(at_once)), Ledger(), Steps(), Budget(1 << 30)
    feed = SpillingFeed(budget, Recall(live.kept.open, workers), buffer_s=buffer / 8000, overflow="spill")
    for kind, detail, number in steps:
        if kind == "take":
            for _ in range(number):
                if (event := feed.take()) is not None:
                    ledger.see(event)
        elif kind == "work":
            for _ in range(number):
                workers.step()
        elif kind == "write":
            live.write(number, cut if detail == "cut" else 1 << 30)
        elif kind == "budget":
            budget.over = bool(number)
        else:
            feed.put([live.event(kind, detail, number)])
        assert feed.queued_s <= buffer / 8000
        assert len(feed._recalled) <= at_once
    ended = live.end()
    feed.put([ended])
    for _ in range(1000):
        live.write(3, cut)
        while (event := feed.take()) is not None:
            ledger.see(event)
        if ledger.ended:
            break
        workers.step()
    assert ledger.ended
    assert ledger.position == live.ends
    assert ledger.digits == [str(number + 1) for number in range(live.digits)]
    assert (feed.dropped_s, feed.events_dropped, feed.queued_s) == ({}, 0, 0)
    assert len(live.kept.readings) <= 1
    feed.close()
    workers.step()
    assert all(reading.closed == 1 for reading in live.kept.readings)


@pytest.mark.parametrize("buffer_s", [0.0001, 0.05, 0.5])
def test_with_threads_on_all_sides_nothing_is_lost_or_torn(town: Any, buffer_s: float) -> None:
    live, ledger, workers, budget = Live(town.Kept()), Ledger(), Workers("reading back", 2), Budget(1 << 30)
    recall, news = Recall(live.kept.open, workers), threading.Event()
    recall.on_answer(news.set)
    feed = SpillingFeed(budget, recall, buffer_s=buffer_s, overflow="spill")
    failures: list[BaseException] = []

    def consume() -> None:
        try:
            while not ledger.ended:
                news.clear()
                event = feed.take()
                if event is None:
                    assert news.wait(feed.patience or LONG) or feed.patience
                else:
                    ledger.see(event)
        except BaseException as error:
            failures.append(error)

    consumer = threading.Thread(target=consume)
    consumer.start()
    for number in range(6000):
        track = "inbound" if number % 2 else "outbound"
        batch = [live.event("gap" if number % 97 == 0 else "frame", track, 160)]
        if number % 50 == 0:
            batch.append(live.event("digit", track, 0))
        if feed.put(batch):
            news.set()
        if number % 7 == 0:
            live.write(7, 1000 if number % 3 else 100)
        budget.over = number % 1000 > 900
    live.write(10_000, 100)
    if feed.put([live.end()]):
        news.set()
    consumer.join(LONG)
    assert failures == [] and ledger.ended
    assert ledger.position == live.ends
    assert ledger.digits == [str(number + 1) for number in range(live.digits)]
    assert feed.dropped_s == {}
    feed.close()
    workers.close()
