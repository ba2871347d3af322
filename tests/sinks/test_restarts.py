"""Restarts: how long a sink waits before it tries again, and how often it may."""

from __future__ import annotations

import numpy as np

from receiver.events import Frame
from receiver.sinks.budget import Budget
from receiver.sinks.feed import Feed
from receiver.sinks.restarts import ATTEMPTS, LONGEST_S, Restarts
from receiver.sinks.rewind import Rewind


def test_it_waits_longer_each_time_it_fails_on_the_same_event_and_then_stops() -> None:
    feed = Feed(Budget(1 << 30), buffer_s=30)
    feed.put([Frame("inbound", 160 * number, 8000, np.zeros(160, np.int16)) for number in range(3)])
    rewind = Rewind(feed)
    restarts = Restarts(rewind)
    rewind.take()
    assert [restarts.next() for _ in range(3)] == [0.5, 1.0, 2.0]
    rewind.take()  # the same once more
    assert (restarts.next(), restarts.failed) == (4.0, 4)
    rewind.take()
    rewind.take()  # one further
    delays = []
    while (delay := restarts.next()) is not None:
        delays.append(delay)
        rewind.take()
        rewind.take()
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_S, LONGEST_S, LONGEST_S]
    assert restarts.failed == ATTEMPTS == 10
