"""A scene: what happens on one stream, as events that are made by hand and tile as real ones do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, Self

import msgspec
import numpy as np
import soundfile
import soxr

from receiver.audio import AudioFormat, Encoding
from receiver.events import Cause, Ended, EndReason, Event, Frame, Gap, Samples, TrackCounters
from receiver.simulate import SPEECH
from receiver.stream import StreamFacts

STARTED = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
"""Of every scene: what a sink makes of it is to be the same each time."""

BOTH_S = 13.4
"""From here on the two sides of the bundled call talk over each other."""

SIZES = (160,)
"""Samples of the frames, by turns: what most platforms send at 8000 Hz."""


class Scene:
    """The events of one stream, put together track by track, and played in the order of their time."""

    def __init__(self, what: str, *, rate: int = 8000, tracks: Sequence[str] = ("inbound", "outbound")) -> None:
        self.what = what
        """In words, for who reads of a failure: "a stream with …"."""
        self.rate = rate
        self.announced = tuple(tracks)
        self.id = "01a1fc0b-bbe0-70ba-b8b7-5476e998bd67"
        self.parameters: Mapping[str, Any] = {}
        self.reason = EndReason.STOP
        self._events: list[tuple[float, Event]] = []
        self._lengths: Counter[str] = Counter()
        self._heard: Counter[str] = Counter()
        self._gaps: dict[str, Counter[str]] = {}

    def audio(self, track: str, samples: Samples, sizes: Sequence[int] = SIZES) -> Self:
        """Go on with audio on a track, in frames of these sizes by turns. The samples cannot be written to."""
        whole: Samples = np.frombuffer(samples.tobytes(), np.int16)  # of bytes: nobody can make it writable either
        begin, turn = 0, 0
        while begin < len(whole):
            piece = whole[begin : begin + sizes[turn % len(sizes)]]
            self._add(Frame(track, self._lengths[track], self.rate, piece))
            self._heard[track] += len(piece)
            self._lengths[track] += len(piece)
            begin, turn = begin + len(piece), turn + 1
        return self

    def gap(self, track: str, seconds: float, cause: Cause = Cause.UNSENT) -> Self:
        """Go on with a gap on a track."""
        start, length = self._lengths[track], round(seconds * self.rate)
        self._add(Gap(track, start, start + length, self.rate, cause))
        self._gaps.setdefault(track, Counter())[cause.value] += length
        self._lengths[track] += length
        return self

    def event(self, event: Any, at_s: float) -> Self:
        """Put in any other event, when so much audio has passed."""
        self._events.append((at_s, event))
        return self

    def over(self, reason: EndReason) -> Self:
        """End like this instead of with a stop message."""
        self.reason = reason
        return self

    @property
    def seconds(self) -> float:
        """The length of the longest track."""
        return max(self._lengths.values(), default=0) / self.rate

    def events(self) -> list[Event]:
        """All events but the last one, in the order of their time."""
        return [event for _, event in sorted(self._events, key=lambda timed: timed[0])]

    def batches(self, size: int = 10) -> Iterator[list[Event]]:
        """The same, as they would arrive."""
        events = self.events()
        for begin in range(0, len(events), size):
            yield events[begin : begin + size]

    @property
    def counters(self) -> dict[str, TrackCounters]:
        """What became of each track."""
        return {
            track: TrackCounters(self.rate, length, self._heard[track], gaps=dict(self._gaps.get(track, {})))
            for track, length in self._lengths.items()
        }

    @property
    def ended(self) -> Ended:
        """The last event."""
        error = "the peer broke its dialect" if self.reason is EndReason.ERROR else None
        return Ended(self.reason, self.reason is EndReason.STOP, self.counters, error=error)

    @property
    def facts(self) -> StreamFacts:
        """What is known of the stream when it starts."""
        return StreamFacts(
            id=self.id,
            source="conformance",
            dialect="signalwire",
            stream_id="theirs",
            call_id="call-of-the-test",
            account_id=None,
            tracks=self.announced,
            format=AudioFormat(Encoding.PCMU if self.rate == 8000 else Encoding.L16, self.rate),
            parameters=self.parameters,
            path_parameters={},
            peer_address="127.0.0.1",
            token="test",  # noqa: S106 - its name
            started=STARTED,
        )

    def _add(self, event: Frame | Gap) -> None:
        self._events.append((event.start / event.rate, event))


class Unheard(msgspec.Struct, frozen=True):
    """An event of a kind that no sink knows yet."""

    position: int
    rate: int


@cache
def speech(rate: int, seconds: float) -> dict[str, Samples]:
    """A piece of the bundled call in which both sides speak, at this rate."""
    sides = {}
    for track in ("inbound", "outbound"):
        samples, its_rate = soundfile.read(SPEECH / f"{track}.flac", dtype="int16")
        said = soxr.resample(samples[int(BOTH_S * its_rate) : int((BOTH_S + seconds) * its_rate)], its_rate, rate)
        sides[track] = said[: int(seconds * rate)]
    return sides
