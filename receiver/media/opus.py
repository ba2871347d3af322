"""OPUS: one raw packet of RFC 6716 per message, through libopus or, where the system has none, through PyAV.

FFmpeg's own decoder ``opus`` is never used: its first packet is 24 samples short.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np

from receiver.errors import ConfigError
from receiver.events import Samples
from receiver.media import libopus

Backend = Literal["libopus", "pyav"]
_BACKENDS: tuple[Backend, ...] = ("libopus", "pyav")  # the first conceals lost packets

_LONGEST = 1275  # bytes of one frame: RFC 6716, section 3.2, rule R2
_UNITS_PER_PACKET = 48  # of 2.5 ms; 120 ms is the most that a packet may hold: rule R5
_ENCODED_UNITS = (1, 2, 4, 8, 16, 24)  # what an encoder makes of one frame: section 2.1.4
# Frame sizes by configuration, in units of 2.5 ms: section 3.1, table 2. SILK, hybrid, CELT.
_UNITS = (4, 8, 16, 24) * 3 + (4, 8) * 2 + (1, 2, 4, 8) * 4


class PacketDecoder(Protocol):
    """What a backend is asked for."""

    def decode(self, packet: bytes, samples: int) -> Samples | None:
        """Decode one packet that holds this many samples; None: it could not be decoded."""

    def conceal(self, samples: int) -> None:
        """Let this many samples pass that were never received."""


class FrameEncoder(Protocol):
    """What a backend is asked for, in the other direction."""

    def encode(self, samples: Samples) -> bytes:
        """Encode one frame."""


def backend() -> Backend | None:
    """Which library ``auto`` is on this machine; None: there is none. The first call may take a while: it loads it."""
    for name in _BACKENDS:
        if _has(name):
            return name
    return None


def _has(name: Backend) -> bool:
    if name == "libopus":
        return libopus.load() is not None
    try:
        import av

        return bool(av.Codec("libopus", "r"))
    except (ImportError, ValueError):  # not installed, or built on an FFmpeg without libopus
        return False


def _chosen(name: Backend | Literal["auto"]) -> Backend:
    found = backend() if name == "auto" else name
    if found is None or not _has(found):
        problem = "OPUS needs libopus (Debian: libopus0) or PyAV: pip install 'media-stream-receiver[opus]'"
        raise ConfigError("", problem)
    return found


class OpusDecoder:
    """Always one channel out, at any rate that RFC 6716 knows, in hertz. Remembers from packet to packet.

    Raises ConfigError if the library is not there.
    """

    def __init__(self, rate: int, *, backend: Backend | Literal["auto"] = "auto") -> None:
        self.rate = rate
        self.unit_bytes = 0
        self._unit = rate // 400  # samples of 2.5 ms
        self._packets: PacketDecoder
        self._damaged: list[int] = []
        if _chosen(backend) == "libopus":
            self._packets = libopus.Decoder(rate)
        else:
            from receiver.media import pyav

            self._packets = pyav.Decoder(rate)

    def samples_in(self, payload: bytes) -> int | None:
        """Read the length off the packet's frames; None for what RFC 6716, section 3.4 calls malformed."""
        frames = frames_in(payload)
        if frames is None:
            return None
        units = frames * _UNITS[payload[0] >> 3]
        return units * self._unit if units <= _UNITS_PER_PACKET else None

    def decode(self, payloads: Sequence[bytes]) -> Samples:
        """Decode packet by packet: each depends on those before it."""
        self._damaged = []
        parts: list[Samples] = []
        for index, payload in enumerate(payloads):
            length = self.samples_in(payload) or 0
            samples = self._packets.decode(payload, length)
            if samples is None:
                self._damaged.append(index)
                samples = np.zeros(length, np.int16)
            parts.append(samples)
        joined = np.concatenate(parts) if parts else np.zeros(0, np.int16)
        joined.setflags(write=False)
        return joined

    def damaged(self) -> list[int]:
        """Packets whose frames are in order, but whose audio the library refused."""
        return self._damaged

    def conceal(self, samples: int) -> None:
        """Let libopus extrapolate over the hole, so that the packets behind it start from a likely state."""
        self._packets.conceal(samples)


class OpusEncoder:
    """Makes one packet of each frame of int16 samples, one channel. ``bitrate`` in bits per second.

    Raises ConfigError if the library is not there.
    """

    def __init__(self, rate: int, *, bitrate: int = 24_000, backend: Backend | Literal["auto"] = "auto") -> None:
        self.rate = rate
        self.frame_samples: int | None = None
        """Samples of every frame: the first one decides."""
        self._frames: FrameEncoder
        if _chosen(backend) == "libopus":
            self._frames = libopus.Encoder(rate, bitrate)
        else:
            from receiver.media import pyav

            self._frames = pyav.Encoder(rate, bitrate)

    def encode(self, samples: Samples) -> bytes:
        """Encode one frame of 2.5, 5, 10, 20, 40 or 60 ms, always the same. Raises ValueError for another length."""
        if self.frame_samples is None and len(samples) * 400 in [self.rate * units for units in _ENCODED_UNITS]:
            self.frame_samples = len(samples)
        if samples.shape != (self.frame_samples,):
            raise ValueError(
                f"{len(samples)} samples are not a frame of {self.frame_samples or '2.5 to 60 ms'} at {self.rate} Hz"
            )
        return self._frames.encode(np.ascontiguousarray(samples, np.int16))


def frames_in(packet: bytes) -> int | None:
    """Count the frames of a packet, 1 to 48; None if it is malformed: RFC 6716, section 3.2, rules R1 to R7."""
    size = len(packet)
    if size == 0:
        return None  # R1
    match packet[0] & 3:
        case 0:
            return 1 if size - 1 <= _LONGEST else None  # R2
        case 1:
            return 2 if size % 2 and (size - 1) // 2 <= _LONGEST else None  # R3
        case 2:
            after = _after_frame(packet, 1)
            return 2 if after is not None and after[1] <= size and size - after[1] <= _LONGEST else None  # R4
    return _frames_of_code_3(packet)


def _frames_of_code_3(packet: bytes) -> int | None:
    """Section 3.2.5: a byte of flags and count, padding, lengths, frames."""
    if len(packet) < 2:
        return None
    flags = packet[1]
    frames = flags & 63
    if not 0 < frames <= _UNITS_PER_PACKET:
        return None  # R5
    at = 2
    end = len(packet)
    if flags & 0x40:
        padding = 255
        while padding == 255:  # each 255 stands for 254 bytes and goes on
            if at >= end:
                return None
            padding = packet[at]
            at += 1
            end -= 254 if padding == 255 else padding
    if flags & 0x80:
        sizes = 0
        for _ in range(frames - 1):
            after = _after_frame(packet, at)
            if after is None:
                return None
            at, behind = after
            sizes += behind - at
        last = end - at - sizes
        return frames if 0 <= last <= _LONGEST else None  # R7
    each, rest = divmod(end - at, frames)
    return frames if not rest and 0 <= each <= _LONGEST else None  # R6


def _after_frame(packet: bytes, at: int) -> tuple[int, int] | None:
    """Read a frame length of one or two bytes (section 3.2.1): where it ends, and where a frame put there would."""
    if at >= len(packet):
        return None
    first = packet[at]
    if first < 252:
        return at + 1, at + 1 + first
    if at + 1 >= len(packet):
        return None
    return at + 2, at + 2 + first + 4 * packet[at + 1]
