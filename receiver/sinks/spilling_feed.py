"""A feed that loses nothing: what does not fit is not queued, and the taking side reads it from the stream's history.

It spills at a frame or a gap that does not fit. A sentinel marks the place in the queue, and from then on the putting
side queues only what holds no audio, and remembers where the live audio ends. The taking side comes to the sentinel and
reads the history, which goes past what it has and on behind it. When it has read all there is, it says so
(``_caught_up``); the next put queues a Rejoin with the positions that have come until then, and queues everything
again. The taking side reads up to these positions, and goes on with the queue.

The other events, digits for one, are never taken from a history, but handed out when its audio has come to their place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, cast

from receiver.events import Annotation, Cause, Discontinuity, Ended, Event, Frame, Gap
from receiver.sinks.budget import Budget
from receiver.sinks.feed import OTHERS_LIMIT, Account, Feed, Overflow
from receiver.sinks.recall import Recall, rest_of

FIRST_PAUSE_S = 0.02
"""How long the taking side waits where the history is not yet as far as the live audio. It doubles, to LAST_PAUSE_S."""

LAST_PAUSE_S = 0.16


class Spill(dict[str, int]):
    """Stands in the queue where it has spilled: the positions, by track, before which what is missing was dropped."""


class Rejoin(dict[str, int]):
    """Stands in the queue where it goes on: the positions, by track, that the history is to be read to."""


class SpillingFeed(Feed):
    """A feed with a history. It spills if ``overflow`` says so, else only while the sink is ``idle``.

    Once spilled, what does not fit while the sink catches up spills again, whatever ``overflow`` says, so that nothing
    is ever evicted beside a sentinel. When the history has broken, the feed drops: the newest for ``spill``.
    """

    def __init__(self, budget: Budget, recall: Recall, *, buffer_s: float, overflow: Overflow) -> None:
        super().__init__(budget, buffer_s=buffer_s, overflow=overflow)
        self._recall = recall
        self._always = overflow == "spill"
        # written by the putting side
        self._spills = 0
        self._spilled = False
        self._live: dict[str, int] = {}  # where the live audio ends; grows by being replaced, as ``_rates`` does
        # written by the taking side
        self._caught_up = 0  # the spill, by number, in which it has read all there was
        self._entered = 0  # the spill whose sentinel it has come to,
        self._left = 0  # and whose Rejoin
        self._rejoin: Rejoin | None = None
        self._waiting: deque[Event] = deque()  # not audio, from behind the sentinel
        self._recalled: deque[Frame | Gap] = deque()
        self._now_s = 0.0  # where the audio has come to
        self._pause_s = FIRST_PAUSE_S

    def put(self, events: Sequence[Event]) -> bool:
        """As a feed's. While it is spilled, audio is news only to a taking side that waits for it."""
        if self.closed:
            return super().put(events)
        news = False
        if self._spilled and self._caught_up == self._spills and not self._budget.over:
            news = self._go_on(self._live)
        for event in events:
            if isinstance(event, (Frame, Gap)):
                if not self._spilled and self._spills_at(event):
                    news = self._spill()
                if self._spilled:
                    self._note(event.track, event.end, event.rate)
                    continue
                if not self._always:  # it may be dropped, and no later spill is to bring that back: it was counted
                    self._note(event.track, event.end, event.rate)
            elif isinstance(event, Ended) and self._spilled:
                for track, counters in event.tracks.items():
                    self._note(track, counters.length, counters.rate)
                self._go_on(self._live)
            news = super().put((event,)) or news
        # looked at behind the notes: who says that it has caught up, and looks at them only then, misses nothing
        return news or (self._spilled and self._caught_up == self._spills)

    def take(self) -> Event | None:
        """As a feed's. None also means that a read is on its way; ``recall`` wakes who waits for it."""
        if self._room_wanted is not None:
            self._tell_room()
        if self._ready:
            return self._ready.pop(0)
        while self._entered == self._left:
            event = self._pop()
            if event is None:
                return None
            if isinstance(event, Spill):
                self._enter(event)
            elif not isinstance(event, (Frame, Gap)) or (event := self._behind(event)) is not None:
                return self._hand_out(event)
        return self._recollect()

    def close(self, *, give_up: bool = False) -> None:
        """As a feed's; the history is let go."""
        super().close(give_up=give_up)
        self._recall.close()

    def _spills_at(self, event: Frame | Gap) -> bool:
        if isinstance(event, Gap):
            full = self._others_in - self._others_out >= OTHERS_LIMIT
        else:
            account = self._rated(event.track, event.rate)
            room = account.limit - (account.put - account.taken)
            full = self._budget.over or len(event.samples) > room
        return full and not self._recall.over and (self._always or self.idle or self._left != self._spills)

    def _spill(self) -> bool:
        self._spills += 1
        self._spilled = True
        self._queue.append(cast(Any, Spill(self._live)))
        return True

    def _go_on(self, positions: Mapping[str, int]) -> bool:
        self._spilled = False
        self._queue.append(cast(Any, Rejoin(positions)))
        return True

    def _make_room(self, account: Account, count: int, limit: int) -> int:
        return super()._make_room(account, count, limit) if self._left == self._spills else 0

    def _note(self, track: str, end: int, rate: int) -> None:
        self._rated(track, rate)
        if track in self._live:
            self._live[track] = end
        else:
            self._live = {**self._live, track: end}

    def _enter(self, spill: Spill) -> None:
        self._entered += 1
        for track, end in spill.items():
            account = self._account(track)
            if end > account.expected:
                self._ready.append(Gap(track, account.expected, end, account.rate, Cause.DROPPED))
                account.holes += end - account.expected
                account.expected = end
        ends = (account.expected / account.rate for account in self._accounts.copy().values() if account.rate)
        self._now_s = max(ends, default=0.0)
        self._pause_s = FIRST_PAUSE_S

    def _recollect(self) -> Event | None:
        """The next event while it is spilled, for the taking side."""
        self.patience = None
        while not self.closed:
            if self._ready:
                return self._ready.pop(0)
            self._sort()
            if self._waiting and self._due(self._waiting[0]):
                return self._hand_out(self._waiting.popleft())
            if self._rejoin is not None and self._reached(self._rejoin):
                if self._waiting:
                    return self._hand_out(self._waiting.popleft())
                self._rejoin = None  # what is recalled beyond it stays for another spill: the queue has it as well
                self._left = self._entered
                return self.take()
            if self._recalled:
                recalled = self._place(self._recalled.popleft())
                if recalled is not None:
                    return recalled
            elif not self._reached(self._live if self._rejoin is None else self._rejoin):
                if not self._read_on():
                    return self._ready.pop(0) if self._ready else None
            elif self._waiting:
                return self._hand_out(self._waiting.popleft())
            elif self._caught_up == self._entered:
                return None  # this was said before it looked: the next put wakes
            else:
                self._caught_up = self._entered  # and look once more
        return None

    def _read_on(self) -> bool:
        """Take what the history has answered, or ask it; False: there is nothing yet to recollect from."""
        over = self._recall.over  # asked first: behind this there is no other answer
        answer = self._recall.answer()
        if answer:
            self._recalled.extend(answer)
            self._pause_s = FIRST_PAUSE_S
            return True
        if over:
            self._give_up(self._live if self._rejoin is None else self._rejoin)
        elif answer is None:
            self._recall.ask({track: account.expected for track, account in self._accounts.copy().items()})
        else:
            self._caught_up = self._entered  # what is missing has happened, and is still being written
            self.patience = self._pause_s
            self._pause_s = min(2 * self._pause_s, LAST_PAUSE_S)
        return False

    def _sort(self) -> None:
        """Take from the queue what waits for its place in the audio, up to the Rejoin, if that has come."""
        while self._rejoin is None and (event := self._pop()) is not None:
            if isinstance(event, Rejoin):
                self._rejoin = event
            else:
                self._waiting.append(event)

    def _due(self, event: Any) -> bool:
        if isinstance(event, Discontinuity):
            return event.position <= self._expected(event.track)
        position = event.end if isinstance(event, Annotation) else event.position
        return bool(position <= self._now_s * event.rate)

    def _reached(self, positions: Mapping[str, int]) -> bool:
        return all(self._expected(track) >= end for track, end in positions.items())

    def _place(self, event: Frame | Gap) -> Event | None:
        """An event of the history, with a hole before it closed; None: it had passed."""
        account = self._account(event.track)
        expected = account.expected
        rest = rest_of(event, expected)
        if rest is None:
            return None
        account.expected = rest.end
        self._now_s = max(self._now_s, rest.end / rest.rate)
        if rest.start == expected:
            return rest
        self._ready.append(rest)
        return self._lose(rest.track, expected, rest.start, rest.rate)

    def _behind(self, event: Frame | Gap) -> Frame | Gap | None:
        """What of an event of the queue the history has not given already."""
        rest = rest_of(event, self._expected(event.track))
        if rest is event:
            return event
        if isinstance(event, Frame):
            cut = len(event.samples) - (len(rest.samples) if isinstance(rest, Frame) else 0)
            self._account(event.track).taken += cut
        elif rest is None:
            self._others_out += 1
        return rest

    def _give_up(self, positions: Mapping[str, int]) -> None:
        """The history has ended before the live audio: what is missing is lost."""
        for track, end in positions.items():
            account = self._account(track)
            if end > account.expected:
                self._ready.append(self._lose(track, account.expected, end, account.rate))
                account.expected = end

    def _lose(self, track: str, start: int, end: int, rate: int) -> Gap:
        account = self._account(track)
        account.holes += end - start
        account.lost += end - start
        return Gap(track, start, end, rate, Cause.DROPPED)

    def _pop(self) -> Event | None:
        try:
            return self._spared.pop(0) if self._spared else self._queue.popleft()
        except IndexError:
            return None
