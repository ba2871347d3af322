"""G.722 at 64 kbit/s, through the package G722 (libg722), which the extra ``g722`` brings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from receiver.errors import ConfigError
from receiver.events import Samples

RATE = 16_000
"""Of the samples, whatever the peer says of its clock: RFC 3551, section 4.5.2."""

SAMPLES_PER_BYTE = 2
_BITS_PER_S = 64_000


class G722Decoder:
    """One channel. Remembers from packet to packet, so a track's packets may be decoded in batches of any size.

    Raises ConfigError if the package is not there.
    """

    rate = RATE
    unit_bytes = 0  # a byte holds more than one sample

    def __init__(self) -> None:
        self._codec = _codec()

    def samples_in(self, payload: bytes) -> int | None:
        """Two samples for each byte; None for nothing."""
        return SAMPLES_PER_BYTE * len(payload) or None

    def decode(self, payloads: Sequence[bytes]) -> Samples:
        """Decode any number of payloads in one call."""
        samples = np.asarray(self._codec.decode(b"".join(payloads)), np.int16)
        samples.setflags(write=False)
        return samples

    def damaged(self) -> list[int]:
        """None ever is: every byte means two samples."""
        return []

    def conceal(self, samples: int) -> None:
        """Keep the state: the coder's predictors forget by themselves, so that decoder and encoder meet again soon."""


class G722Encoder:
    """One channel of int16 samples at RATE. Remembers from packet to packet.

    Raises ConfigError if the package is not there.
    """

    def __init__(self) -> None:
        self._codec = _codec()

    def encode(self, samples: Samples) -> bytes:
        """A byte for every two samples; a single one at the end is followed by silence."""
        encoded: bytes = self._codec.encode(np.pad(samples, (0, len(samples) % SAMPLES_PER_BYTE)))
        return encoded


def available() -> bool:
    """Whether the package is there."""
    try:
        _codec()
    except ConfigError:
        return False
    return True


def _codec() -> Any:
    try:
        from G722 import G722
    except ImportError:
        raise ConfigError("", "G722 needs the package G722: pip install 'media-stream-receiver[g722]'") from None
    return G722(RATE, _BITS_PER_S)
