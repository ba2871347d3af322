"""Whether audio that went through a lossy codec is still the same audio, in the same place.

No codec of this kind gives samples back as they were, so three things are asked, of what lies between 40 Hz and 4 kHz
(what every codec keeps, and where speech is), per channel:

- **Every window of half a second** differs from the source by less than ERROR of the power that the source has there,
  or in the window before or after it: an encoder smears a loud sound over up to a tenth of a second. Silence, dropouts,
  other audio and the other channel differ by all of the power, and by twice of it.
- **Every section of eight seconds** is most like the source where it is: no shift of a sample (at 8 kHz) or more makes
  the two MARGIN more alike. A tone that is a sample late differs by little, but has another best place.
- **Silence is silence**: what is below FLOOR on both sides counts as the same. Codecs do not keep what nobody hears.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

RATE = 8000
"""Compared at about this many hertz: 8000 to 12000, by the whole number of samples that make one."""

WINDOW = 4096
SECTION = 16 * WINDOW
HUM = 201
"""Samples of the moving average that is taken away: a constant offset, which codecs do not keep, and hum."""

ERROR = 0.7
FLOOR = 10 ** (-55 / 10)
MARGIN = 1.02

Audio = npt.NDArray[np.float32]


class Likeness:
    """Compares a decoded file of a ``rate`` with its source as both are read; ``problem`` is the verdict.

    Takes the same memory for any length, but for 16 bytes per window and channel.
    """

    def __init__(self, rate: int, channels: int) -> None:
        self._step = max(rate // RATE, 1)
        self._rate = rate / self._step
        self._waiting: list[tuple[Audio, Audio]] = []
        self._count = 0
        self._power: list[npt.NDArray[np.float64]] = [np.zeros((0, channels))]
        self._error: list[npt.NDArray[np.float64]] = [np.zeros((0, channels))]
        self._shifted_at: float | None = None

    def add(self, source: Audio, decoded: Audio) -> None:
        """Take blocks of the same shape (n, channels), within -1 and 1."""
        self._waiting.append((source, decoded))
        self._count += len(source)
        if self._count >= SECTION * self._step:
            self._compare(SECTION * self._step)

    def problem(self) -> str | None:
        """What is not alike, in words, when all blocks were added; None: nothing."""
        while self._count:
            self._compare(min(self._count, SECTION * self._step))
        power, error = np.concatenate(self._power), np.concatenate(self._error)
        near = power.copy()
        near[1:] = np.maximum(near[1:], power[:-1])
        near[:-1] = np.maximum(near[:-1], power[1:])
        bad = (error > ERROR * near + FLOOR).any(axis=1)
        if bad.any():
            at = float(np.argmax(bad)) * WINDOW / self._rate
            return f"{int(bad.sum())} of {len(bad)} half seconds are other audio, the first at {at:.1f} s"
        if self._shifted_at is not None:
            return f"it is shifted in time, as is seen from {self._shifted_at:.1f} s on"
        return None

    def _compare(self, count: int) -> None:
        pairs = [np.concatenate(side) for side in zip(*self._waiting, strict=True)]
        self._waiting = [(pairs[0][count:], pairs[1][count:])]
        self._count -= count
        source, decoded = (self._band(side[:count]) for side in pairs)
        self._align(source, decoded)
        windows = -(-len(source) // WINDOW)
        padding = ((0, windows * WINDOW - len(source)), (0, 0))
        shape = (windows, WINDOW, source.shape[1])
        self._power.append(np.square(np.pad(source, padding)).reshape(shape).mean(axis=1))
        self._error.append(np.square(np.pad(source - decoded, padding)).reshape(shape).mean(axis=1))

    def _band(self, audio: Audio) -> npt.NDArray[np.float64]:
        """The audio at about RATE, without what is slower than a few ten hertz."""
        short = -len(audio) % self._step
        whole = np.pad(audio, ((0, short), (0, 0))).astype(np.float64)
        low = whole.reshape(-1, self._step, whole.shape[1]).mean(axis=1)
        half = HUM // 2
        sums = np.cumsum(np.pad(low, ((half + 1, half), (0, 0)), mode="edge"), axis=0)
        slow: npt.NDArray[np.float64] = low - (sums[HUM:] - sums[:-HUM]) / HUM
        return slow

    def _align(self, source: npt.NDArray[np.float64], decoded: npt.NDArray[np.float64]) -> None:
        """See whether another place would fit better, where there is something to be seen."""
        size = 2 * len(source)
        loud = np.square(source).mean(axis=0) > FLOOR
        if self._shifted_at is not None or not loud.any():
            return
        spectra = np.conj(np.fft.rfft(source[:, loud], size, axis=0)) * np.fft.rfft(decoded[:, loud], size, axis=0)
        alike = np.fft.irfft(spectra, size, axis=0)
        if (alike.max(axis=0) > MARGIN * alike[0]).any():
            done = sum(len(windows) for windows in self._power) * WINDOW
            self._shifted_at = done / self._rate
