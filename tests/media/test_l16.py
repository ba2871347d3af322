from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from receiver.audio import AudioFormat, Encoding
from receiver.media.l16 import L16, ByteOrder

ORDERS: list[ByteOrder] = ["little", "big"]


def decoder(order: ByteOrder, rate: int = 16000, channels: int = 1) -> L16:
    return L16(AudioFormat(Encoding.L16, rate, channels), order)


def wire(values: list[int], order: ByteOrder) -> bytes:
    return b"".join(value.to_bytes(2, order, signed=True) for value in values)


@pytest.mark.parametrize("order", ORDERS)
def test_samples_keep_sign_and_size_in_both_byte_orders(order: ByteOrder) -> None:
    values = [0, 1, -1, 255, 256, -256, 0x1234, 32767, -32768]
    assert decoder(order).decode([wire(values, order)]).tolist() == values


@pytest.mark.parametrize(("order", "name"), [("little", "s16le"), ("big", "s16be")])
def test_a_recording_equals_ffmpegs_decode_of_the_same_bytes(order: ByteOrder, name: str, tmp_path: Path) -> None:
    data = np.random.default_rng(16).integers(0, 256, 32_000, np.uint8).tobytes()
    source = tmp_path / "wire"
    source.write_bytes(data)
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", name, "-ar", "16000", "-ac", "1", "-i", str(source)]
    reference = subprocess.run([*ffmpeg, "-f", "s16le", "-"], capture_output=True, check=True).stdout
    packets = [data[at : at + 640] for at in range(0, len(data), 640)]
    assert decoder(order).decode(packets).astype("<i2").tobytes() == reference


@pytest.mark.parametrize("order", ORDERS)
def test_an_odd_byte_is_cut_and_shifts_nothing_behind_it(order: ByteOrder) -> None:
    one = decoder(order)
    odd = [wire([1, 2, 3], order) + b"\x7f", wire([4, 5], order) + b"\x7f", wire([6], order)]
    assert [one.samples_in(payload) for payload in odd] == [3, 2, 1]
    assert one.decode(odd).tolist() == [1, 2, 3, 4, 5, 6]
    assert [len(payload) % one.unit_bytes for payload in odd] == [1, 1, 0]


@pytest.mark.parametrize("order", ORDERS)
def test_a_payload_without_one_whole_sample_cannot_be_decoded(order: ByteOrder) -> None:
    assert decoder(order).samples_in(b"") is None
    assert decoder(order).samples_in(b"\x00") is None
    assert decoder(order, channels=2).samples_in(b"\x00\x00\x00") is None


@pytest.mark.parametrize("order", ORDERS)
def test_two_channels_become_their_average_without_overflow_or_bias(order: ByteOrder) -> None:
    pairs = [(32767, 32767), (-32768, -32768), (32767, -32768), (0, 1), (1, 2), (0, -1), (-1, -2), (100, -300)]
    data = wire([value for pair in pairs for value in pair], order)
    stereo = decoder(order, channels=2)
    assert stereo.samples_in(data) == len(pairs)
    assert stereo.decode([data]).tolist() == [32767, -32768, 0, 0, 2, 0, -2, -100]
    assert stereo.decode([data + b"\x01\x02\x03", data]).tolist() == stereo.decode([data, data]).tolist()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_are_shared_and_cannot_be_written(order: ByteOrder, channels: int) -> None:
    one = decoder(order, 48000, channels)
    samples = one.decode([bytes(3840)])
    assert (one.rate, one.unit_bytes) == (48000, 2 * channels)
    assert samples.dtype == np.dtype(np.int16)
    assert samples.dtype.isnative
    assert not samples.flags.writeable


def test_nothing_is_damaged_and_nothing_remembered() -> None:
    one = decoder("little")
    one.conceal(160)
    assert one.decode([b"\x01\x00"]).tolist() == [1]
    assert one.damaged() == []
