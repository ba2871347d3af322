"""Audio of which every sample says whose it is and where it belongs, in the messages that carry it."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from talking import TRACKS, media

Samples = npt.NDArray[np.int16]
Wire = Literal["audio/x-L16", "audio/x-mulaw"]

RATE = 8000
FRAME = 160
"""Samples of a message."""
PERIOD_S = FRAME / RATE
WIRES: tuple[Wire, Wire] = ("audio/x-L16", "audio/x-mulaw")


class Voice:
    """One track: noise that is this track's alone. No sample is 0, so silence is never mistaken for it."""

    def __init__(self, number: int, track: str, wire: Wire, seconds: float) -> None:
        self.track = track
        self.messages = round(seconds / PERIOD_S)
        dice = np.random.default_rng([number, TRACKS.index(track)])
        size = self.messages * FRAME
        if wire == "audio/x-L16":
            self.samples: Samples = dice.integers(-16384, 16384, size).astype(np.int16) * np.int16(2) + np.int16(1)
            self._bytes = self.samples.astype("<i2").tobytes()
        else:
            codes = dice.choice(np.flatnonzero(_expanded()), size)
            self.samples = _expanded()[codes]
            self._bytes = codes.astype(np.uint8).tobytes()

    @cached_property
    def frames(self) -> list[bytes]:
        """A WebSocket frame for each message, ready to be sent."""
        size = len(self._bytes) // max(self.messages, 1)
        return [
            media(self.track, number, self._bytes[number * size : (number + 1) * size])
            for number in range(self.messages)
        ]


class Voices:
    """Both tracks of a call, for so many messages. Equal numbers begin alike, however long they are."""

    def __init__(self, number: int, messages: int) -> None:
        self._of = {track: Voice(number, track, "audio/x-mulaw", messages * PERIOD_S) for track in TRACKS}

    def samples(self, track: str, messages: int) -> Samples:
        """What the first messages of a track are."""
        return self._of[track].samples[: messages * FRAME]

    def said(self, track: str, number: int) -> bytes:
        """Message ``number`` of a track, from 0."""
        return self._of[track].frames[number]


def _expanded() -> Samples:
    """The linear sample of each of the 256 codes of G.711 µ-law, as the recommendation has them."""
    codes = ~np.arange(256) & 0xFF
    magnitude = (((codes & 15) << 3) + 0x84 << (codes >> 4 & 7)) - 0x84
    return np.where(codes & 0x80, -magnitude, magnitude).astype(np.int16)
