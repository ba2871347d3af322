"""Samples into payloads: decoded again by decoders that are not ours."""

from __future__ import annotations

import subprocess
import sys

import imageio_ffmpeg
import numpy as np
import pytest

from receiver.audio import Encoding
from receiver.errors import ReceiverError
from receiver.media.g722 import G722Decoder
from receiver.simulate.encoding import OPUS_PACKETS_MS, RATES, WIRE_NAMES, encoder

EVERY = np.arange(-32768, 32768).astype(np.int16)


def by_ffmpeg(payload: bytes, coding: str, *, rated: bool = True) -> np.ndarray:
    rate = ["-ar", "8000"] if rated else []  # not a coding with a rate of its own
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", coding, *rate, "-i", "-", "-f", "s16le", "-"]
    done = subprocess.run(command, input=payload, capture_output=True, check=True, timeout=20)
    return np.frombuffer(done.stdout, np.int16)


@pytest.mark.parametrize(("encoding", "coding"), [(Encoding.PCMU, "mulaw"), (Encoding.PCMA, "alaw")])
def test_g711_keeps_every_sample_to_its_step(encoding: Encoding, coding: str) -> None:
    payload = encoder(encoding, 8000)(EVERY)
    assert len(payload) == len(EVERY)
    heard = by_ffmpeg(payload, coding).astype(int)
    assert (np.diff(heard) >= 0).all()  # louder stays louder
    clipped = np.clip(EVERY.astype(int), -32256, 32256)
    assert (np.abs(heard - clipped) <= 16 + np.abs(clipped) // 16).all()  # a step is 1/16 of its segment


@pytest.mark.parametrize("order", ["little", "big"])
def test_l16_is_bit_exact_in_either_byte_order(order: str) -> None:
    payload = encoder(Encoding.L16, 16000, order)(EVERY)
    assert np.array_equal(by_ffmpeg(payload, "s16le" if order == "little" else "s16be"), EVERY)


def test_l16_is_little_unless_told_otherwise() -> None:
    assert encoder(Encoding.L16, 8000)(np.array([1, -2], np.int16)) == b"\x01\x00\xfe\xff"


@pytest.mark.parametrize("rate", RATES[Encoding.OPUS])
def test_opus_packets_last_as_long_as_what_went_in(rate: int) -> None:
    for ms in OPUS_PACKETS_MS:
        encode = encoder(Encoding.OPUS, rate)
        assert packet_ms(encode(np.zeros(rate * ms // 1000, np.int16))) == ms


def packet_ms(packet: bytes) -> float:
    """How long an OPUS packet lasts by its first bytes (RFC 6716, section 3.1 and 3.2)."""
    config, code = packet[0] >> 3, packet[0] & 3
    if config < 12:
        frame = (10, 20, 40, 60)[config & 3]
    elif config < 16:
        frame = (10, 20)[config & 1]
    else:
        frame = (2.5, 5, 10, 20)[config & 3]
    return frame * (1, 2, 2, packet[1] & 0x3F if code == 3 else 0)[code]


def test_g722_comes_out_of_another_decoder_as_out_of_ours() -> None:
    encode = encoder(Encoding.G722, 16000)
    payload = b"".join(encode(packet) for packet in np.split(EVERY, 32))
    assert len(payload) == len(EVERY) // 2
    assert np.array_equal(by_ffmpeg(payload, "g722", rated=False), G722Decoder().decode([payload]))


def test_g722_without_its_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "G722", None)
    with pytest.raises(ReceiverError, match=r"media-stream-receiver\[g722\]"):
        encoder(Encoding.G722, 16000)


def test_every_encoding_has_a_name_on_the_wire_and_its_rates() -> None:
    assert set(WIRE_NAMES) == set(RATES) == set(Encoding)
    assert RATES[Encoding.PCMU] == RATES[Encoding.PCMA] == (8000,)
