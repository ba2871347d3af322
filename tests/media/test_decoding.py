from __future__ import annotations

import sys

import numpy as np
import pytest

from receiver.audio import AudioFormat, Encoding
from receiver.errors import ProtocolError
from receiver.media import libopus
from receiver.media.decoding import DECODERS, decoder_for


def test_every_encoding_has_a_decoder() -> None:
    assert set(DECODERS) == set(Encoding)


@pytest.mark.parametrize(
    ("encoding", "payload", "expected"),
    [
        (Encoding.PCMU, b"\xff\x00\x80", [0, -32124, 32124]),
        (Encoding.PCMA, b"\xd5\x2a\xaa", [8, -32256, 32256]),
        (Encoding.L16, b"\x01\x00\x00\x80", [1, -32768]),
        (Encoding.OPUS, b"\xf8\xff\xfe", [0] * 160),
    ],
)
def test_a_format_gets_the_decoder_that_reads_it(encoding: Encoding, payload: bytes, expected: list[int]) -> None:
    decoder = decoder_for(AudioFormat(encoding, 8000), l16_byte_order="little")
    assert decoder.rate == 8000
    assert decoder.samples_in(payload) == len(expected)
    assert np.max(np.abs(decoder.decode([payload]) - np.array(expected))) == 0
    assert decoder.damaged() == []


def test_g722_is_read_at_its_own_rate() -> None:
    decoder = decoder_for(AudioFormat(Encoding.G722, 16000), l16_byte_order="little")
    assert (decoder.rate, decoder.samples_in(b"\xff\xff")) == (16000, 4)
    assert len(decoder.decode([b"\xff", b"\xff"])) == 4


def test_g722_without_its_package_is_refused_as_a_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "G722", None)
    with pytest.raises(ProtocolError) as caught:
        decoder_for(AudioFormat(Encoding.G722, 16000), l16_byte_order="little")
    assert caught.value.code == 4415
    assert "media-stream-receiver[g722]" in caught.value.reason
    assert len(caught.value.reason.encode()) <= 120


def test_the_byte_order_of_l16_is_the_sources() -> None:
    assert decoder_for(AudioFormat(Encoding.L16, 8000), l16_byte_order="big").decode([b"\x00\x01"]).tolist() == [1]


def test_opus_without_a_library_is_refused_as_a_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libopus, "_FINDERS", [])
    monkeypatch.setitem(sys.modules, "av", None)
    libopus.load.cache_clear()
    try:
        with pytest.raises(ProtocolError) as caught:
            decoder_for(AudioFormat(Encoding.OPUS, 48000), l16_byte_order="little")
    finally:
        libopus.load.cache_clear()
    assert caught.value.code == 4415
    assert "OPUS" in caught.value.reason
    assert len(caught.value.reason.encode()) <= 120
