"""What arrived, message by message: kinds and sizes, spacing, jitter, counters. It judges nothing; the session does."""

from __future__ import annotations

from collections import Counter

from receiver.audio import AudioFormat, parse_format
from receiver.dialects import open_dialect
from receiver.dialects.dialect import Data
from receiver.dialects.messages import Media, Message, Start, Stop
from receiver.errors import ProtocolError
from receiver.inspection.distribution import Distribution
from receiver.inspection.report import JitterFigures, PacketFigures, PauseFigures, Unreadable, WireFigures
from receiver.inspection.series import Series
from receiver.media.decoder import Decoder
from receiver.media.decoding import decoder_for
from receiver.sessions.settings import SessionSettings

MAX_UNREADABLE = 20
MAX_PAUSES = 1000

LEAP_MS = 1000
"""A timestamp that falls by more, or runs ahead of the arrival by more from one packet to the next, is another clock's:
packets that overtake each other are not as far apart."""


class TrackWire:
    """The media messages of one track."""

    def __init__(self, decoder: Decoder | None) -> None:
        self.messages = 0
        self.payload_bytes = 0
        self._decoder = decoder
        self._packet_ms: tuple[float, float] | None = None
        self._spacing = Distribution()
        self._delay = Distribution()
        self._over_time = Series()
        self._at = 0.0
        self._transit: float | None = None  # of the message before: arrival minus stamp, in ms
        self._base = 0.0
        self._jitter = self._jitter_max = 0.0
        self._chunks: tuple[int, int] | None = None
        self._stamps: tuple[int, int] | None = None
        self._stamp = 0
        self._jumps = self._skipped = 0

    def take(self, media: Media, at: float, since_start: float) -> bool:
        """Take a message; whether its payload can be decoded."""
        if self.messages:
            self._spacing.add((at - self._at) * 1000)
        self._at = at
        self.messages += 1
        if media.chunk is not None:
            self._count(media.chunk)
        if media.timestamp is not None:
            self._time(media.timestamp, at * 1000 - media.timestamp, since_start)
        payload = media.payload
        if not payload:
            return False
        self.payload_bytes += len(payload)
        samples = self._decoder.samples_in(payload) if self._decoder is not None else None
        if self._decoder is None or not samples:
            return self._decoder is None
        ms = samples * 1000 / self._decoder.rate
        least, most = self._packet_ms or (ms, ms)
        self._packet_ms = min(least, ms), max(most, ms)
        return True

    def figures(self) -> PacketFigures:
        """All that was taken."""
        delay = self._delay.spread(above_least=True)
        jitter = None
        if delay is not None:
            jitter = JitterFigures(
                rfc3550_ms=round(self._jitter, 3),
                rfc3550_max_ms=round(self._jitter_max, 3),
                delay_ms=delay,
                over_time=self._over_time.figures(),
            )
        packet_ms, chunks, stamps = self._packet_ms or (None, None), self._chunks or (None, None), self._stamps
        return PacketFigures(
            messages=self.messages,
            payload_bytes=self.payload_bytes,
            packet_ms_min=packet_ms[0],
            packet_ms_max=packet_ms[1],
            spacing_ms=self._spacing.spread(),
            jitter=jitter,
            first_chunk=chunks[0],
            last_chunk=chunks[1],
            chunk_jumps=self._jumps,
            chunks_skipped=self._skipped,
            first_timestamp_ms=stamps[0] if stamps else None,
            last_timestamp_ms=stamps[1] if stamps else None,
        )

    def _count(self, chunk: int) -> None:
        if self._chunks is None:
            self._chunks = chunk, chunk
            return
        first, highest = self._chunks
        if chunk > highest:
            self._jumps += chunk > highest + 1
            self._skipped += chunk - highest - 1
            self._chunks = first, chunk

    def _time(self, stamp: int, transit: float, since_start: float) -> None:
        first, highest = self._stamps or (stamp, stamp)
        self._stamps = first, max(highest, stamp)
        if self._transit is None:
            self._base = transit
        elif (
            stamp < self._stamp - LEAP_MS or transit < self._transit - LEAP_MS
        ):  # what lies between two clocks is no jitter: it is as late as the message before it
            self._base += transit - self._transit
        else:
            self._jitter += (abs(transit - self._transit) - self._jitter) / 16
            self._jitter_max = max(self._jitter_max, self._jitter)
        self._transit, self._stamp = transit, stamp
        delay = transit - self._base
        self._delay.add(delay)
        self._over_time.add(since_start, delay)


class Wire:
    """All messages of a capture; what comes after the end is counted among the messages, and no more."""

    def __init__(self, settings: SessionSettings) -> None:
        self.tracks: dict[str, TrackWire] = {}
        self.start_at: float | None = None
        self.ended = False
        self._settings = settings
        self._dialect = open_dialect(settings.dialect)
        self._format: AudioFormat | None = None
        self._messages = self._bytes = 0
        self._withheld = self._withheld_bytes = 0
        self._unreadable = 0
        self._first_unreadable: list[Unreadable] = []
        self._pauses: list[PauseFigures] = []
        self._kinds: Counter[str] = Counter()

    def take(self, data: Data | int, at: float, line: int) -> None:
        """Take a message from a line of the capture."""
        if isinstance(data, int):
            self._withheld += 1
            self._withheld_bytes += data
            return
        self._messages += 1
        self._bytes += len(data)
        try:
            if len(data) > self._settings.message_bytes:
                raise ProtocolError(1009, f"above {self._settings.message_bytes} bytes")
            message = self._dialect.parse(data)
        except ProtocolError as error:
            self._kinds["unreadable"] += 1
            self._cannot_read(data, at, line, error.reason)
            return
        self._kinds[type(message).__name__.lower()] += 1
        if self.ended:
            return
        if isinstance(message, Media):
            self._media(message, data, at, line)
        else:
            self._other(message, at)

    def pause(self, at: float, tracks: tuple[str, ...] | None) -> None:
        """Take a pause, or its end."""
        if len(self._pauses) < MAX_PAUSES:
            self._pauses.append(PauseFigures(round(at, 6), tracks))

    def figures(self) -> WireFigures:
        """All that was taken."""
        return WireFigures(
            messages=self._messages,
            bytes=self._bytes,
            kinds=dict(self._kinds),
            withheld=self._withheld,
            withheld_bytes=self._withheld_bytes,
            pauses=self._pauses,
            unreadable=self._unreadable,
            first_unreadable=self._first_unreadable,
        )

    def _media(self, media: Media, data: Data, at: float, line: int) -> None:
        if self.start_at is None:
            return
        track = self.tracks.get(media.track)
        if track is None:
            if len(self.tracks) >= self._settings.tracks:
                return
            track = self.tracks[media.track] = TrackWire(self._decoder())
        if not track.take(media, at, at - self.start_at):
            self._cannot_read(data, at, line, f"the payload of {media.track} cannot be decoded")

    def _other(self, message: Message, at: float) -> None:
        if isinstance(message, Start) and self.start_at is None:
            self.start_at = at
            found = message.format
            try:
                self._format, _ = parse_format(
                    found.encoding, found.rate, found.channels, aliases=self._settings.encodings
                )
            except ProtocolError:
                self.ended = True  # the session says why
        elif isinstance(message, Stop):
            self.ended = True

    def _decoder(self) -> Decoder | None:
        if self._format is None:
            return None
        order = self._settings.l16_byte_order or self._dialect.l16_byte_order
        try:
            return decoder_for(self._format, l16_byte_order=order)
        except ProtocolError:  # no OPUS library here
            return None

    def _cannot_read(self, data: Data, at: float, line: int, reason: str) -> None:
        self._unreadable += 1
        if len(self._first_unreadable) < MAX_UNREADABLE:
            self._first_unreadable.append(Unreadable(line, round(at, 6), len(data), reason))
