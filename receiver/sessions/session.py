"""The session: one connection's messages in, its events out. No I/O, no clock.

    awaiting start ──start──► live ──stop, close(), error──► ended
          └────────close(), error────────────────────────────┘

Before start, whatever is wrong ends the session; after it, what is wrong with one message costs that message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import assert_never

from receiver.audio import parse_format
from receiver.dialects import open_dialect
from receiver.dialects.dialect import Data
from receiver.dialects.messages import Connected, Dtmf, Mark, Media, Message, Start, Stop, Unknown
from receiver.errors import LimitExceeded, ProtocolError
from receiver.events import Digit, Ended, EndReason, Event, Marked, Started, TrackCounters
from receiver.sessions.settings import SessionSettings
from receiver.sessions.tolerance import EARLY_MEDIA, Tolerance
from receiver.sessions.tracks import Tracks
from receiver.sessions.withholding import storable, withholds


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
        self.kept: list[Data | int] | None = None
        """What may be stored of the messages, once the owner has put a list here, who reads and clears it.

        Messages as they came; of a withheld one its size, and a pressed key is masked where the settings say so.
        """
        self._last_media_at = 0.0
        self._accepted_at = at
        self._dialect = open_dialect(dialect or self.settings.dialect)
        self._tolerance = Tolerance(self.settings.bad_messages)
        self._connected = False
        self._stop_received = False
        self._tracks: Tracks | None = None  # before the start
        self._withheld_tracks: tuple[str, ...] | None = ()
        self._rejected = self._oversized = 0

    def receive(self, batch: Sequence[Data], at: float) -> list[Event]:
        """Read messages, in the order of their arrival."""
        if self._accepted_at is None:
            self._accepted_at = at
        limit = self.settings.message_bytes
        events = self._release(at)  # what has waited too long by now is not to be saved by what comes now
        heard = {} if self._tracks is None else self._tracks.heard
        kept, dialect = self.kept, self._dialect
        media = 0
        for data in batch:
            if self.reason is not None:
                self._tolerance.ignored["after_end"] += 1
                self.kinds["ignored"] += 1
                continue
            message: Message | None = None
            try:
                if len(data) > limit:
                    raise LimitExceeded(1009, f"message above {limit} bytes")
                message = dialect.parse(data)
                if type(message) is Media and (track := heard.get(message.track)) is not None:
                    if kept is not None:
                        kept.append(data)
                    track.push(message, at)
                    media += 1
                else:
                    self._keep(message, data, at)
                    events += self._dispatch(message, at)
                    heard = {} if self._tracks is None else self._tracks.heard
            except ProtocolError as error:
                if message is None:
                    self.kinds["unreadable"] += 1
                    self._keep(None, data, at)
                    if withholds(self._tracks, None, at):
                        events += self._withheld()
                        continue
                events += self._broken(error, data, at)
            except Exception:
                if message is None:  # what our own reader fails on is what somebody will want to see
                    self._keep(None, data, at)
                raise
        if media:
            self.kinds["media"] += media
            self._last_media_at = at
        events += self._drain(at)
        return events

    def receive_kept(self, kept: Sequence[Data | int], at: float) -> list[Event]:
        """Read what was kept of messages: a number stands for one that was withheld."""
        data = [one for one in kept if not isinstance(one, int)]
        if self._tracks is not None and len(data) < len(kept):
            self._last_media_at = at
            self._tolerance.ignored["paused"] += len(kept) - len(data)
        return self.receive(data, at)

    def withhold(self, tracks: tuple[str, ...] | None, at: float) -> list[Event]:
        """From here on let nothing of these tracks become known: None stands for all of the stream, () for nothing.

        What was received before is placed; a withheld message is read only for what it is, and counted. Its place on
        the timeline is a gap of cause PAUSED. With any track withheld, so are keys that may have been pressed on it.
        """
        if self.reason is not None:
            return []
        self._withheld_tracks = tracks
        events = self._release(at)
        if self._tracks is not None and self.reason is None:
            self._tracks.withhold(tracks, at)
            events += self._drain(at)
        return events

    def tick(self, at: float) -> list[Event]:
        """Let time pass; call it a few times a second, also when nothing arrives."""
        if self.reason is not None:
            return []
        if self._accepted_at is None:
            self._accepted_at = at
        if self._tracks is None:
            if at - self._accepted_at >= self.settings.start_timeout_s:
                timeout = ProtocolError(4408, f"no start message within {self.settings.start_timeout_s:g} s")
                return self._fail(timeout, at, EndReason.START_TIMEOUT)
            return []
        idle = self.settings.idle_timeout_s
        if idle and at - self._last_media_at >= idle:
            return self.close(EndReason.IDLE, at)
        return self._release(at)

    def close(self, reason: EndReason, at: float) -> list[Event]:
        """End the stream, because the connection did or because we do. Answers with its last events, once."""
        events = self._release(at)
        if self.reason is not None:
            return events
        self.reason = reason
        if self._tracks is None:
            return events
        self._tracks.finish(at)
        events += self._tracks.drain()
        self._bad_media(self._tracks, at)  # to have them counted: it is too late for a verdict
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
        return {} if self._tracks is None else self._tracks.counters

    @property
    def positions(self) -> dict[str, tuple[int, int]]:
        """Where each track is: samples, and their rate."""
        return {} if self._tracks is None else self._tracks.positions

    def _dispatch(self, message: Message, at: float) -> list[Event]:
        """Everything but media on a known track, which ``receive`` hands on itself."""
        self.kinds[type(message).__name__.lower()] += 1
        match message:
            case Media():
                return self._first_media(message, at)
            case Start():
                return self._start(message, at)
            case Dtmf():
                if self._tracks is None:
                    return self._too_early("dtmf")
                if withholds(self._tracks, message, at):
                    return self._withheld()
                return [Digit(message.digit, *self._tracks.here(at), message.duration_ms, message.track)]
            case Mark():
                if self._tracks is None:
                    return self._too_early("mark")
                if withholds(self._tracks, message, at):
                    return self._withheld()
                return [Marked(message.name, *self._tracks.here(at))]
            case Stop():
                if self.started is None:
                    raise ProtocolError(1008, "stop before start")
                self._stop_received = True
                return self.close(EndReason.STOP, at)
            case Connected():
                if withholds(self._tracks, message, at):
                    return self._withheld()
                self._tolerance.ignored["second_connected"] += self._connected
                self._connected = True
            case Unknown():
                if withholds(self._tracks, message, at):
                    return self._withheld()
                self._tolerance.ignored["unknown_event"] += 1
            case _:
                assert_never(message)
        return []

    def _start(self, message: Start, at: float) -> list[Event]:
        if self.started is not None:
            if withholds(self._tracks, message, at):
                self._withheld()
            if message.stream_id != self.started.stream_id or message.call_id != self.started.call_id:
                raise _Fatal(1008, "a second start with other ids")
            self._tolerance.ignored["second_start"] += not withholds(self._tracks, message, at)
            return []
        settings = self.settings
        found = message.format
        audio, defaulted = parse_format(found.encoding, found.rate, found.channels, aliases=settings.encodings)
        self._tolerance.ignored["start_defect"] += message.defects + defaulted
        self._tolerance.ignored["start_before_connected"] += not self._connected
        tracks = Tracks(settings, audio, settings.l16_byte_order or self._dialect.l16_byte_order, at)
        for name in message.tracks[: settings.tracks]:
            tracks.open(name)
        if self._withheld_tracks != ():
            tracks.withhold(self._withheld_tracks, at)
        self._last_media_at = at
        self._tracks = tracks
        self.started = Started(
            dialect=self._dialect.name,
            stream_id=message.stream_id,
            call_id=message.call_id,
            account_id=message.account_id,
            tracks=message.tracks,
            format=audio,
            parameters=message.parameters,
        )
        return [self.started]

    def _first_media(self, message: Media, at: float) -> list[Event]:
        """Media of a track that is not there yet, or not heard."""
        if self._tracks is None:
            self._tolerance.ignored["early_media"] += 1
            if not self._connected or self._tolerance.ignored["early_media"] > EARLY_MEDIA:
                raise ProtocolError(1008, "media before start")
            return []
        self._last_media_at = at
        if withholds(self._tracks, message, at):
            return self._withheld()
        self._tolerance.ignored["unannounced_track"] += self._tracks.admit(message, at)
        return []

    def _withheld(self) -> list[Event]:
        self._tolerance.ignored["paused"] += 1
        return []

    def _keep(self, message: Message | None, data: Data, at: float) -> None:
        """Put down what may be stored of a message."""
        if self.kept is not None:
            mask = self.settings.mask_digits
            self.kept.append(storable(self._tracks, message, data, at, self._dialect, mask=mask))

    def _too_early(self, kind: str) -> list[Event]:
        self._tolerance.ignored[f"early_{kind}"] += 1
        return []

    def _release(self, at: float) -> list[Event]:
        """Place what has waited until ``at`` for a missing packet, each as of its own deadline.

        So what a stream becomes depends on what came when, and not on how often somebody looked.
        """
        events: list[Event] = []
        if (tracks := self._tracks) is not None:
            while self.reason is None and (deadline := tracks.deadline) is not None and deadline <= at:
                tracks.tick(deadline)
                events += self._drain(deadline)
        return events

    def _drain(self, at: float) -> list[Event]:
        """What the tracks made of a batch, and whether it was too much or too bad."""
        if self.reason is not None or self._tracks is None:
            return []
        events = self._tracks.drain()
        if (error := self._bad_media(self._tracks, at)) is not None:
            return events + self._fail(error, at)
        if self._tracks.flooded(at):
            ahead = LimitExceeded(4429, f"audio more than {self.settings.burst_s:g} s ahead of the clock")
            return events + self._fail(ahead, at)
        return events

    def _bad_media(self, tracks: Tracks, at: float) -> ProtocolError | None:
        """Count the payloads that the tracks have rejected since the last time."""
        rejected, oversized = tracks.rejected, tracks.oversized
        if rejected == self._rejected:
            return None
        large, self._oversized = oversized - self._oversized, oversized
        bad, self._rejected = rejected - self._rejected - large, rejected
        forgive = self._tolerance.forgive
        too_large = LimitExceeded(1009, f"payload above {self.settings.payload_bytes} bytes or 1 s of audio")
        unreadable = ProtocolError(1007, "media payload cannot be decoded")
        verdict = forgive(too_large, "oversized", at, large) if large else None
        other = forgive(unreadable, "rejected_media", at, bad) if bad else None  # counted in any case
        return verdict or other

    def _broken(self, error: ProtocolError, data: Data, at: float) -> list[Event]:
        if self.started is not None and not isinstance(error, _Fatal):
            kind = "binary" if isinstance(data, bytes) else "oversized" if error.code == 1009 else "unreadable"
            verdict = self._tolerance.forgive(error, kind, at)
            if verdict is None:
                return []
            error = verdict
        return self._fail(error, at)

    def _fail(self, error: ProtocolError, at: float, reason: EndReason = EndReason.ERROR) -> list[Event]:
        self.error = type(error)(error.code, error.reason)  # without what was raised: its frames refer back to this
        return self.close(reason, at)


class _Fatal(ProtocolError):
    """Ends a stream that is live, too."""
