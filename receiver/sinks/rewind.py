"""A rewind: a feed for a sink that may be started again, and then goes on from the event that it failed on."""

from __future__ import annotations

from collections import deque

from receiver.events import Cause, Event, Frame, Gap
from receiver.sinks.feed import Feed


class Rewind:
    """Takes from a feed for one run of a sink after the other. For the taking side.

    An event is done with when the next one is asked for. Each run sees a perfect tiling: what earlier runs were done
    with is a gap of cause DROPPED to it, which counts as dropped nowhere.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._last: Event | None = None  # handed out, and not done with
        self._again: Event | None = None  # to be handed out once more
        self._opening: deque[Gap] = deque()
        self._done: dict[str, tuple[int, int]] = {}  # where each track goes on, and its rate
        self._further = False

    @property
    def patience(self) -> float | None:
        """The feed's."""
        return self._feed.patience

    def take(self) -> Event | None:
        """The next event; None: nothing is there now."""
        if self._opening:
            return self._opening.popleft()
        event, self._again = self._again, None
        if event is None:
            last = self._last
            if isinstance(last, (Frame, Gap)):
                self._done[last.track] = (last.end, last.rate)
            event = self._feed.take()
            self._further = self._further or event is not None
        self._last = event
        return event

    def back(self) -> bool:
        """Go back to the event that is not done with; whether this run had come beyond the one before it failed on."""
        if self._again is None:
            self._again, self._last = self._last, None
        gaps = (Gap(track, 0, end, rate, Cause.DROPPED) for track, (end, rate) in self._done.items())
        self._opening = deque(gap for gap in gaps if gap.end > 0)
        further, self._further = self._further, False
        return further
