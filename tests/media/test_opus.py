from __future__ import annotations

import io
import struct
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given
from hypothesis import strategies as st

from receiver.audio import RATES, Encoding
from receiver.errors import ConfigError
from receiver.events import Samples
from receiver.media import libopus
from receiver.media.opus import Backend, OpusDecoder, OpusEncoder, backend, frames_in

BACKENDS = ["pyav", pytest.param("libopus", marks=pytest.mark.system)]
SILENCE_20_MS = b"\xf8\xff\xfe"  # CELT, 20 ms, one channel: what an encoder sends for digital silence
MALFORMED = b"\x03\xff"  # code 3 with 63 frames


def speech(rate: int, seconds: float) -> Samples:
    """A buzzing voice: harmonics under a syllable's envelope, with some breath."""
    at = np.arange(round(rate * seconds)) / rate
    voice = sum(np.sin(2 * np.pi * hertz * at) / nth for nth, hertz in enumerate((140, 280, 420, 840, 1230, 2460), 1))
    breath = 300 * np.random.default_rng(5).standard_normal(len(at))
    return np.clip(6000 * (0.5 + 0.5 * np.sin(2 * np.pi * 3 * at)) * voice + breath, -32768, 32767).astype(np.int16)


def packets_of(audio: Samples, rate: int, ms: float, name: Backend) -> list[bytes]:
    encoder = OpusEncoder(rate, backend=name)
    size = int(rate * ms / 1000)
    return [encoder.encode(audio[at : at + size]) for at in range(0, len(audio) - size + 1, size)]


def ogg(packets: list[bytes], ms: float) -> bytes:
    """The packets as an Ogg Opus file (RFC 7845) without pre-skip: one packet per page."""
    head = struct.pack("<8sBBHIhB", b"OpusHead", 1, 1, 0, 48000, 0, 0)
    pages = [page(head, 0, 0, 2), page(b"OpusTags" + bytes(8), 0, 1, 0)]
    for index, packet in enumerate(packets, 1):
        pages.append(page(packet, int(48 * ms * index), index + 1, 4 if index == len(packets) else 0))
    return b"".join(pages)


def page(packet: bytes, position: int, number: int, flags: int) -> bytes:
    lacing = b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255])
    head = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, position, 1, number, 0, len(lacing))
    whole = head + lacing + packet
    crc = 0
    for byte in whole:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return whole[:22] + struct.pack("<I", crc) + whole[26:]


def libsndfiles(packets: list[bytes], ms: float) -> Samples:
    samples: Samples = soundfile.read(io.BytesIO(ogg(packets, ms)), dtype="int16")[0]
    return samples


def decibels(found: Samples, reference: Samples) -> float:
    """Signal to noise."""
    signal = reference.astype(np.float64)
    return float(10 * np.log10(np.sum(signal**2) / max(np.sum((found - signal) ** 2), 1e-9)))


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("ms", [2.5, 5, 10, 20, 40, 60])
def test_a_recording_equals_libsndfiles_within_rounding(name: Backend, ms: float) -> None:
    packets = packets_of(speech(48000, 0.6), 48000, ms, name)
    decoder = OpusDecoder(48000, backend=name)
    found = decoder.decode(packets[:3] + packets[3:])
    assert len(found) == sum(decoder.samples_in(packet) or 0 for packet in packets) == 28_800
    assert np.max(np.abs(found.astype(np.int32) - libsndfiles(packets, ms))) <= 1


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize(("ms", "noise"), [(2.5, 60.0), (20, 15.0)])
def test_a_recording_equals_ffmpegs_own_decoder(name: Backend, ms: float, noise: float, tmp_path: Path) -> None:
    # Another implementation of the format. SILK's resampler is not normative, and theirs is 3 samples apart.
    packets = packets_of(speech(48000, 0.6), 48000, ms, name)
    source = tmp_path / "call.opus"
    source.write_bytes(ogg(packets, ms))
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-c:a", "opus", "-i", str(source), "-f", "s16le", "-"]
    reference = np.frombuffer(subprocess.run(ffmpeg, capture_output=True, check=True).stdout, np.int16)
    found = OpusDecoder(48000, backend=name).decode(packets)
    lags = range(4)
    assert max(decibels(found[2000:20_000], reference[2000 + lag : 20_000 + lag]) for lag in lags) > noise


@pytest.mark.parametrize("rate", RATES[Encoding.OPUS])
@pytest.mark.parametrize(
    ("name", "delay", "noise"), [("pyav", 12, 35.0), pytest.param("libopus", 0, 30.0, marks=pytest.mark.system)]
)
def test_a_lower_rate_is_the_same_audio_in_fewer_samples(rate: int, name: Backend, delay: int, noise: float) -> None:
    packets = packets_of(speech(rate, 0.6), rate, 2.5, name)
    found = OpusDecoder(rate, backend=name).decode(packets)
    assert len(found) == rate * 6 // 10
    reference = soxr.resample(libsndfiles(packets, 2.5), 48000, rate, "VHQ")
    late = 0 if rate == 48000 else delay
    assert decibels(found[400 + late : 4000 + late], reference[400:4000]) > noise


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("rate", RATES[Encoding.OPUS])
@pytest.mark.parametrize("ms", [2.5, 10, 20, 60])
def test_every_packet_gives_exactly_what_its_bytes_say(name: Backend, rate: int, ms: float) -> None:
    size = int(rate * ms / 1000)
    decoder = OpusDecoder(rate, backend=name)
    for packet in packets_of(speech(rate, 0.3), rate, ms, name):
        assert decoder.samples_in(packet) == len(decoder.decode([packet])) == size
        assert decoder.damaged() == []


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("frames", [3, 4, 5, 6])
def test_a_packet_may_hold_up_to_120_ms_in_frames(name: Backend, frames: int) -> None:
    singles = packets_of(speech(16000, 0.24), 16000, 20, name)[:frames]
    lengths = b"".join(
        bytes([size]) if (size := len(one) - 1) < 252 else bytes([252 + size % 4, (size - 252) // 4])
        for one in singles[:-1]
    )
    bundle = bytes([singles[0][0] | 3, 0x80 | frames]) + lengths + b"".join(one[1:] for one in singles)
    decoder = OpusDecoder(16000, backend=name)
    assert decoder.samples_in(bundle) == 320 * frames
    apart = OpusDecoder(16000, backend=name).decode(singles)
    assert np.array_equal(decoder.decode([bundle]), apart)


@pytest.mark.parametrize(
    ("toc", "units"), list(enumerate([4, 8, 16, 24] * 3 + [4, 8] * 2 + [1, 2, 4, 8] * 4)), ids=lambda value: str(value)
)
def test_the_first_byte_says_how_long_a_frame_is(toc: int, units: int) -> None:
    decoder = OpusDecoder(8000, backend="pyav")
    assert decoder.samples_in(bytes([toc << 3, 1, 2])) == units * 20
    assert decoder.samples_in(bytes([toc << 3 | 1, 1, 2])) == units * 40
    assert decoder.samples_in(bytes([toc << 3])) == units * 20  # nothing sent: discontinuous transmission


@pytest.mark.parametrize(
    ("packet", "frames"),
    [
        (b"", None),
        (b"\x08" + bytes(1275), 1),
        (b"\x08" + bytes(1276), None),
        (b"\x09" + bytes(2 * 1275), 2),
        (b"\x09" + bytes(2 * 1276), None),
        (b"\x09" + bytes(3), None),
        (b"\x0a", None),
        (b"\x0a\x02\x01\x01\x05", 2),
        (b"\x0a\x03\x01\x01", None),
        (b"\x0a\xfc", None),
        (b"\x0a\xfc\x01" + bytes(256 + 3), 2),
        (b"\x0a\x01" + bytes(1 + 1275), 2),
        (b"\x0a\x01" + bytes(1 + 1276), None),
        (b"\x0b", None),
        (b"\x0b\x00", None),
        (b"\x0b\x31" + bytes(49), None),
        (b"\x0b\x03" + bytes(9), 3),
        (b"\x0b\x03" + bytes(10), None),
        (b"\x0b\x02" + bytes(2 * 1276), None),
        (b"\x0b\x42\x02" + bytes(2 + 4), 2),
        (b"\x0b\x42\xff\x01" + bytes(255 + 4), 2),
        (b"\x0b\x42", None),
        (b"\x0b\x42\xff", None),
        (b"\x0b\x42\x09" + bytes(4), None),
        (b"\x0b\x83\x01\x02" + bytes(3 + 4), 3),
        (b"\x0b\x83\x01\x02" + bytes(2), None),
        (b"\x0b\x83\x01", None),
        (b"\x0b\x82\x01" + bytes(1 + 1276), None),
        (b"\x0b\xc2\x03\x01" + bytes(1 + 2 + 3), 2),
    ],
)
def test_frames_are_counted_by_the_rules_of_rfc_6716(packet: bytes, frames: int | None) -> None:
    assert frames_in(packet) == frames


def test_more_than_120_ms_cannot_be_decoded() -> None:
    decoder = OpusDecoder(48000, backend="pyav")
    assert decoder.samples_in(b"\x0b\x06" + bytes(6)) == 5760
    assert decoder.samples_in(b"\x0b\x07" + bytes(7)) is None


@pytest.mark.system
@given(st.binary(max_size=80), st.integers(0, 255), st.sampled_from([0, 1, 2, 3, 6, 48, 63, 0x42, 0x83, 0xC2]))
def test_libopus_agrees_on_what_is_malformed(rest: bytes, toc: int, second: int) -> None:
    decoder = OpusDecoder(8000, backend="libopus")
    for packet in (bytes([toc, second]) + rest, bytes([toc]) + rest):
        length = decoder.samples_in(packet)
        found = libopus.Decoder(8000).decode(packet, length or 960)
        assert found is None if length is None else found is not None and len(found) == length


@pytest.mark.parametrize("name", BACKENDS)
@given(packets=st.lists(st.binary(max_size=60), max_size=8))
def test_any_bytes_give_exactly_the_samples_that_were_promised(name: Backend, packets: list[bytes]) -> None:
    decoder = OpusDecoder(16000, backend=name)
    accepted = [packet for packet in packets if decoder.samples_in(packet)]
    assert len(decoder.decode(accepted)) == sum(decoder.samples_in(packet) or 0 for packet in accepted)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_damaged_packet_is_named_and_its_neighbours_survive(name: Backend) -> None:
    packets = packets_of(speech(16000, 0.2), 16000, 20, name)
    decoder = OpusDecoder(16000, backend=name)
    found = decoder.decode([*packets[:4], MALFORMED, *packets[4:]])
    assert decoder.damaged() == [4]
    assert np.array_equal(found, OpusDecoder(16000, backend=name).decode(packets))
    decoder.decode(packets)
    assert decoder.damaged() == []


@pytest.mark.parametrize("name", BACKENDS)
def test_audio_recovers_behind_a_hole(name: Backend) -> None:
    packets = packets_of(speech(48000, 1), 48000, 20, name)
    whole = OpusDecoder(48000, backend=name).decode(packets)
    decoder = OpusDecoder(48000, backend=name)
    decoder.decode(packets[:10])
    decoder.conceal(2 * 960)
    found = decoder.decode(packets[12:])
    assert len(found) == 38 * 960
    assert decibels(found[10 * 960 :], whole[22 * 960 :]) > 25


@pytest.mark.parametrize("name", BACKENDS)
def test_two_channels_come_out_as_one(name: Backend) -> None:
    stereo = bytes([SILENCE_20_MS[0] | 4]) + SILENCE_20_MS[1:]
    assert len(OpusDecoder(48000, backend=name).decode([stereo] * 3)) == 3 * 960


@pytest.mark.parametrize("name", BACKENDS)
def test_samples_are_shared_and_cannot_be_written(name: Backend) -> None:
    decoder = OpusDecoder(8000, backend=name)
    for packets in ([], [SILENCE_20_MS], [SILENCE_20_MS] * 3):
        samples = decoder.decode(packets)
        assert samples.shape == (len(packets) * 160,)
        assert samples.dtype == np.int16
        assert not samples.flags.writeable
    assert (decoder.rate, decoder.unit_bytes) == (8000, 0)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("size", [0, 1, 159, 161, 960 * 2 + 1])
def test_what_is_no_frame_cannot_be_encoded(name: Backend, size: int) -> None:
    with pytest.raises(ValueError, match="not a frame"):
        OpusEncoder(8000, backend=name).encode(np.zeros(size, np.int16))


@pytest.mark.parametrize("name", BACKENDS)
def test_frames_are_all_as_long_as_the_first(name: Backend) -> None:
    encoder = OpusEncoder(8000, backend=name)
    encoder.encode(np.zeros(320, np.int16))
    with pytest.raises(ValueError, match="not a frame of 320 at 8000 Hz"):
        encoder.encode(np.zeros(160, np.int16))


@pytest.mark.parametrize("name", BACKENDS)
def test_a_bit_rate_is_kept(name: Backend) -> None:
    audio = speech(48000, 2)
    for bitrate in (12_000, 48_000):
        encoder = OpusEncoder(48000, bitrate=bitrate, backend=name)
        size = sum(len(encoder.encode(audio[at : at + 960])) for at in range(0, len(audio), 960))
        assert 0.6 * bitrate < size * 8 / 2 < 1.4 * bitrate


def test_the_systems_library_is_preferred() -> None:
    expected = "libopus" if libopus.load() is not None else "pyav"
    assert backend() == expected
    assert len(OpusDecoder(8000).decode([OpusEncoder(8000).encode(np.zeros(160, np.int16))])) == 160


def test_without_a_library_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libopus, "_FINDERS", [])
    monkeypatch.setitem(sys.modules, "av", None)
    libopus.load.cache_clear()
    try:
        assert backend() is None
        for name in ("auto", "libopus", "pyav"):
            with pytest.raises(ConfigError, match=r"media-stream-receiver\[opus\]"):
                OpusDecoder(8000, backend=name)  # type: ignore[arg-type]  # a loop widens the literals
        with pytest.raises(ConfigError, match="libopus0"):
            OpusEncoder(8000)
    finally:
        libopus.load.cache_clear()


def test_without_the_systems_library_pyav_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libopus, "_FINDERS", [])
    libopus.load.cache_clear()
    try:
        assert backend() == "pyav"
        with pytest.raises(ConfigError):
            OpusDecoder(8000, backend="libopus")
    finally:
        libopus.load.cache_clear()
