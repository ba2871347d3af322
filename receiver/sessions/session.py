"""The session: one connection's messages in, its events out. No I/O, no clock.

    awaiting start ──start──► live ──stop, close(), error──► ended
          └────────close(), error────────────────────────────┘

Before start, whatever is wrong ends the session; after it, what is wrong with one message costs that message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import assert_never

from receiver.audio import AudioFormat, parse_format
from receiver.dialects import open_dialect
from receiver.dialects.dialect import Data
from receiver.dialects.messages import Connected, Dtmf, Mark, Media, Message, Start, Stop, Unknown
from receiver.errors import LimitExceeded, ProtocolError, ReceiverError
from receiver.events import Digit, Ended, EndReason, Event, Marked, Started, TrackCounters
from receiver.media.decoding import decoder_for
from receiver.media.timeline import AHEAD_MS, Timeline
from receiver.media.track import Track
from receiver.sessions.settings import SessionSettings
from receiver.sessions.tolerance import EARLY_MEDIA, Tolerance

UNLIMITED_AHEAD_MS = 86_400_000
"""With ``burst_s = 0`` the peer's clock may run a day ahead of ours: faster than real time, as in tests."""


class Session:
    """Reads one stream. ``at`` is always seconds on one monotonic clock, never decreasing, the time of arrival.

    After every call look at ``error``: if it is set, close the connection with its code and reason. Events returned
    together with an error are good and came before it. The last event of a stream is Ended; after it, further
    messages are ignored and every method answers with no events.
    """

    def __init__(
        self, dialect: str | None = None, *, at: float | None = None, settings: SessionSettings | None = None
    ) -> None:
        """``dialect`` overrules the settings' one; ``at`` is when the connection was accepted, else the first call."""
        self.settings = settings or SessionSettings()
        self.started: Started | None = None
        self.ended: Ended | None = None
        self.error: ProtocolError | None = None
        self.reason: EndReason | None = None
        """How it ended, also where no stream had started."""
        self.kinds: Counter[str] = Counter()
        """Messages received, by kind; the owner may read and clear it at any time."""
        self._last_media_at = 0.0
        self._accepted_at = at
        self._started_at = 0.0
        self._dialect = open_dialect(dialect or self.settings.dialect)
        self._tolerance = Tolerance(self.settings.bad_messages)
        self._connected = False
        self._stop_received = False
        self._tracks: dict[str, Track] = {}
        self._rejected = self._oversized = 0

    def receive(self, batch: Sequence[Data], at: float) -> list[Event]:
        """Read messages, in the order of their arrival."""
        events: list[Event] = []
        if self._accepted_at is None:
            self._accepted_at = at
        parse, tracks, limit = self._dialect.parse, self._tracks, self.settings.message_bytes
        media = 0
        for data in batch:
            if self.reason is not None:
                self._tolerance.ignored["after_end"] += 1
                self.kinds["ignored"] += 1
                continue
            try:
                if len(data) > limit:
                    raise LimitExceeded(1009, f"message above {limit} bytes")
                message = parse(data)
                if type(message) is Media and (track := tracks.get(message.track)) is not None:
                    track.push(message, at)
                    media += 1
                else:
                    events += self._dispatch(message, at)
            except ProtocolError as error:
                events += self._broken(error, data, at)
        if media:
            self.kinds["media"] += media
            self._last_media_at = at
        events += self._drain(at)
        return events

    def tick(self, at: float) -> list[Event]:
        """Let time pass; call it a few times a second, also when nothing arrives."""
        if self.reason is not None:
            return []
        if self._accepted_at is None:
            self._accepted_at = at
        if self.started is None:
            if at - self._accepted_at >= self.settings.start_timeout_s:
                timeout = ProtocolError(4408, f"no start message within {self.settings.start_timeout_s:g} s")
                return self._fail(timeout, at, EndReason.START_TIMEOUT)
            return []
        idle = self.settings.idle_timeout_s
        if idle and at - self._last_media_at >= idle:
            return self.close(EndReason.IDLE, at)
        for track in self._tracks.values():
            track.tick(at)
        return self._drain(at)

    def close(self, reason: EndReason, at: float) -> list[Event]:
        """End the stream, because the connection did or because we do. Answers with its last events, once."""
        if self.reason is not None:
            return []
        self.reason = reason
        if self.started is None:
            return []
        events: list[Event] = []
        for track in self._tracks.values():
            track.finish(at)
            events += track.drain()
        self._bad_media(at)  # to have them counted: it is too late for a verdict
        self.ended = Ended(
            reason=reason,
            stop_received=self._stop_received,
            tracks=self.counters,
            ignored={kind: count for kind, count in self._tolerance.ignored.items() if count},
            error=self.error.reason if self.error else None,
            close_code=self.error.code if self.error else None,
        )
        events.append(self.ended)
        return events

    @property
    def counters(self) -> dict[str, TrackCounters]:
        """What became of every media message so far, by track."""
        return {name: track.counters() for name, track in self._tracks.items()}

    def _dispatch(self, message: Message, at: float) -> list[Event]:
        """Everything but media on a known track, which ``receive`` hands on itself."""
        self.kinds[type(message).__name__.lower()] += 1
        match message:
            case Media():
                return self._first_media(message, at)
            case Start():
                return self._start(message, at)
            case Dtmf():
                return self._digit(message)
            case Mark():
                position, rate = self._here()
                return [] if self._too_early("mark") else [Marked(message.name, position, rate)]
            case Stop():
                if self.started is None:
                    raise ProtocolError(1008, "stop before start")
                self._stop_received = True
                return self.close(EndReason.STOP, at)
            case Connected():
                self._tolerance.ignored["second_connected"] += self._connected
                self._connected = True
            case Unknown():
                self._tolerance.ignored["unknown_event"] += 1
            case _:
                assert_never(message)
        return []

    def _start(self, message: Start, at: float) -> list[Event]:
        if self.started is not None:
            if message.stream_id != self.started.stream_id or message.call_id != self.started.call_id:
                raise _Fatal(1008, "a second start with other ids")
            self._tolerance.ignored["second_start"] += 1
            return []
        settings = self.settings
        found = message.format
        audio, defaulted = parse_format(found.encoding, found.rate, found.channels, aliases=settings.encodings)
        self._tolerance.ignored["start_defect"] += message.defects + defaulted
        self._tolerance.ignored["start_before_connected"] += not self._connected
        ahead_ms = int(settings.burst_s * 1000) or UNLIMITED_AHEAD_MS
        self._started_at = at
        self._timeline = Timeline(at, ahead_ms=max(ahead_ms, AHEAD_MS))
        self._last_media_at = at
        started = Started(
            dialect=self._dialect.name,
            stream_id=message.stream_id,
            call_id=message.call_id,
            account_id=message.account_id,
            tracks=message.tracks,
            format=audio,
            parameters=message.parameters,
        )
        for name in message.tracks[: settings.tracks]:
            self._open(name, audio)
        self.started = started
        return [started]

    def _first_media(self, message: Media, at: float) -> list[Event]:
        """Media that has no track yet."""
        if self.started is None:
            self._tolerance.ignored["early_media"] += 1
            if not self._connected or self._tolerance.ignored["early_media"] > EARLY_MEDIA:
                raise ProtocolError(1008, "media before start")
            return []
        if len(self._tracks) >= self.settings.tracks:
            raise LimitExceeded(1008, f"more than {self.settings.tracks} tracks")
        self._tolerance.ignored["unannounced_track"] += 1
        self._open(message.track, self.started.format).push(message, at)
        self._last_media_at = at
        return []

    def _open(self, name: str, audio: AudioFormat) -> Track:
        order = self.settings.l16_byte_order or self._dialect.l16_byte_order
        try:
            decoder = decoder_for(audio, l16_byte_order=order)
        except ProtocolError:
            raise
        except ReceiverError as error:
            raise ProtocolError(4415, str(error)) from error
        track = Track(
            name,
            decoder,
            self._timeline,
            counters=self.settings.counters,
            own_zero=self.settings.own_zero,
            payload_bytes=self.settings.payload_bytes,
        )
        self._tracks[name] = track
        return track

    def _digit(self, message: Dtmf) -> list[Event]:
        if self._too_early("dtmf"):
            return []
        position, rate = self._here()
        return [Digit(message.digit, position, rate, message.duration_ms, message.track)]

    def _too_early(self, kind: str) -> bool:
        if self.started is None:
            self._tolerance.ignored[f"early_{kind}"] += 1
        return self.started is None

    def _here(self) -> tuple[int, int]:
        """The position where the stream's audio is, and its rate."""
        tracks = self._tracks.values()
        return max((track.cursor for track in tracks), default=0), self.started.format.rate if self.started else 0

    def _drain(self, at: float) -> list[Event]:
        """What the tracks made of a batch, and whether it was too much or too bad."""
        if self.reason is not None:
            return []
        events: list[Event] = []
        burst = self.settings.burst_s
        flood = False
        for track in self._tracks.values():
            events += track.drain()
            flood |= burst > 0 and track.audio > track.rate * (at - self._started_at + burst)
        if (error := self._bad_media(at)) is not None:
            return events + self._fail(error, at)
        if flood:
            return events + self._fail(LimitExceeded(4429, f"audio more than {burst:g} s ahead of the clock"), at)
        return events

    def _bad_media(self, at: float) -> ProtocolError | None:
        """Count the payloads that the tracks have rejected since the last time."""
        rejected = oversized = 0
        for track in self._tracks.values():
            rejected += track.rejected
            oversized += track.oversized
        if rejected == self._rejected:
            return None
        large, self._oversized = oversized - self._oversized, oversized
        bad, self._rejected = rejected - self._rejected - large, rejected
        forgive = self._tolerance.forgive
        too_large = LimitExceeded(1009, f"payload above {self.settings.payload_bytes} bytes or 1 s of audio")
        unreadable = ProtocolError(1007, "media payload cannot be decoded")
        return (forgive(too_large, "oversized", at, large) if large else None) or (
            forgive(unreadable, "rejected_media", at, bad) if bad else None
        )

    def _broken(self, error: ProtocolError, data: Data, at: float) -> list[Event]:
        self.kinds["unreadable"] += 1
        if self.started is not None and not isinstance(error, _Fatal):
            kind = "binary" if isinstance(data, bytes) else "oversized" if error.code == 1009 else "unreadable"
            verdict = self._tolerance.forgive(error, kind, at)
            if verdict is None:
                return []
            error = verdict
        return self._fail(error, at)

    def _fail(self, error: ProtocolError, at: float, reason: EndReason = EndReason.ERROR) -> list[Event]:
        self.error = error
        return self.close(reason, at)


class _Fatal(ProtocolError):
    """Ends a stream that is live, too."""
