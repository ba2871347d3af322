from __future__ import annotations

import re
import resource
from collections.abc import Iterator
from ctypes.util import find_library

import numpy as np
import pytest

from receiver.events import Samples
from receiver.media import libopus


@pytest.fixture
def fresh() -> Iterator[None]:
    """The library is looked for anew, in the test and after it."""
    libopus.load.cache_clear()
    yield
    libopus.load.cache_clear()


def tone(rate: int, seconds: float) -> Samples:
    return (9000 * np.sin(2 * np.pi * 300 * np.arange(int(rate * seconds)) / rate)).astype(np.int16)


def packets_of(rate: int, seconds: float) -> list[bytes]:
    encoder = libopus.Encoder(rate, 24_000)
    audio = tone(rate, seconds).reshape(-1, rate // 50)
    return [encoder.encode(frame) for frame in audio]


def test_a_machine_without_the_library_is_told_so(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    other = find_library("c")  # loads, and has none of the functions
    monkeypatch.setattr(libopus, "_FINDERS", [lambda: None, lambda: "libno-such-thing.so.0", lambda: other])
    assert libopus.load() is None
    with pytest.raises(LookupError, match="not installed"):
        libopus.version()
    with pytest.raises(LookupError, match="not installed"):
        libopus.Decoder(8000)


@pytest.mark.system
def test_the_systems_library_is_found_and_says_its_version(fresh: None) -> None:
    assert libopus.load() is not None
    assert libopus.load() is libopus.load()
    assert re.match(r"libopus \d", libopus.version())


@pytest.mark.system
@pytest.mark.parametrize("find", libopus._FINDERS[2:])
def test_the_library_is_found_the_long_way_too(fresh: None, monkeypatch: pytest.MonkeyPatch, find: object) -> None:
    monkeypatch.setattr(libopus, "_FINDERS", [lambda: "libno-such-thing.so.0", find])
    assert libopus.load() is not None


@pytest.mark.system
def test_a_tone_comes_back_as_a_tone() -> None:
    decoder = libopus.Decoder(16000)
    audio = np.concatenate([decoder.decode(packet, 320) for packet in packets_of(16000, 1)])  # type: ignore[arg-type]  # none is None
    spectrum = np.abs(np.fft.rfft(audio[3200:].astype(np.float64)))
    assert np.argmax(spectrum) * 16000 / len(audio[3200:]) == pytest.approx(300, abs=2)


@pytest.mark.system
def test_a_malformed_packet_and_a_wrong_length_give_nothing() -> None:
    decoder = libopus.Decoder(16000)
    (packet,) = packets_of(16000, 0.02)
    assert decoder.decode(b"\x03\xff", 320) is None
    assert decoder.decode(packet, 160) is None  # more than there was room for
    assert decoder.decode(packet, 640) is None
    assert decoder.decode(packet, 320) is not None


@pytest.mark.system
@pytest.mark.parametrize("rate", [8000, 12000, 16000, 24000, 48000])
def test_a_concealed_hole_changes_what_follows_and_settles(rate: int) -> None:
    packets = packets_of(rate, 1)
    size = rate // 50
    concealing, ignorant, whole = (libopus.Decoder(rate) for _ in range(3))
    for decoder in (concealing, ignorant, whole):
        for packet in packets[:20]:
            decoder.decode(packet, size)
    concealing.conceal(2 * size + 1)  # no multiple of 2.5 ms: the rest is left out
    concealing.conceal(1)
    for packet in packets[20:22]:
        whole.decode(packet, size)
    after = [[decoder.decode(packet, size) for packet in packets[22:]] for decoder in (concealing, ignorant, whole)]
    assert not np.array_equal(after[0][0], after[1][0])
    error = np.abs(np.concatenate(after[0][10:]).astype(np.int32) - np.concatenate(after[2][10:]))
    assert error.max() < 100


@pytest.mark.system
def test_behind_a_long_hole_the_decoder_starts_afresh() -> None:
    packets = packets_of(48000, 0.4)
    fresh, long, summed = (libopus.Decoder(48000) for _ in range(3))
    for decoder in (long, summed):
        for packet in packets[:10]:
            decoder.decode(packet, 960)
    long.conceal(10**12)
    for _ in range(7):
        summed.conceal(960)
    for packet in packets[10:]:
        expected = fresh.decode(packet, 960)
        assert np.array_equal(long.decode(packet, 960), expected)  # type: ignore[arg-type]  # compared, not used
        assert np.array_equal(summed.decode(packet, 960), expected)  # type: ignore[arg-type]  # compared, not used


@pytest.mark.system
def test_what_libopus_does_not_have_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="no decoder for 44100 Hz"):
        libopus.Decoder(44100)
    with pytest.raises(ValueError, match="no encoder for 44100 Hz"):
        libopus.Encoder(44100, 24_000)
    with pytest.raises(ValueError, match="no encoder for -5 bit/s"):
        libopus.Encoder(48000, -5)
    with pytest.raises(ValueError, match="cannot encode 100 samples"):
        libopus.Encoder(48000, 24_000).encode(np.zeros(100, np.int16))


@pytest.mark.system
def test_decoders_and_encoders_are_freed_with_their_objects() -> None:
    def make(count: int) -> int:
        for _ in range(count):
            libopus.Decoder(48000)
            libopus.Encoder(48000, 24_000)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux

    before = make(50)
    assert make(2000) - before < 20_000  # a pair is above 40 KiB
