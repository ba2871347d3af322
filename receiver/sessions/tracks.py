"""The tracks of a stream: opened as announced, or when their audio arrives; they share one timeline."""

from __future__ import annotations

from receiver.audio import AudioFormat
from receiver.errors import LimitExceeded
from receiver.events import Event, TrackCounters
from receiver.media.decoding import decoder_for
from receiver.media.l16 import ByteOrder
from receiver.media.timeline import AHEAD_MS, Timeline
from receiver.media.track import Track
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
        return track

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

    def tick(self, at: float) -> None:
        """Let packets go that waited long enough."""
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
