"""A lane: one track on its way through ``blocks``, at the output's rate and sample type.

A stretch of audio between two gaps is resampled as one signal, with the state kept from frame to frame, and comes out
at exactly round(start * out / in) to round(end * out / in): nothing can drift, however many gaps there are.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import soxr

from receiver.events import Frame, Gap, Samples

DType = Literal["int16", "float32"]
Quality = Literal["QQ", "LQ", "MQ", "HQ", "VHQ"]
Audio = npt.NDArray[np.int16 | np.float32]

Span = tuple[int, Audio | None]
"""A length in samples, and the audio; None: a gap."""


class Lane:
    """One track. What goes in and what comes out both tile from 0."""

    def __init__(self, rate_in: int, rate_out: int, dtype: DType, quality: Quality) -> None:
        self._rate_in = rate_in
        self._rate_out = rate_out
        self._float = dtype == "float32"
        self._resampler: Any = None
        if rate_in != rate_out:
            self._resampler = soxr.ResampleStream(rate_in, rate_out, 1, dtype="float32", quality=quality)
        self._held: list[Audio] = []  # resampled, and ahead of where the input is
        self._held_count = 0
        self._end_in = 0
        self._end_out = 0
        self._running = False

    def put(self, event: Frame | Gap) -> list[Span]:
        """What a frame or a gap brings out, at most one span of audio and one gap."""
        if isinstance(event, Gap):
            spans = self._flush()
            self._end_in = event.end
            length = self._position(event.end) - self._end_out
            self._end_out += length
            return [*spans, (length, None)] if length else spans
        self._end_in = event.end
        if self._resampler is None:
            self._end_out = event.end
            audio: Audio = event.samples
            return [(len(audio), _scaled(event.samples) if self._float else audio)]
        self._running = True
        self._hold(self._resampler.resample_chunk(_scaled(event.samples)))
        return self._release()

    def finish(self) -> list[Span]:
        """What is still inside at the end."""
        return self._flush()

    def _position(self, position_in: int) -> int:
        # round half up in whole numbers: exact at any length
        return (2 * position_in * self._rate_out + self._rate_in) // (2 * self._rate_in)

    def _flush(self) -> list[Span]:
        if not self._running:
            return []
        self._running = False
        self._hold(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        self._resampler.clear()
        missing = self._position(self._end_in) - self._end_out - self._held_count
        if missing > 0:  # one sample at most: the resampler counts from the start of the stretch, we from the stream's
            self._hold(np.zeros(missing, np.float32))
        spans = self._release()
        self._held.clear()
        self._held_count = 0
        return spans

    def _hold(self, audio: npt.NDArray[np.float32]) -> None:
        if not len(audio):
            return
        # resampled as float32 for int16 as well: soxr would add dither, and turn silence into noise
        if self._float:
            self._held.append(np.clip(audio, -1, 1))  # a resampler may swing beyond what went in
        else:
            self._held.append(np.clip(np.rint(audio * 32768), -32768, 32767).astype(np.int16))
        self._held_count += len(audio)

    def _release(self) -> list[Span]:
        """Let go of what lies within the input so far; the resampler may be a sample ahead of it."""
        room = self._position(self._end_in) - self._end_out
        if not self._held_count or room <= 0:
            return []
        held = self._held[0] if len(self._held) == 1 else np.concatenate(self._held)
        audio, rest = held[:room], held[room:]
        self._held = [rest] if len(rest) else []
        self._held_count = len(rest)
        self._end_out += len(audio)
        return [(len(audio), audio)]


def _scaled(samples: Samples) -> npt.NDArray[np.float32]:
    return samples.astype(np.float32) / np.float32(32768)
