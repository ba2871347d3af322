"""A feed: one sink's bounded queue on one stream.

One thread puts (the one that reads the sockets), one takes (the sink's loop, or the thread of a plain sink). Every
counter is written by one side only, so neither ever waits for the other. What does not fit is left out, and the taking
side closes the hole with a Gap of cause DROPPED: the sink sees a perfect tiling, whatever was dropped, and also when
it came in the middle of the stream.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Literal

from receiver.events import Cause, Ended, Event, Frame, Gap, Started

Overflow = Literal["drop_newest", "drop_oldest"]

OTHERS_LIMIT = 10_000
"""How many events that hold no audio (gaps, digits, marks, annotations) may wait in a feed."""

EVENT_BYTES = 200
"""What an event costs beside its samples, about."""


class Budget:
    """What all feeds together may hold. Used by the putting thread only.

    Counting every feed on every hand-over would be dear at thousands of streams, so what was put since the last count
    is added to it, and the feeds are counted again only when that sum passes the limit.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.added = 0
        self.over = False
        """While true, feeds grow no further."""
        self._counted = 0

    @property
    def due(self) -> bool:
        """Whether the feeds must be counted again."""
        return self.over or self._counted + self.added > self.limit_bytes

    def counted(self, total_bytes: int) -> None:
        """Take a new count of all feeds."""
        self._counted = total_bytes
        self.added = 0
        self.over = total_bytes > self.limit_bytes


class Feed:
    """One sink's bounded queue on one stream.

    ``buffer_s`` bounds the audio of each track on its own; a gap holds no audio and is only counted. Of a frame that
    fits in part, that part is kept: its beginning with ``drop_newest``, its end with ``drop_oldest``. With
    ``drop_oldest`` making room for one track may drop older audio of another.
    """

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
        self._rates: dict[str, int] = {}
        self._in: dict[str, int] = {}  # samples; put minus evicted
        self._others_in = 0
        self._spared: deque[Event] = deque()  # evicted events that are not to be dropped: older than all in the queue
        # written by the taking side
        self.closed = False
        self._out: dict[str, int] = {}
        self._others_out = 0
        self._expected: dict[str, int] = {}
        self._ready: deque[Event] = deque()

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
        if self._ready:
            return self._ready.popleft()
        event = self._pop()
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
        elif event is not None:
            self._others_out += 1
        return event

    def close(self) -> None:
        """Nobody takes any more: what is queued, and whatever comes, is discarded. Either side may do this."""
        self.closed = True
        self._queue.clear()
        self._spared.clear()

    @property
    def queued_s(self) -> float:
        """Seconds of audio waiting, on the track that has most. For the putting side, as are the next two."""
        if self.closed:
            return 0.0
        return max((self._queued(track) / rate for track, rate in self._rates.items()), default=0.0)

    @property
    def queued_bytes(self) -> int:
        """About what the feed holds. Samples that feeds share are counted for each."""
        if self.closed:
            return 0
        return 2 * sum(self._queued(track) for track in self._rates) + EVENT_BYTES * len(self._queue)

    @property
    def dropped_s(self) -> dict[str, float]:
        """Seconds that did not fit, by track. What had passed before the feed was made is not among them."""
        return {track: samples / self._rates[track] for track, samples in self._dropped.items()}

    def _queued(self, track: str) -> int:
        return self._in.get(track, 0) - self._out.get(track, 0)

    def _put_frame(self, frame: Frame) -> bool:
        track, count = frame.track, len(frame.samples)
        self._rates[track] = frame.rate
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
            self._rates.setdefault(event.track, event.rate)
            self._dropped[event.track] = self._dropped.get(event.track, 0) + event.end - event.start
        else:
            self.events_dropped += 1

    def _pop(self) -> Event | None:
        try:
            return self._spared.popleft() if self._spared else self._queue.popleft()
        except IndexError:
            return None
