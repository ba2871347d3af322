"""The budget of all feeds together."""

from __future__ import annotations

import numpy as np

from receiver.events import Event, Frame
from receiver.sinks.budget import Budget
from receiver.sinks.feed import Feed

RATE = 8000


def frame(start: int, count: int) -> Frame:
    return Frame("inbound", start, RATE, np.zeros(count, np.int16))


def drain(feed: Feed) -> list[Event]:
    events = []
    while (event := feed.take()) is not None:
        events.append(event)
    return events


def test_over_budget_a_feed_does_not_grow() -> None:
    budget = Budget(1000)
    feeds = {overflow: Feed(budget, buffer_s=30, overflow=overflow) for overflow in ("drop_newest", "drop_oldest")}
    for feed in feeds.values():
        feed.put([frame(0, 160)])
    assert budget.due
    budget.counted(sum(feed.queued_bytes for feed in feeds.values()))
    assert budget.over
    for feed in feeds.values():
        before = feed.queued_bytes
        feed.put([frame(160, 160)])
        assert feed.queued_bytes == before
    assert [event.start for event in drain(feeds["drop_newest"])] == [0]
    assert [event.start for event in drain(feeds["drop_oldest"])] == [0, 160]
    budget.counted(0)
    assert not budget.over and not budget.due
