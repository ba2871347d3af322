"""What a recording may finish as, and what each of these formats can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Encoding = Literal["wav", "flac", "opus", "mp3"]
Bitrate = Literal[32, 48, 64, 96, 128]

NARROW_KBPS, WIDE_KBPS = 32, 64
"""The bitrate of a channel of up to 16 kHz, and of more, where none was asked for: speech stays as it was."""

_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)  # RFC 6716, section 2.1.3
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)  # of MPEG-1, MPEG-2 and MPEG-2.5


class NotEncoded(Exception):
    """A file stays WAV, and why. Nothing of it is lost."""


class Stopped(NotEncoded):
    """It is to be done another time."""


@dataclass(frozen=True)
class Codec:
    """One format. Rates in hertz; None: any."""

    name: str
    suffix: str
    media_type: str
    container: str  # as soundfile calls it
    subtype: str
    rates: tuple[int, ...] | None = None

    @property
    def lossless(self) -> bool:
        """Whether every sample comes back as it was."""
        return self.rates is None

    @property
    def available(self) -> bool:
        """Whether the libsndfile of this process can write it."""
        import soundfile  # not for who records WAV alone: it takes a tenth of a start

        return bool(soundfile.check_format(self.container, self.subtype))

    def rate(self, rate: int) -> int:
        """The rate that audio of ``rate`` is encoded at: itself, or the next higher one that there is."""
        if self.rates is None or rate in self.rates:
            return rate
        return next((higher for higher in self.rates if higher > rate), self.rates[-1])

    def settings(self, rate: int, channels: int, kbps: int | None) -> dict[str, float | str]:
        """What soundfile is told for a bitrate of ``kbps`` per channel; libsndfile knows it as a part of a range."""
        kbps = kbps or (NARROW_KBPS if rate <= 16000 else WIDE_KBPS)
        if self.name == "opus":
            return {"compression_level": (256 - kbps) / 250}  # 6 to 256 kbit/s for each channel
        if self.name == "mp3":
            low, high = (32, 320) if rate >= 32000 else (8, 160) if rate >= 16000 else (8, 64)  # for all channels
            wanted = min(kbps * channels + 0.5, high)  # it is cut to a whole number
            # as an average: of a constant one libsndfile leaves out, at low rates, what tells a decoder the length
            return {"compression_level": (high - wanted) / (high - low), "bitrate_mode": "AVERAGE"}
        return {}


CODECS: Mapping[str, Codec] = {
    codec.name: codec
    for codec in (
        Codec("flac", ".flac", "audio/flac", "FLAC", "PCM_16"),
        # RFC 7845, section 9, wants .opus; .ogg is taken for Vorbis by many players
        Codec("opus", ".opus", "audio/ogg; codecs=opus", "OGG", "OPUS", _OPUS_RATES),
        Codec("mp3", ".mp3", "audio/mpeg", "MP3", "MPEG_LAYER_III", _MP3_RATES),
    )
}
