"""PCMU and PCMA: ITU-T G.711, bit-exact."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from receiver.audio import AudioFormat, Encoding
from receiver.events import Samples
from receiver.media.l16 import mixed, whole

with warnings.catch_warnings():
    # Python 3.11 and 3.12 warn that their audioop will go; from 3.13 on, audioop-lts takes its place.
    warnings.filterwarnings("ignore", "'audioop' is deprecated", DeprecationWarning)
    import audioop


class G711:
    """One byte per sample. Has no memory; two interleaved channels are mixed to one."""

    def __init__(self, format: AudioFormat) -> None:
        self.rate = format.rate
        self.unit_bytes = self._channels = format.channels
        self._expand = audioop.ulaw2lin if format.encoding is Encoding.PCMU else audioop.alaw2lin

    def samples_in(self, payload: bytes) -> int | None:
        """Samples per channel; None if there is not one. Half a pair of channels at the end does not count."""
        return len(payload) // self._channels or None

    def decode(self, payloads: Sequence[bytes]) -> Samples:
        """Decode any number of payloads in one call."""
        if self._channels == 1:
            return np.frombuffer(self._expand(b"".join(payloads), 2), np.int16)
        return mixed(np.frombuffer(self._expand(whole(payloads, 2), 2), np.int16))

    def damaged(self) -> list[int]:
        """None ever is: every byte is a sample."""
        return []

    def conceal(self, samples: int) -> None:
        """Nothing to do without a memory."""
