"""Which decoder reads which encoding."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from receiver.audio import AudioFormat, Encoding
from receiver.errors import ConfigError, ProtocolError
from receiver.media.decoder import Decoder
from receiver.media.g711 import G711
from receiver.media.g722 import G722Decoder
from receiver.media.l16 import L16, ByteOrder
from receiver.media.opus import OpusDecoder

DECODERS: Mapping[Encoding, Callable[[AudioFormat, ByteOrder], Decoder]] = {
    Encoding.PCMU: lambda format, order: G711(format),
    Encoding.PCMA: lambda format, order: G711(format),
    Encoding.L16: lambda format, order: L16(format, order),
    Encoding.OPUS: lambda format, order: OpusDecoder(format.rate),
    Encoding.G722: lambda format, order: G722Decoder(),
}
"""One line per encoding."""


def decoder_for(format: AudioFormat, *, l16_byte_order: ByteOrder) -> Decoder:
    """Make a new decoder, for one track.

    Raises ProtocolError 4415 if this machine has nothing to decode OPUS or G722 with.
    """
    try:
        return DECODERS[format.encoding](format, l16_byte_order)
    except ConfigError as error:
        raise ProtocolError(4415, error.problem) from error
