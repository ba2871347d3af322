"""The tracks of a stream: opened as announced, or when their audio arrives; they share one timeline."""

from __future__ import annotations

from receiver.audio import AudioFormat
from receiver.dialects.messages import Media
from receiver.errors import LimitExceeded
from receiver.events import Event, TrackCounters
from receiver.media.decoding import decoder_for
from receiver.media.l16 import ByteOrder
from receiver.media.timeline import AHEAD_MS, JITTER_MS, Timeline
from receiver.media.track import BELATED_S, Track
from receiver.sessions.settings import SessionSettings

UNLIMITED_AHEAD_MS = 86_400_000
"""With ``burst_s = 0`` the peer's clock may run a day ahead of ours: faster than real time, as in tests."""

SILENCE_S = 1
"""Audio that lags behind our clock by more than that is not late: there is none."""


class Tracks:
    """All tracks of one stream, which started ``at``."""

    def __init__(self, settings: SessionSettings, audio: AudioFormat, byte_order: ByteOrder, at: float) -> None:
        self.by_name: dict[str, Track] = {}
        self.rejected = 0
        """Packets that could not be decoded, as of the last ``drain``."""
        self.oversized = 0
        """Of these, packets above the limits."""
        self.heard: dict[str, Track] = {}
        """Those of them whose packets can be pushed without asking ``withholds_media``."""
        self._withheld: tuple[str, ...] | None = ()
        self._ever_withheld = False
        self._resumed_at: float | None = None  # the whole of the stream
        self._settings = settings
        self._audio = audio
        self._byte_order = byte_order
        self._started_at = at
        ahead_ms = int(settings.burst_s * 1000) or UNLIMITED_AHEAD_MS
        self._timeline = Timeline(at, ahead_ms=max(ahead_ms, AHEAD_MS))

    def open(self, name: str) -> Track:
        """Open a track.

        Raises LimitExceeded if there are too many, ProtocolError 4415 if this machine has no decoder for its encoding.
        """
        settings = self._settings
        if len(self.by_name) >= settings.tracks:
            raise LimitExceeded(1008, f"more than {settings.tracks} tracks")
        track = self.by_name[name] = Track(
            name,
            decoder_for(self._audio, l16_byte_order=self._byte_order),
            self._timeline,
            counters=settings.counters,
            own_zero=settings.own_zero,
            payload_bytes=settings.payload_bytes,
        )
        if self._ever_withheld:
            track.join(self._resumed_at)
        self.heard[name] = track
        return track

    def withhold(self, names: tuple[str, ...] | None, at: float) -> None:
        """From here on hear nothing of these tracks: None stands for all, () for none."""
        if self._withheld is None and names is not None:
            self._resumed_at = at
        self._withheld = names
        self._ever_withheld = self._ever_withheld or names != ()
        self.heard = {}
        for name, track in self.by_name.items():
            if self.withholds(name):
                track.pause(at)
            else:
                track.resume(at)  # heard from its first packet on that is not belated

    def withholds(self, name: str | None) -> bool:
        """Whether a track is withheld; for what names none, whether any is."""
        if self._withheld is None:
            return True
        return name in self._withheld if name is not None else bool(self._withheld)

    def withholds_media(self, media: Media, at: float) -> bool:
        """Whether a packet is of a withheld track, or belated."""
        if self.withholds(media.track):
            return True
        track = self.by_name.get(media.track)
        return self._belated(media.timestamp, at) if track is None else track.belated(media.timestamp, at)

    def admit(self, media: Media, at: float) -> bool:
        """Take a packet of a track that is not ``heard`` yet; whether the track is new. Raises as ``open``."""
        track = self.by_name.get(media.track)
        new = track is None
        if track is None:
            track = self.open(media.track)
        if track.wary(at):
            self.heard.pop(media.track, None)
        else:
            self.heard[media.track] = track
        track.push(media, at)
        return new

    def _belated(self, stamp: int | None, at: float) -> bool:
        """The same as ``Track.belated``, of a track that is not there yet."""
        if self._resumed_at is None or at - self._resumed_at >= BELATED_S or stamp is None or self._settings.own_zero:
            return False
        position_ms = self._timeline.position_ms(stamp, at)
        return position_ms is not None and position_ms < self._timeline.elapsed_ms(self._resumed_at) - JITTER_MS

    @property
    def silent(self) -> bool:
        """Whether everything is withheld."""
        return self._withheld is None

    @property
    def positions(self) -> dict[str, tuple[int, int]]:
        """Where each track is: samples, and the rate."""
        return {name: (track.cursor, track.rate) for name, track in self.by_name.items()}

    def drain(self) -> list[Event]:
        """What happened on all tracks since the last call."""
        events: list[Event] = []
        rejected = oversized = 0
        for track in self.by_name.values():
            events += track.drain()
            rejected += track.rejected
            oversized += track.oversized
        self.rejected, self.oversized = rejected, oversized
        return events

    @property
    def deadline(self) -> float | None:
        """When the first packet that waits for a missing one is to go; None while none does."""
        first: float | None = None
        for track in self.by_name.values():  # asked for every batch: nearly always nothing waits
            if track.held and (deadline := track.deadline) is not None and (first is None or deadline < first):
                first = deadline
        return first

    def tick(self, at: float) -> None:
        """Let packets go that waited long enough: call it at ``deadline``, before anything later."""
        for track in self.by_name.values():
            track.tick(at)

    def finish(self, at: float) -> None:
        """Let everything go."""
        for track in self.by_name.values():
            track.finish(at)

    def flooded(self, at: float) -> bool:
        """Whether a track has received more audio than time has passed, by more than ``burst_s``."""
        burst_s = self._settings.burst_s
        if burst_s:
            for track in self.by_name.values():
                if track.audio > track.rate * (at - self._started_at + burst_s):
                    return True
        return False

    def here(self, at: float) -> tuple[int, int]:
        """The position where the stream is, and its rate: where its audio is or, in a silence, where our clock is."""
        rate = self._audio.rate
        position = max((track.cursor for track in self.by_name.values()), default=0)
        elapsed = int((at - self._started_at) * rate)
        return (elapsed if elapsed - position > SILENCE_S * rate else position), rate

    @property
    def counters(self) -> dict[str, TrackCounters]:
        """What became of every media message so far, by track."""
        return {name: track.counters() for name, track in self.by_name.items()}
