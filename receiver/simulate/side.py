"""One side of a call, from an audio file: read piece by piece, one channel, resampled, cut into packets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from receiver.errors import ReceiverError
from receiver.events import Samples

READ_S = 1.0  # a second at a time: memory does not grow with the file


class CallError(ReceiverError):
    """A call that cannot be made as asked: an unreadable file, an encoding at a rate it does not have, and the like."""


class Side:
    """An audio file that soundfile reads (WAV, FLAC, Ogg, MP3 …) as one side of a call.

    ``channel`` None mixes all channels to one; a number takes that one alone.

    Raises CallError for a file that cannot be read, has no audio or has not that channel.
    """

    def __init__(self, path: Path, channel: int | None = None) -> None:
        self.path = path
        self.channel = channel
        with self._open() as file:
            self.rate: int = file.samplerate
            self.duration_s: float = file.frames / file.samplerate
            if not file.frames:
                raise CallError(f"{path}: has no audio")
            if channel is not None and channel >= file.channels:
                raise CallError(f"{path}: has {file.channels} channel, and two are needed for both sides of a call")

    def packets(self, rate: int, size: int, *, pad: bool) -> Iterator[Samples]:
        """Consecutive packets of ``size`` samples at ``rate`` hertz, as int16 of shape (n,).

        The last one is shorter, or padded with zeros to ``size``. Samples of a 16-bit file that already has this rate
        come out as they are. Raises CallError where the file turns out to be damaged.
        """
        rest = np.empty(0, np.int16)
        for piece in self._pieces(rate):
            rest = np.concatenate((rest, piece))
            whole = len(rest) - len(rest) % size
            yield from np.split(rest[:whole], range(size, whole, size)) if whole else ()
            rest = rest[whole:]
        if len(rest):
            yield np.pad(rest, (0, size - len(rest))) if pad else rest

    def _pieces(self, rate: int) -> Iterator[Samples]:
        resampler = soxr.ResampleStream(self.rate, rate, 1, dtype="float32") if rate != self.rate else None
        with self._open() as file:
            size = round(READ_S * self.rate)
            while True:
                try:
                    block = file.read(size, dtype="float32", always_2d=True)
                except soundfile.LibsndfileError as error:
                    raise CallError(f"{self.path}: {error.error_string}") from error
                audio = block.mean(axis=1, dtype=np.float32) if self.channel is None else block[:, self.channel]
                if resampler is not None:
                    audio = resampler.resample_chunk(np.ascontiguousarray(audio), last=not len(block))
                yield _to_int16(audio)
                if not len(block):
                    return

    def _open(self) -> soundfile.SoundFile:
        if not self.path.is_file():
            raise CallError(f"{self.path}: no such file")
        try:
            return soundfile.SoundFile(self.path)
        except soundfile.LibsndfileError as error:
            raise CallError(f"{self.path}: {error.error_string}") from error
        except TypeError as error:  # a file named .raw, which says nothing of what is in it
            raise CallError(f"{self.path}: raw audio has no header; make it a WAV file first") from error


def _to_int16(audio: npt.NDArray[np.float32]) -> Samples:
    # 32768 is how soundfile scaled a 16-bit file, so that its samples come back unchanged.
    return np.clip(np.rint(audio * np.float32(32768)), -32768, 32767).astype(np.int16)
