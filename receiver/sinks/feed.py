"""A feed: one sink's bounded queue on one stream.

One thread puts (the one that reads the sockets), one takes (the sink's loop, or the thread of a plain sink). Every
counter is written by one side only, so neither ever waits for the other. What does not fit is left out, and the taking
side closes the hole with a Gap of cause DROPPED: the sink sees a perfect tiling, whatever was dropped, and also when
it came in the middle of the stream.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeGuard

from receiver.events import Cause, Ended, Event, Frame, Gap, Passing, Started, TrackCounters
from receiver.sinks.budget import Budget

Overflow = Literal["drop_newest", "drop_oldest", "spill"]

OTHERS_LIMIT = 10_000
"""How many events that hold no audio (gaps, digits, marks, annotations) may wait in a feed."""

PASSING_LIMIT = 1_000
"""Of them: beyond this, annotations that are not kept are left out, and counted nowhere."""

EVENT_BYTES = 200
"""What an event costs beside its samples, about."""


class Account:
    """What a feed knows of one track. Each field is written by one side; made by whichever comes to the track first."""

    __slots__ = ("began", "dropped", "expected", "holes", "limit", "lost", "put", "rate", "taken")

    def __init__(self) -> None:
        # written by the putting side
        self.rate = 0  # not known yet
        self.began = 0  # where the first event of the track started that was put
        self.limit = 0  # samples: how many may wait
        self.put = 0  # samples, those that were evicted taken off
        self.dropped = 0
        # written by the taking side
        self.taken = 0
        self.expected = 0  # where the next event is to start
        self.holes = 0  # samples before that which were closed with a Gap of cause DROPPED
        self.lost = 0  # of them, those that the putting side knows nothing of


class Feed:
    """One sink's bounded queue on one stream. To ``spill`` takes a SpillingFeed: this one drops the newest instead.

    ``buffer_s`` bounds the audio of each track on its own; a gap holds no audio and is only counted. Of a frame that
    fits in part, that part is kept: its beginning with ``drop_newest``, its end with ``drop_oldest``. With
    ``drop_oldest`` making room for one track may drop older audio of another.
    """

    patience: float | None = None
    """When ``take`` had nothing: in how many seconds it is to be asked again, also without any news."""

    def __init__(self, budget: Budget, *, buffer_s: float, overflow: Overflow = "drop_newest") -> None:
        self._budget = budget
        self._buffer_s = buffer_s
        self._drop_oldest = overflow == "drop_oldest"
        self._queue: deque[Event] = deque()
        # written by the putting side
        self.ended = False
        self.events_dropped = 0
        """Events without audio that did not fit."""
        self._others_in = 0
        self._spared: list[Event] = []  # evicted events that are not to be dropped: older than all in the queue
        self._final: Mapping[str, TrackCounters] = {}  # of Ended, once that has come
        self._passed: dict[str, tuple[int, int]] = {}  # since it was closed: where each track is, and its rate
        # written by the taking side
        self.closed = False
        self.given_up = False
        """It was closed before its end by a sink that had all it wanted: what follows is not missed."""
        self.idle = False
        """Nobody takes now: the sink has failed, and is to be started again."""
        self._others_out = 0
        self._ready: list[Event] = []  # few, if any: a deque takes 760 bytes also without one
        # written by both sides, each its own fields
        self._accounts: dict[str, Account] = {}
        # written by the putting side, taken back by either
        self._room_wanted: tuple[float, Callable[[], None]] | None = None

    def put(self, events: Sequence[Event]) -> bool:
        """Append what fits, never wait; whether there is something new to take. After Ended nothing is accepted."""
        if self.closed:
            self._pass_by(events)
        if self.closed or self.ended:
            return False
        grown = False
        for event in events:
            if type(event) is Frame:
                account, count = self._accounts.get(event.track), len(event.samples)
                if account is None or account.put - account.taken + count > account.limit or self._budget.over:
                    grown = self._put_in_part(event) or grown
                    continue
                account.put += count
                self._budget.added += 2 * count + EVENT_BYTES
                self._queue.append(event)
                grown = True
            elif isinstance(event, Ended):
                self.ended = True  # before the append: whoever takes it sees that nothing follows
                self._final = event.tracks
                self._queue.append(event)
                return True
            elif isinstance(event, Started):
                continue
            elif self._others_in - self._others_out >= PASSING_LIMIT and isinstance(event, Passing):
                continue
            elif self._others_in - self._others_out >= OTHERS_LIMIT:
                self._drop(event)
            else:
                if isinstance(event, Gap) and event.track not in self._accounts:
                    self._rated(event.track, event.rate, event.start)
                self._others_in += 1
                self._queue.append(event)
                grown = True
        return grown

    def take(self) -> Event | None:
        """The next event, with holes closed; None: nothing is there now. Ended is the last."""
        if self._room_wanted is not None:
            self._tell_room()
        if self._ready:
            return self._ready.pop(0)
        if not self._queue and not self._spared:
            return None
        try:
            event = self._spared.pop(0) if self._spared else self._queue.popleft()
        except IndexError:  # it was evicted just now
            return None
        return self._hand_out(event)

    def close(self, *, give_up: bool = False) -> None:
        """Nobody takes any more: what is queued, and whatever comes, is discarded. Either side may do this.

        All of that counts as dropped, unless the sink is content with what it has (``give_up``).
        """
        self.given_up = self.given_up or (give_up and not self.closed)
        self.closed = True
        self._queue.clear()
        self._spared.clear()
        self._tell_room()

    def has_room(self, seconds: float) -> bool:
        """Whether so much more audio fits, on every track; an empty feed has room for any amount. For either side."""
        if self.closed:
            return True
        queued = self.queued_s
        fits = queued == 0 or (not self._budget.over and queued + seconds <= self._buffer_s)
        return fits and self._others_in - self._others_out <= OTHERS_LIMIT // 2

    def when_room(self, seconds: float, tell: Callable[[], None]) -> None:
        """Have ``tell`` called once, on any thread, when so much more audio fits. For the putting side.

        It has to look itself, after this, whether there is room already; ``forget_room`` takes it back.
        """
        self._room_wanted = (seconds, tell)

    def forget_room(self) -> None:
        """Nobody waits for room."""
        self._room_wanted = None

    @property
    def queued_s(self) -> float:
        """Seconds of audio waiting, on the track that has most."""
        if self.closed:
            return 0.0
        accounts = self._accounts.copy().values()
        return max(((account.put - account.taken) / account.rate for account in accounts if account.rate), default=0.0)

    @property
    def queued_bytes(self) -> int:
        """About what the feed holds. Samples that feeds share are counted for each. For the putting side."""
        if self.closed:
            return 0
        accounts = self._accounts.copy().values()
        return 2 * sum(account.put - account.taken for account in accounts) + EVENT_BYTES * len(self._queue)

    @property
    def dropped_s(self) -> dict[str, float]:
        """Seconds that the sink was not given, by track: they did not fit, or came when it had failed.

        What had passed before the feed was made is not among them.
        """
        accounts = self._accounts.copy().items()
        dropped = {track: (account.dropped + account.lost, account.rate) for track, account in accounts}
        if self.closed and not self.given_up:
            dropped |= self._missed(dropped)
        return {track: samples / rate for track, (samples, rate) in dropped.items() if samples and rate}

    def _hand_out(self, event: Event) -> Event:
        """Count an event of the queue; what is to be taken first, it or the hole before it."""
        if isinstance(event, (Frame, Gap)):
            account = self._accounts.get(event.track) or self._account(event.track)
            start, expected = event.start, account.expected
            if isinstance(event, Frame):
                count = len(event.samples)
                account.taken += count
                account.expected = start + count
            else:
                self._others_out += 1
                account.expected = event.end
            if start > expected:
                self._ready.append(event)
                account.holes += start - expected
                return Gap(event.track, expected, start, event.rate, Cause.DROPPED)
        elif isinstance(event, Ended):
            for track, counters in event.tracks.items():
                account = self._account(track)
                if counters.length > account.expected:
                    self._ready.append(Gap(track, account.expected, counters.length, counters.rate, Cause.DROPPED))
                    account.holes += counters.length - account.expected
                    account.expected = counters.length
            self._ready.append(event)
            return self._ready.pop(0)
        else:
            self._others_out += 1
        return event

    def _tell_room(self) -> None:
        wanted = self._room_wanted
        if wanted is not None and self.has_room(wanted[0]):
            self._room_wanted = None
            wanted[1]()

    def _account(self, track: str) -> Account:
        return self._accounts.setdefault(track, Account())  # both sides may come here at once: one account is kept

    def _expected(self, track: str) -> int:
        """Where the next event of a track is to start. For the taking side."""
        account = self._accounts.get(track)
        return 0 if account is None else account.expected

    def _rated(self, track: str, rate: int, start: int = 0) -> Account:
        """The account of a track, which has this rate; its first event starts at ``start``. For the putting side."""
        account = self._account(track)
        if account.rate != rate:
            account.limit = int(self._buffer_s * rate)
            account.began = start
            account.rate = rate
        return account

    def _pass_by(self, events: Sequence[Event]) -> None:
        """Remember how far a stream has come that nobody takes any more."""
        for event in events:
            if isinstance(event, (Frame, Gap)):
                self._passed[event.track] = event.end, event.rate
            elif isinstance(event, Ended):
                self._final = event.tracks

    def _missed(self, dropped: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
        """Samples, and their rate, that were never handed out of a feed that is closed. For the putting side."""
        ends = {track: (counters.length, counters.rate) for track, counters in self._final.items()} or self._passed
        missed = {}
        for track, (end, rate) in ends.items():
            account = self._account(track)
            given = account.expected - account.holes
            given -= sum(event.end - event.start for event in self._ready.copy() if _is_heard(event, track))
            missed[track] = max(end - account.began - given, dropped.get(track, (0, 0))[0]), rate
        return missed

    def _put_in_part(self, frame: Frame) -> bool:
        """Put what fits of a frame: of a track's first all, most often. Whether anything did."""
        track, count = frame.track, len(frame.samples)
        account = self._rated(track, frame.rate, frame.start)
        queued = account.put - account.taken
        limit = min(account.limit, queued) if self._budget.over else account.limit
        if queued + count > limit:
            if self._drop_oldest:
                room = self._make_room(account, count, limit)
                kept = frame.samples[count - room :]
                frame = Frame(track, frame.end - room, frame.rate, kept)
            else:
                room = min(count, max(limit - queued, 0))
                frame = Frame(track, frame.start, frame.rate, frame.samples[:room])
            account.dropped += count - room
            if room == 0:
                return False
            count = room
        account.put += count
        self._budget.added += 2 * count + EVENT_BYTES
        self._queue.append(frame)
        return True

    def _make_room(self, account: Account, count: int, limit: int) -> int:
        """Drop the oldest audio until ``count`` samples fit into ``limit``; how many fit now."""
        while account.put - account.taken > max(limit - count, 0):
            try:
                oldest = self._queue.popleft()
            except IndexError:
                break  # the taking side was faster, and has not counted yet what it took
            if isinstance(oldest, Frame):
                self._accounts[oldest.track].put -= len(oldest.samples)
                self._drop(oldest)
            elif isinstance(oldest, Gap):
                self._others_in -= 1
                self._drop(oldest)
            else:
                self._spared.append(oldest)
        return min(count, max(limit - (account.put - account.taken), 0))

    def _drop(self, event: Event) -> None:
        if isinstance(event, (Frame, Gap)):
            self._rated(event.track, event.rate, event.start).dropped += event.end - event.start
        else:
            self.events_dropped += 1


def _is_heard(event: Event, track: str) -> TypeGuard[Frame | Gap]:
    """Whether it is a part of what a track was, and not a hole in it."""
    if isinstance(event, Gap):
        return event.track == track and event.cause is not Cause.DROPPED
    return isinstance(event, Frame) and event.track == track
