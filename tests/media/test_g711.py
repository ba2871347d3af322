from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from receiver.audio import AudioFormat, Encoding
from receiver.media.g711 import G711

EVERY_BYTE = bytes(range(256))
LAWS = [Encoding.PCMU, Encoding.PCMA]


def mu_law(byte: int) -> int:
    """ITU-T G.711, table 2a, scaled from 14 to 16 bits: inverted bits, sign, segment, step."""
    byte = ~byte & 0xFF
    magnitude = (2 * (byte & 15) + 33) * 2 ** (byte >> 4 & 7) - 33
    return -4 * magnitude if byte & 0x80 else 4 * magnitude


def a_law(byte: int) -> int:
    """ITU-T G.711, table 1a, scaled from 13 to 16 bits: even bits inverted, a set sign bit is positive."""
    byte ^= 0x55
    segment, step = byte >> 4 & 7, byte & 15
    magnitude = 2 * step + 1 if segment == 0 else (2 * step + 33) * 2 ** (segment - 1)
    return 8 * magnitude if byte & 0x80 else -8 * magnitude


def decoder(law: Encoding, rate: int = 8000, channels: int = 1) -> G711:
    return G711(AudioFormat(law, rate, channels))


@pytest.mark.parametrize(("law", "formula"), [(Encoding.PCMU, mu_law), (Encoding.PCMA, a_law)])
def test_every_byte_is_what_the_recommendation_says(law: Encoding, formula: object) -> None:
    expected = [formula(byte) for byte in EVERY_BYTE]  # type: ignore[operator]  # both are functions of an int
    assert decoder(law).decode([EVERY_BYTE]).tolist() == expected


@pytest.mark.parametrize(("law", "name"), [(Encoding.PCMU, "mulaw"), (Encoding.PCMA, "alaw")])
def test_a_recording_equals_ffmpegs_decode_of_the_same_bytes(law: Encoding, name: str, tmp_path: Path) -> None:
    wire = np.random.default_rng(711).integers(0, 256, 16_000, np.uint8).tobytes()
    packets = [wire[at : at + 160] for at in range(0, len(wire), 160)]
    source = tmp_path / "wire"
    source.write_bytes(wire)
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", name, "-ar", "8000", "-ac", "1", "-i", str(source)]
    reference = subprocess.run([*ffmpeg, "-f", "s16le", "-"], capture_output=True, check=True).stdout
    one = decoder(law)
    assert b"".join(one.decode([packet]).tobytes() for packet in packets) == reference
    assert one.decode(packets).tobytes() == reference


@pytest.mark.parametrize("law", LAWS)
def test_packet_time_comes_from_the_bytes(law: Encoding) -> None:
    assert [decoder(law).samples_in(b"\xff" * size) for size in (1, 160, 320, 161)] == [1, 160, 320, 161]
    assert [decoder(law, channels=2).samples_in(b"\xff" * size) for size in (2, 160, 161)] == [1, 80, 80]
    assert decoder(law).unit_bytes == 1
    assert decoder(law, channels=2).unit_bytes == 2
    assert decoder(law, 16000).rate == 16000


@pytest.mark.parametrize("law", LAWS)
def test_a_payload_without_one_whole_sample_cannot_be_decoded(law: Encoding) -> None:
    assert decoder(law).samples_in(b"") is None
    assert decoder(law, channels=2).samples_in(b"\xff") is None


@pytest.mark.parametrize("law", LAWS)
def test_two_channels_become_their_average(law: Encoding) -> None:
    bytes_ = np.random.default_rng(7).integers(0, 256, 2 * 500, np.uint8).tobytes()
    interleaved = decoder(law).decode([bytes_]).astype(np.int64)
    expected = np.rint((interleaved[::2] + interleaved[1::2]) / 2)
    assert np.array_equal(decoder(law, channels=2).decode([bytes_[:400], bytes_[400:]]), expected)


@pytest.mark.parametrize("law", LAWS)
def test_half_a_pair_of_channels_shifts_nothing_behind_it(law: Encoding) -> None:
    stereo = decoder(law, channels=2)
    left_right = b"\x80\x00" * 80
    assert np.array_equal(stereo.decode([left_right + b"\x80", left_right]), stereo.decode([left_right, left_right]))


@pytest.mark.parametrize("channels", [1, 2])
def test_samples_are_shared_and_cannot_be_written(channels: int) -> None:
    samples = decoder(Encoding.PCMU, channels=channels).decode([EVERY_BYTE])
    assert samples.dtype == np.int16
    assert not samples.flags.writeable


def test_nothing_is_damaged_and_nothing_remembered() -> None:
    one = decoder(Encoding.PCMA)
    before = one.decode([EVERY_BYTE])
    one.conceal(160)
    assert np.array_equal(one.decode([EVERY_BYTE]), before)
    assert one.damaged() == []
