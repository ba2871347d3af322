from __future__ import annotations

import numpy as np
import pytest

from receiver.media import pyav


def packets_of(rate: int, hertz: float, seconds: float) -> list[bytes]:
    audio = (9000 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)).astype(np.int16)
    encoder = pyav.Encoder(rate, 64_000)
    return [encoder.encode(frame) for frame in audio.reshape(-1, rate // 50)]


def decoded(packets: list[bytes], rate: int) -> np.ndarray:
    decoder = pyav.Decoder(rate)
    return np.concatenate([decoder.decode(packet, rate // 50) for packet in packets])


@pytest.mark.parametrize("rate", [8000, 12000, 16000, 24000, 48000])
def test_the_first_packet_is_as_long_as_the_others(rate: int) -> None:
    decoder = pyav.Decoder(rate)
    assert [len(decoder.decode(packet, rate // 50)) for packet in packets_of(rate, 300, 0.1)] == [rate // 50] * 5


def test_a_malformed_packet_and_a_wrong_length_give_nothing() -> None:
    decoder = pyav.Decoder(16000)
    packets = packets_of(16000, 300, 0.06)
    assert decoder.decode(b"\x03\xff", 320) is None
    assert decoder.decode(packets[0], 640) is None
    assert decoder.decode(packets[1], 160) is None
    assert decoder.decode(packets[2], 320) is not None


@pytest.mark.parametrize("rate", [8000, 16000, 24000])
def test_a_lower_rate_keeps_what_it_can_hold_and_loses_the_rest(rate: int) -> None:
    kept = decoded(packets_of(48000, 0.3 * rate, 0.4), rate)[rate // 10 :]
    lost = decoded(packets_of(48000, 0.7 * rate, 0.4), rate)[rate // 10 :]
    assert np.std(kept) == pytest.approx(9000 / np.sqrt(2), rel=0.1)
    assert np.std(lost) < 60


def test_a_full_scale_square_wave_is_clipped_not_wrapped() -> None:
    square = np.where(np.arange(48000) // 80 % 2, 32767, -32768).astype(np.int16)
    encoder = pyav.Encoder(48000, 128_000)
    audio = decoded([encoder.encode(frame) for frame in square.reshape(-1, 960)], 8000)
    steps = np.abs(np.diff(audio[800:].astype(np.int32)))
    assert np.max(np.abs(audio.astype(np.int32))) >= 32767
    # 300 Hz at 8 kHz turns once in 13 samples; a wrapped peak would be a full step between two of the same half wave.
    assert np.count_nonzero(steps > 60_000) == 0


def test_concealing_is_harmless() -> None:
    packets = packets_of(48000, 300, 0.1)
    one, other = pyav.Decoder(48000), pyav.Decoder(48000)
    one.conceal(960)
    assert np.array_equal(one.decode(packets[0], 960), other.decode(packets[0], 960))
