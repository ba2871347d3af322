"""A feed: one sink's bounded queue on one stream.

One thread puts (the one that reads the sockets), one takes (the sink's loop, or the thread of a plain sink). Every
counter is written by one side only, so neither ever waits for the other. What does not fit is left out, and the taking
side closes the hole with a Gap of cause DROPPED: the sink sees a perfect tiling, whatever was dropped, and also when
it came in the middle of the stream.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

from receiver.events import Cause, Ended, Event, Frame, Gap, Started
from receiver.sinks.budget import Budget

Overflow = Literal["drop_newest", "drop_oldest", "spill"]

OTHERS_LIMIT = 10_000
"""How many events that hold no audio (gaps, digits, marks, annotations) may wait in a feed."""

EVENT_BYTES = 200
"""What an event costs beside its samples, about."""


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
        self._dropped: dict[str, int] = {}
        self._rates: dict[str, int] = {}  # grows by being replaced: the taking side reads it, too
        self._in: dict[str, int] = {}  # samples; put minus evicted
        self._others_in = 0
        self._spared: deque[Event] = deque()  # evicted events that are not to be dropped: older than all in the queue
        # written by the taking side
        self.closed = False
        self.idle = False
        """Nobody takes now: the sink has failed, and is to be started again."""
        self._out: dict[str, int] = {}
        self._others_out = 0
        self._expected: dict[str, int] = {}
        self._ready: deque[Event] = deque()
        # written by the putting side, taken back by either
        self._room_wanted: tuple[float, Callable[[], None]] | None = None

    def put(self, events: Sequence[Event]) -> bool:
        """Append what fits, never wait; whether there is something new to take. After Ended nothing is accepted."""
        if self.closed or self.ended:
            return False
        grown = False
        for event in events:
            if isinstance(event, Frame):
                grown = self._put_frame(event) or grown
            elif isinstance(event, Ended):
                self.ended = True  # before the append: whoever takes it sees that nothing follows
                self._queue.append(event)
                return True
            elif isinstance(event, Started):
                continue
            elif self._others_in - self._others_out >= OTHERS_LIMIT:
                self._drop(event)
            else:
                self._others_in += 1
                self._queue.append(event)
                grown = True
        return grown

    def take(self) -> Event | None:
        """The next event, with holes closed; None: nothing is there now. Ended is the last."""
        if self._room_wanted is not None:
            self._tell_room()
        if self._ready:
            return self._ready.popleft()
        try:
            event = self._spared.popleft() if self._spared else self._queue.popleft()
        except IndexError:
            return None
        return self._hand_out(event)

    def close(self) -> None:
        """Nobody takes any more: what is queued, and whatever comes, is discarded. Either side may do this."""
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
        return max((self._queued(track) / rate for track, rate in self._rates.items()), default=0.0)

    @property
    def queued_bytes(self) -> int:
        """About what the feed holds. Samples that feeds share are counted for each. For the putting side."""
        if self.closed:
            return 0
        return 2 * sum(self._queued(track) for track in self._rates) + EVENT_BYTES * len(self._queue)

    @property
    def dropped_s(self) -> dict[str, float]:
        """Seconds that did not fit, by track. What had passed before the feed was made is not among them."""
        return {track: samples / self._rates[track] for track, samples in self._dropped.items()}

    def _hand_out(self, event: Event) -> Event:
        """Count an event of the queue; what is to be taken first, it or the hole before it."""
        if isinstance(event, (Frame, Gap)):
            track = event.track
            if isinstance(event, Frame):
                self._out[track] = self._out.get(track, 0) + len(event.samples)
            else:
                self._others_out += 1
            expected = self._expected.get(track, 0)
            self._expected[track] = event.end
            if event.start > expected:
                self._ready.append(event)
                return Gap(track, expected, event.start, event.rate, Cause.DROPPED)
        elif isinstance(event, Ended):
            for track, counters in event.tracks.items():
                expected = self._expected.get(track, 0)
                if counters.length > expected:
                    self._ready.append(Gap(track, expected, counters.length, counters.rate, Cause.DROPPED))
            self._ready.append(event)
            return self._ready.popleft()
        else:
            self._others_out += 1
        return event

    def _tell_room(self) -> None:
        wanted = self._room_wanted
        if wanted is not None and self.has_room(wanted[0]):
            self._room_wanted = None
            wanted[1]()

    def _set_rate(self, track: str, rate: int) -> None:
        self._rates = {**self._rates, track: rate}

    def _queued(self, track: str) -> int:
        return self._in.get(track, 0) - self._out.get(track, 0)

    def _put_frame(self, frame: Frame) -> bool:
        track, count = frame.track, len(frame.samples)
        if self._rates.get(track) != frame.rate:
            self._set_rate(track, frame.rate)
        queued = self._queued(track)
        limit = int(self._buffer_s * frame.rate)
        if self._budget.over:
            limit = min(limit, queued)
        if queued + count > limit:
            if self._drop_oldest:
                room = self._make_room(track, count, limit)
                kept = frame.samples[count - room :]
                frame = Frame(track, frame.end - room, frame.rate, kept)
            else:
                room = min(count, max(limit - queued, 0))
                frame = Frame(track, frame.start, frame.rate, frame.samples[:room])
            if room < count:
                self._dropped[track] = self._dropped.get(track, 0) + count - room
            if room == 0:
                return False
            count = room
        self._in[track] = self._in.get(track, 0) + count
        self._budget.added += 2 * count + EVENT_BYTES
        self._queue.append(frame)
        return True

    def _make_room(self, track: str, count: int, limit: int) -> int:
        """Drop the oldest audio until ``count`` samples fit into ``limit``; how many fit now."""
        while self._queued(track) > max(limit - count, 0):
            try:
                oldest = self._queue.popleft()
            except IndexError:
                break  # the taking side was faster, and has not counted yet what it took
            if isinstance(oldest, Frame):
                self._in[oldest.track] -= len(oldest.samples)
                self._drop(oldest)
            elif isinstance(oldest, Gap):
                self._others_in -= 1
                self._drop(oldest)
            else:
                self._spared.append(oldest)
        return min(count, max(limit - self._queued(track), 0))

    def _drop(self, event: Event) -> None:
        if isinstance(event, (Frame, Gap)):
            self._set_rate(event.track, event.rate)
            self._dropped[event.track] = self._dropped.get(event.track, 0) + event.end - event.start
        else:
            self.events_dropped += 1
