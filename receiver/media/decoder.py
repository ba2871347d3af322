"""The interface of a decoder: encoded packets of one track in, samples out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from receiver.events import Samples


class Decoder(Protocol):
    """One instance per track: a decoder may keep state from packet to packet."""

    rate: int
    """Hertz of the samples that come out."""

    unit_bytes: int
    """Bytes of one sample of all channels: ``samples_in`` is then the payload's length by that, and no packet is ever
    damaged. 0 where packets are not that simple."""

    def samples_in(self, payload: bytes) -> int | None:
        """How many samples (per channel) a payload holds, from its bytes alone; None: it cannot be decoded.

        Cheap: asked once per packet, and the timeline is built from it.
        """

    def decode(self, payloads: Sequence[bytes]) -> Samples:
        """Decode consecutive packets, all accepted by ``samples_in``, into one new read-only array of shape (n,).

        n is the sum of ``samples_in``. A packet that turns out to be damaged does not raise: see ``damaged``.
        """

    def damaged(self) -> list[int]:
        """The indexes, in the last ``decode``, of packets that could not be decoded: silence stands in their place."""

    def conceal(self, samples: int) -> None:
        """Tell a decoder with memory that this many samples before the next packet are missing."""
