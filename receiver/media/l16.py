"""L16: linear samples of 16 bits, and the arithmetic on interleaved channels that G.711 shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from receiver.audio import AudioFormat
from receiver.events import Samples

ByteOrder = Literal["little", "big"]


class L16:
    """Two bytes per sample, signed. Has no memory; two interleaved channels are mixed to one.

    RFC 3551, section 4.5.11 says big-endian; several vendors send little-endian, so the order is an argument.
    """

    def __init__(self, format: AudioFormat, byte_order: ByteOrder) -> None:
        self.rate = format.rate
        self._channels = format.channels
        self.unit_bytes = 2 * format.channels
        self._dtype = np.dtype("<i2" if byte_order == "little" else ">i2")

    def samples_in(self, payload: bytes) -> int | None:
        """Samples per channel; None if there is not one. An odd byte at the end, or half a pair, does not count."""
        return len(payload) // self.unit_bytes or None

    def decode(self, payloads: Sequence[bytes]) -> Samples:
        """Decode any number of payloads in one call."""
        # copy=False: in the machine's own order the samples are the payload's bytes, and read-only as those are.
        samples = np.frombuffer(whole(payloads, self.unit_bytes), self._dtype).astype(np.int16, copy=False)
        if self._channels > 1:
            return mixed(samples)
        samples.setflags(write=False)
        return samples

    def damaged(self) -> list[int]:
        """None ever is: every pair of bytes is a sample."""
        return []

    def conceal(self, samples: int) -> None:
        """Nothing to do without a memory."""


def whole(payloads: Sequence[bytes], width: int) -> bytes:
    """Join payloads after cutting each to a multiple of ``width`` bytes, so that an odd one shifts none behind it."""
    return b"".join([payload[: len(payload) - len(payload) % width] for payload in payloads])


def mixed(interleaved: Samples) -> Samples:
    """Average two interleaved channels into a new read-only array; halves are rounded to the even neighbour."""
    sums = interleaved.reshape(-1, 2).sum(axis=1, dtype=np.int32)
    samples = ((sums + ((sums >> 1) & 1)) >> 1).astype(np.int16)
    samples.setflags(write=False)
    return samples
