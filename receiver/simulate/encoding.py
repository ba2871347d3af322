"""Samples into payloads, per encoding, and what each encoding is called on the wire."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal

from receiver.audio import Encoding
from receiver.events import Samples

with warnings.catch_warnings():
    # Python 3.11 and 3.12 announce that their audioop goes away; from 3.13 on the package audioop-lts has its name.
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop

ByteOrder = Literal["little", "big"]
Encode = Callable[[Samples], bytes]
"""int16 of shape (n,) in, one payload out; one function per track, for an encoder may remember."""

WIRE_NAMES = {
    # The first and third are published by SignalWire; the others follow their pattern.
    Encoding.PCMU: "audio/x-mulaw",
    Encoding.PCMA: "audio/x-alaw",
    Encoding.L16: "audio/x-L16",
    Encoding.OPUS: "audio/opus",
    Encoding.G722: "audio/G722",
}
RATES = {
    # hertz; the first is the default. G.711 is 8 kHz by its definition, OPUS takes these five (RFC 6716, table 1).
    # What a platform reports for G.722 is not published: its RTP clock is 8000, its samples have 16000, which is sent.
    Encoding.PCMU: (8000,),
    Encoding.PCMA: (8000,),
    Encoding.L16: (16000, 8000, 24000, 48000),
    Encoding.OPUS: (48000, 24000, 16000, 12000, 8000),
    Encoding.G722: (16000,),
}
OPUS_PACKETS_MS = (10, 20, 40, 60)  # RFC 6716, table 2; 2.5 ms is not a whole number of milliseconds


def encoder(encoding: Encoding, rate: int, byte_order: ByteOrder = "little") -> Encode:
    """The encoder of one track. Raises ReceiverError where OPUS or G722 is wanted and its library is not there."""
    if encoding is Encoding.PCMU:
        return lambda samples: audioop.lin2ulaw(samples.tobytes(), 2)
    if encoding is Encoding.PCMA:
        return lambda samples: audioop.lin2alaw(samples.tobytes(), 2)
    if encoding is Encoding.L16:
        wire = "<i2" if byte_order == "little" else ">i2"
        return lambda samples: samples.astype(wire).tobytes()
    if encoding is Encoding.G722:
        from receiver.media.g722 import G722Encoder

        return G722Encoder().encode
    from receiver.media.opus import OpusEncoder  # loads a library that the other encodings do not need

    return OpusEncoder(rate).encode
