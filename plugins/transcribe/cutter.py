"""The cutter: a track's audio becomes utterances, and the silence between them, exact to the sample.

A detector says of every 30 ms whether somebody speaks. Three of these in a row are speech, fewer are a click: that
begins an utterance, and puts off its end, which comes when there has been no speech for long enough. An utterance has a
little of the silence before and behind it, and is never longer than it may be: what follows is the next one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from .engine import RATE, Int16Array
from .utterance import Utterance

FRAME = 480
"""Samples that the detector decides on: 30 ms."""

SURE = 3
"""So many frames in a row are speech."""

Detector = Callable[[bytes], bool]
"""Whether somebody speaks in FRAME samples of 16 kHz; asked for each frame once, in order."""

_NOTHING: Int16Array = np.zeros(0, np.int16)


class Cutter:
    """Cuts one track. ``utterance`` is the one that is being spoken, ``spoken`` counts the samples of all of them."""

    def __init__(
        self, detector: Detector, *, silence_s: float, padding_s: float, longest_s: float, first: int = 1
    ) -> None:
        """``first`` is the number of the first utterance.

        Seconds are rounded to whole frames: the longest down, the others up.
        """
        self.utterance: Utterance | None = None
        self.spoken = 0
        self._detector = detector
        self._silence = _in_frames(silence_s)
        self._padding = _in_frames(padding_s)
        self._longest = int(longest_s * RATE) // FRAME * FRAME
        self._next = first
        self._position = 0  # up to here the detector has decided
        self._rest: Int16Array = _NOTHING  # what is behind that
        self._held: deque[Int16Array] = deque()  # what is before that, and in no utterance yet; it may get into one
        self._held_count = 0
        self._run = 0  # how many frames in a row are speech, up to now
        self._sure = 0  # where speech ended last

    @property
    def end(self) -> int:
        """How far the track is: samples at 16 kHz."""
        return self._position + len(self._rest)

    def put(self, start: int, samples: Int16Array) -> list[Utterance]:
        """Take audio that begins at ``start``, behind a gap if that is not ``end``; the utterances that began in it.

        Audio is kept by reference. Of a gap only its length matters, and a long one costs no more than a short one.
        """
        begun: list[Utterance] = []
        missing = start - self.end
        if missing > 0:
            known = min(missing, self._silence + self._padding + 2 * FRAME)  # longer is silence, whoever is asked
            begun += self._cut(np.zeros(known, np.int16))
            if missing > known:
                begun += self.close()
                self._position = start
        return begun + self._cut(samples)

    def close(self) -> list[Utterance]:
        """End the utterance here, if there is one: at the end of the track, or where it does not go on for now.

        Speech that goes on with the next sample begins another at once.
        """
        begun: list[Utterance] = []
        if len(self._rest):
            rest, self._rest = self._rest, _NOTHING
            padded = np.concatenate((rest, np.zeros(FRAME - len(rest), np.int16)))
            begun = self._decide(rest, self._detector(padded.tobytes()))
        self._end_utterance()
        self._forget(0)
        return begun

    def _cut(self, samples: Int16Array) -> list[Utterance]:
        begun: list[Utterance] = []
        if len(self._rest):
            samples = np.concatenate((self._rest, samples))
        whole = len(samples) - len(samples) % FRAME
        self._rest = samples[whole:]
        for at in range(0, whole, FRAME):
            frame = samples[at : at + FRAME]
            begun += self._decide(frame, self._detector(frame.tobytes()))
        return begun

    def _decide(self, frame: Int16Array, speech: bool) -> list[Utterance]:
        begun: list[Utterance] = []
        self._position += len(frame)
        self._held.append(frame)
        self._held_count += len(frame)
        self._run = self._run + 1 if speech else 0
        if self._run >= SURE:
            self._sure = self._position
            if self.utterance is None:
                self._forget(self._padding + SURE * FRAME)
                begun.append(self._begin())
        if self.utterance is None:
            self._forget(self._padding + SURE * FRAME)
        elif self._position <= self._sure + self._padding:
            begun += self._release()
        if self._position - self._run * FRAME >= self._sure + self._silence:  # what may become speech is no silence
            self._end_utterance()
        return begun

    def _begin(self) -> Utterance:
        self.utterance = Utterance(self._next, self._position - self._held_count)
        self._next += 1
        return self.utterance

    def _release(self) -> list[Utterance]:
        """What is held belongs to the utterance, or to the next one where that gets too long."""
        begun: list[Utterance] = []
        while self._held:
            frame = self._held[0]
            if self.utterance is None or self.utterance.end - self.utterance.start + len(frame) > self._longest:
                self._end_utterance()
                begun.append(self._begin())
            assert self.utterance is not None  # noqa: S101 - it has just begun
            self.utterance.put(frame)
            self.spoken += len(frame)
            self._held.popleft()
            self._held_count -= len(frame)
        return begun

    def _end_utterance(self) -> None:
        if self.utterance is not None:
            self.utterance.over = True
            self.utterance = None

    def _forget(self, most: int) -> None:
        """Hold no more than so many samples, the last ones."""
        while self._held_count > most:
            self._held_count -= len(self._held.popleft())


def _in_frames(seconds: float) -> int:
    """Samples, a multiple of FRAME."""
    return max(-int(-seconds * RATE // FRAME), 1) * FRAME
