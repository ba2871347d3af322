"""A run: consecutive packets of a track, decoded together."""

from __future__ import annotations

from collections.abc import Sequence

from receiver.events import Cause, Event, Frame, Gap, Samples
from receiver.media.decoder import Decoder


class Run:
    """Collects packets that follow one another and turns them into a frame.

    Append to ``payloads`` what ``samples_in`` accepts. Counters are of what was decoded so far.
    """

    def __init__(self, track: str, decoder: Decoder) -> None:
        self.payloads: list[bytes] = []
        self.placed = 0  # packets, as are the next two
        self.damaged = 0
        self.trimmed = 0  # of the placed: with a part of a sample at the end
        self.audio = 0  # samples, as is the next
        self.damaged_samples = 0
        self._track = track
        self._decoder = decoder

    def decode(self, end: int) -> list[Event]:
        """Decode all of it: a Frame that ends at ``end``; a packet that proves damaged is a Gap of its own length."""
        payloads, decoder = self.payloads, self._decoder
        if not payloads:
            return []
        samples = decoder.decode(payloads)
        start = end - len(samples)
        unit = decoder.unit_bytes
        if unit > 1:
            self.trimmed += sum(1 for payload in payloads if len(payload) % unit)
        damaged = () if unit else decoder.damaged()
        self.placed += len(payloads) - len(damaged)
        if damaged:
            events = self._split(start, samples, damaged)
        else:
            events = self._frame(start, samples)
        payloads.clear()
        return events

    def _split(self, start: int, samples: Samples, damaged: Sequence[int]) -> list[Event]:
        events: list[Event] = []
        self.damaged += len(damaged)
        offset = done = 0
        for index, payload in enumerate(self.payloads):
            length = self._decoder.samples_in(payload) or 0
            if index in damaged:
                if offset > done:
                    events += self._frame(start + done, samples[done:offset])
                done = offset + length
                events.append(Gap(self._track, start + offset, start + done, self._decoder.rate, Cause.REJECTED))
                self.damaged_samples += length
            offset += length
        if offset > done:
            events += self._frame(start + done, samples[done:])
        return events

    def _frame(self, start: int, samples: Samples) -> list[Event]:
        self.audio += len(samples)
        return [Frame(self._track, start, self._decoder.rate, samples)]
