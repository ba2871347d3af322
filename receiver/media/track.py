"""A track: one direction of audio, placed. Timestamps place, counters accuse.

A frame's place is first reckoned from the counters: after the last frame, and as many packets further as are missing.
If its stamp agrees within JITTER_MS the reckoning stands, exact to the sample; beyond that the stamp rules, and what it
leaves open is UNSENT. Nothing is ever taken back: audio whose stamp lies behind the cursor follows the cursor, and by
how much it lags is reported as ``skew_ms`` until a gap absorbs it.
"""

from __future__ import annotations

from receiver.dialects.messages import Media
from receiver.events import Cause, Discontinuity, Event, Gap, TrackCounters
from receiver.media.decoder import Decoder
from receiver.media.reorder import WINDOW, Reorder, Verdict
from receiver.media.run import Run
from receiver.media.timeline import JITTER_MS, Timeline

BELATED_S = 5.0
"""Seconds after a pause in which packets may still come that were sent during it, also behind newer ones."""


class Track:
    """Takes the packets of one track in any order and returns its tiling.

    ``payload_bytes`` bounds one packet; a packet of more than a second of audio is rejected as well.
    ``counters=False`` ignores the peer's chunks; ``own_zero`` starts this track's clock when its first packet arrives.
    """

    __slots__ = (  # more attributes than instances of a class share the names of: 1.2 kB for each track
        "_away_s",
        "_counters",
        "_decoder",
        "_discontinuities",
        "_duplicate",
        "_events",
        "_gaps",
        "_heard_at",
        "_heard_from",
        "_heard_until_ms",
        "_jitter",
        "_last_ms",
        "_late",
        "_most",
        "_order",
        "_owed",
        "_own_zero",
        "_paused_at",
        "_payload_bytes",
        "_payloads",
        "_peak_ms",
        "_received",
        "_restarted",
        "_resumed_at",
        "_run",
        "_skew",
        "_smooth",
        "_timeline",
        "_unit",
        "_unit_bytes",
        "_unreadable",
        "_unstamped",
        "_was_paused",
        "_zero_ms",
        "_zeroed",
        "cursor",
        "held",
        "name",
        "oversized",
        "rate",
    )

    def __init__(
        self,
        name: str,
        decoder: Decoder,
        timeline: Timeline,
        *,
        counters: bool = True,
        own_zero: bool = False,
        payload_bytes: int = 32_768,
    ) -> None:
        self.name = name
        self.rate = rate = decoder.rate
        self.cursor = 0
        """Samples: where the tiling ends so far."""
        self.oversized = 0
        """Packets above the limits, as of the last ``drain``; they count as rejected."""
        self._decoder = decoder
        self._unit_bytes = unit = decoder.unit_bytes
        self._most = min(rate, payload_bytes // unit) if unit else rate  # samples of one packet
        self._timeline = timeline
        self._counters = counters
        self._own_zero = own_zero
        self._payload_bytes = payload_bytes
        self._jitter = JITTER_MS * rate // 1000
        self._order = Reorder()
        self.held = self._order.held
        """What waits for a missing packet, by chunk: to be looked at, to see whether anything does."""
        self._smooth = False  # nothing waits, nothing is owed: the next packet just follows
        self._zeroed = False
        self._zero_ms = 0
        self._last_ms = 0
        self._peak_ms = 0  # the latest stamp before the last one, where that went back a little
        self._unit = 0  # samples of the last packet: what a missing one is reckoned at
        self._owed: list[tuple[Cause, int]] = []  # packets missing between the cursor and the next frame
        self._restarted = False
        self._paused_at: float | None = None
        self._away_s = 0.0  # how long it was paused, until the first frame after that is placed
        self._resumed_at = 0.0
        self._was_paused = False  # since the last frame
        self._heard_at: float | None = None  # when its last packet came
        self._heard_from: int | None = None  # samples: what was sent until the end of a pause lies before
        self._heard_until_ms: int | None = None  # the last stamp before it
        self._run = Run(name, decoder)  # consecutive packets, not yet decoded, that end at the cursor
        self._payloads = self._run.payloads
        self._events: list[Event] = []
        self._gaps: dict[str, int] = {}
        self._received = self._duplicate = self._late = self._unreadable = 0
        self._unstamped = self._discontinuities = 0
        self._skew = 0

    def push(self, media: Media, at: float) -> None:
        """Take one packet; call ``drain`` when the batch is through."""
        self._received += 1
        self._heard_at = at
        chunk, stamp, payload = media.chunk, media.timestamp, media.payload
        order = self._order
        # The way of nearly every packet: the next chunk, about where its stamp says. Everything else is sorted.
        if self._smooth and chunk == order.expected and chunk is not None and stamp is not None and payload:
            unit_bytes = self._unit_bytes
            samples = len(payload) // unit_bytes if unit_bytes else self._samples_of(payload)
            ahead = (stamp - self._zero_ms) * self.rate // 1000 - self.cursor
            if ahead < self._jitter and stamp >= self._last_ms and 0 < samples <= self._most:
                order.expected = chunk + 1
                if -ahead > self._skew:
                    self._skew = -ahead
                self._last_ms = stamp
                self._unit = samples
                self._payloads.append(payload)
                self.cursor += samples
                return
        self._sort(media, at)
        self._smooth = self._counters and self._zeroed and not order.held and not self._owed

    def tick(self, at: float) -> None:
        """Let packets go that waited long enough for a missing one: each as of its own deadline, not as of ``at``.

        So it makes no difference how often this is called, as long as it is before anything else at that time.
        """
        while (deadline := self._order.deadline) is not None and deadline <= at:
            self._take(deadline)
            self._smooth = False

    @property
    def deadline(self) -> float | None:
        """When ``tick`` has something to do; None while nothing waits."""
        return self._order.deadline

    def pause(self, at: float) -> None:
        """From here on nothing is to be known of this track. What waits is placed: it came before."""
        if self._paused_at is None:
            self._take(at, everything=True)
            self._settle_owed()
            if self._away_s:  # nothing came between two pauses: they are one
                self._away_s += at - self._resumed_at
            if not self.wary(at):
                self._heard_until_ms = self._last_ms if self._zeroed else None
            self._paused_at = at
            self._was_paused = True
            self._smooth = False

    def resume(self, at: float) -> None:
        """It is heard again: the next frame goes where its stamp puts it, and what lies before is PAUSED."""
        if self._paused_at is not None:
            self._away_s += at - self._paused_at
            self._resumed_at = at
            self._paused_at = None
            since = self._timeline.elapsed_ms(at)
            if self._heard_at is not None:
                since -= self._timeline.elapsed_ms(self._heard_at)
            self._heard_from = self.cursor + since * self.rate // 1000 - self._jitter

    def join(self, resumed_at: float | None = None) -> None:
        """It opens on a stream that was paused before: what lies before its first frame is PAUSED as well.

        ``resumed_at`` is when the whole of the stream was heard again, if all of it was paused.
        """
        self._was_paused = True
        if resumed_at is not None:
            self._resumed_at = resumed_at
            self._heard_from = self._timeline.elapsed_ms(resumed_at) * self.rate // 1000 - self._jitter

    def wary(self, at: float) -> bool:
        """Whether packets of a pause may still come: ask ``belated`` about each."""
        return self._heard_from is not None and at - self._resumed_at < BELATED_S

    def belated(self, stamp: int | None, at: float) -> bool:
        """Whether a packet that comes after a pause was sent during it, and held up on its way: nobody is to hear it.

        Believed for BELATED_S only: a peer's clock may also have stood still meanwhile.
        """
        if self._heard_from is None or stamp is None or not self.wary(at):
            return False
        if self._zeroed:
            position_ms: int | None = stamp - self._zero_ms
        else:
            position_ms = None if self._own_zero else self._timeline.position_ms(stamp, at)
        if position_ms is None or (self._heard_until_ms is not None and stamp < self._heard_until_ms):
            return False
        return position_ms * self.rate // 1000 < self._heard_from

    def finish(self, at: float) -> None:
        """Let everything go: no packet will follow."""
        self._take(at, everything=True)
        self._settle_owed()
        self.resume(at)
        self._settle(self.cursor + round(self._away_s * self.rate))

    def drain(self) -> list[Event]:
        """What happened since the last call: Frame, Gap and Discontinuity, in order."""
        events, self._events = self._events, []
        if self._payloads:
            events += self._run.decode(self.cursor)
        return events

    @property
    def audio(self) -> int:
        """Samples of audio, as of the last ``drain``."""
        return self._run.audio

    @property
    def rejected(self) -> int:
        """Packets that were there and could not be decoded, as of the last ``drain``."""
        return self._unreadable + self._run.damaged

    def counters(self) -> TrackCounters:
        """What became of every message so far, as of the last ``drain``; of one that waits, nothing has yet."""
        run = self._run
        gaps = dict(self._gaps)
        if run.damaged_samples:
            gaps[Cause.REJECTED] = gaps.get(Cause.REJECTED, 0) + run.damaged_samples
        return TrackCounters(
            rate=self.rate,
            length=self.cursor,
            samples=run.audio,
            received=self._received - len(self.held),
            placed=run.placed,
            duplicate=self._duplicate,
            late=self._late,
            rejected=self.rejected,
            reordered=self._order.reordered,
            trimmed=run.trimmed,
            unstamped=self._unstamped,
            discontinuities=self._discontinuities,
            skew_ms=self._skew * 1000 // self.rate,
            gaps=gaps,
        )

    def _sort(self, media: Media, at: float) -> None:
        chunk = media.chunk if self._counters else None
        if self._was_paused and chunk is not None and chunk >= (self._order.expected or 0):
            self._order.resume(chunk)  # what is missing nobody was to hear
        if chunk is None or self._absurd(chunk, media.timestamp):  # no counter: it is taken to be next
            self._take(at, everything=True)
            self._order.expected = (self._order.expected or 1) + 1
            self._place(media, at, counted=False)
            return
        verdict = self._order.put(chunk, media, at)
        if verdict is Verdict.RESTART:
            self._take(at, everything=True)
            self._order.resume(chunk)
            self._restarted = True
            verdict = self._order.put(chunk, media, at)
        if verdict is not Verdict.QUEUED and self._advances(media.timestamp):
            self._place(media, at, counted=False)  # whatever its counter says, nobody has heard this yet
        elif verdict is Verdict.DUPLICATE:
            self._duplicate += 1
        elif verdict is Verdict.LATE:
            self._late += 1
        self._take(at)

    def _absurd(self, chunk: int, stamp: int | None) -> bool:
        """Whether a counter leaps ahead and the stamp says that no such time has passed."""
        expected = self._order.expected
        if expected is None or stamp is None or chunk - expected <= WINDOW:
            return False
        return (stamp - self._last_ms) * self.rate // 1000 < (chunk - expected) * self._unit // 2

    def _advances(self, stamp: int | None) -> bool:
        """Whether a stamp is beyond all that was placed, by half a packet at least, and nothing waits to be placed."""
        half_ms = self._unit * 500 // self.rate
        last_ms = max(self._last_ms, self._peak_ms)
        return self._zeroed and stamp is not None and not self._order.held and stamp > last_ms + half_ms

    def _take(self, at: float, *, everything: bool = False) -> None:
        while (taken := self._order.take(at, everything=everything)) is not None:
            missing, media = taken
            if missing:
                self._owed.append((Cause.LOST, missing))
            self._place(media, at, counted=True)

    def _place(self, media: Media, at: float, *, counted: bool) -> None:
        payload, stamp = media.payload, media.timestamp
        samples = self._samples_of(payload) if payload else 0
        if not payload or not 0 < samples <= self._most:
            self._unreadable += 1
            self.oversized += samples > self._most
            self._owed.append((Cause.REJECTED, 1))
            return
        if stamp is None or media.chunk is None:
            self._unstamped += 1
        unit = self._unit = self._unit or samples
        position = self.cursor + sum(count for _, count in self._owed) * unit
        if stamp is None:
            position += round(self._away_s * self.rate)
        if stamp is not None:
            position = self._position(position, stamp, self._jitter if counted else samples // 2, at)
        elif position * 1000 > self._timeline.latest_ms(at) * self.rate:
            position = self._discontinue(None, at)
        self._settle(position)
        self._was_paused = False
        self._away_s = 0.0
        self._unit = samples
        self._payloads.append(payload)
        self.cursor += samples

    def _position(self, reckoned: int, stamp: int, tolerance: int, at: float) -> int:
        """Where a frame goes that the counters put at ``reckoned`` and whose stamp is ``stamp``."""
        if not self._zeroed:
            self._zeroed = True
            self._last_ms = self._peak_ms = stamp
            zero = self._timeline.zero_ms(stamp, at)
            self._zero_ms = stamp - self._timeline.elapsed_ms(at) if self._own_zero else zero
        stamped = (stamp - self._zero_ms) * self.rate // 1000
        position = reckoned if abs(stamped - reckoned) < tolerance else max(self.cursor, stamped)
        backwards = stamp < self._last_ms - 2 * JITTER_MS  # either stamp may be off by less than one
        if self._restarted or backwards or position * 1000 > self._timeline.latest_ms(at) * self.rate:
            return self._discontinue(stamp, at)
        self._skew = max(self._skew, position - stamped)
        self._peak_ms = max(self._peak_ms, self._last_ms)
        self._last_ms = stamp
        return position

    def _discontinue(self, stamp: int | None, at: float) -> int:
        """Nothing explains where the peer's clock went: go on where our own clock is, and count from there."""
        position = max(self.cursor, self._timeline.elapsed_ms(at) * self.rate // 1000)
        self._events += self._run.decode(self.cursor)
        before = self._last_ms if self._zeroed else None
        self._events.append(Discontinuity(self.name, position, self.rate, before, stamp))
        self._discontinuities += 1
        self._restarted = False
        if stamp is not None:
            self._zeroed = True
            self._zero_ms = stamp - position * 1000 // self.rate
            self._last_ms = self._peak_ms = stamp
        return position

    def _settle(self, position: int) -> None:
        """Close the span between the cursor and ``position`` with gaps, each with its cause."""
        for cause, count in self._owed:
            self._gap(min(self.cursor + count * self._unit, position), cause)
        self._owed.clear()
        self._gap(position, Cause.PAUSED if self._was_paused else Cause.UNSENT)

    def _settle_owed(self) -> None:
        self._settle(self.cursor + sum(count for _, count in self._owed) * self._unit)

    def _gap(self, end: int, cause: Cause) -> None:
        if end <= self.cursor:
            return
        self._events += self._run.decode(self.cursor)
        self._events.append(Gap(self.name, self.cursor, end, self.rate, cause))
        self._gaps[cause] = self._gaps.get(cause, 0) + end - self.cursor
        if cause is not Cause.UNSENT:
            self._decoder.conceal(end - self.cursor)
        self.cursor = end

    def _samples_of(self, payload: bytes) -> int:
        """Samples of a packet; 0 for one that cannot be decoded, and more than ``_most`` for one that is too large."""
        if len(payload) > self._payload_bytes:
            return self._most + 1
        return self._decoder.samples_in(payload) or 0
