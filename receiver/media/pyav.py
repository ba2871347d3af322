"""OPUS through PyAV, which brings libopus in its wheel: the extra ``opus``.

FFmpeg's ``libopus`` decoder only ever answers at 48 kHz, so lower rates are made here, by a filter that keeps as many
samples as the packet holds. The filter delays them by 12 samples at the track's rate (1.5 ms at 8 kHz); at 48 kHz there
is neither filter nor delay. PyAV offers no concealment: libopus goes on from its last packet.
"""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt

from receiver.events import Samples

_RATE = 48_000
# Half the filter, in samples at the lower rate. It falls from -6 dB at half that rate to -75 dB at 0.6 of it.
_DELAY = 12


class Decoder:
    """A decoder of one channel, at ``rate`` hertz."""

    def __init__(self, rate: int) -> None:
        self._codec = av.CodecContext.create("libopus", "r")
        self._codec.sample_rate = _RATE
        self._codec.layout = "mono"
        self._factor = _RATE // rate
        self._taps = _low_pass(self._factor)
        self._history: npt.NDArray[np.float32] = np.zeros(len(self._taps) - 1, np.float32)

    def decode(self, packet: bytes, samples: int) -> Samples | None:
        """Decode one packet that holds this many samples; None: it could not be decoded."""
        try:
            frames = self._codec.decode(av.Packet(packet))
        except av.FFmpegError:
            return None
        decoded = [frame.to_ndarray().reshape(-1) for frame in frames]
        if sum(map(len, decoded)) != samples * self._factor:
            return None
        audio: Samples = np.concatenate(decoded)
        return audio if self._factor == 1 else self._decimated(audio)

    def conceal(self, samples: int) -> None:
        """Not offered by PyAV."""

    def _decimated(self, audio: Samples) -> Samples:
        line = np.concatenate((self._history, audio.astype(np.float32)))
        self._history = line[len(audio) :].copy()  # a view would keep the whole line
        windows = np.lib.stride_tricks.sliding_window_view(line, len(self._taps))[:: self._factor]
        return np.clip(np.rint(windows @ self._taps), -32768, 32767).astype(np.int16)


class Encoder:
    """An encoder of one channel, at ``rate`` hertz and ``bitrate`` bits per second. The first frame sets the length."""

    def __init__(self, rate: int, bitrate: int) -> None:
        self._rate = rate
        self._codec = av.CodecContext.create("libopus", "w")
        self._codec.sample_rate = rate
        self._codec.layout = "mono"
        self._codec.format = "s16"
        self._codec.bit_rate = bitrate
        self._codec.time_base = Fraction(1, rate)
        self._position = 0

    def encode(self, samples: Samples) -> bytes:
        """Encode one frame of contiguous samples."""
        if not self._position:
            self._codec.options = {"application": "voip", "frame_duration": f"{len(samples) * 1000 / self._rate:g}"}
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = self._rate
        frame.pts = self._position
        self._position += len(samples)
        return b"".join(bytes(packet) for packet in self._codec.encode(frame))


def _low_pass(factor: int) -> npt.NDArray[np.float32]:
    """A windowed sinc with unity gain, cut off at half the lower rate."""
    reach = _DELAY * factor
    at = np.arange(-reach, reach + 1)
    taps = np.sinc(at / factor) * np.kaiser(len(at), 6)
    return (taps / taps.sum()).astype(np.float32)
