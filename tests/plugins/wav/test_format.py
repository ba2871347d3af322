"""The header of a WAV file, against an independent reader."""

from __future__ import annotations

import io
import struct
import wave
from pathlib import Path

import pytest
from receiver_plugins.wav.format import HEADER_BYTES, UNKNOWN, complete, header, publish, read_header


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_header_says_what_it_was_told(rate: int, channels: int) -> None:
    head = header(rate, channels, data_bytes=4 * channels)
    assert len(head) == HEADER_BYTES
    with wave.open(io.BytesIO(head + bytes(4 * channels))) as read:
        assert read.getparams()[:4] == (channels, 2, rate, 2)
    assert read_header(head) == (rate, channels)


@pytest.mark.parametrize("size", [None, UNKNOWN - 36, 2**40])
def test_an_unknown_size_and_one_that_does_not_fit_are_unknown(size: int | None) -> None:
    head = header(8000, data_bytes=size)
    assert struct.unpack_from("<I", head, 4) == struct.unpack_from("<I", head, 40) == (0xFFFFFFFF,)


def test_the_largest_size_that_fits_is_said() -> None:
    head = header(8000, data_bytes=UNKNOWN - 37)
    assert struct.unpack_from("<I", head, 4) == (UNKNOWN - 1,)
    assert struct.unpack_from("<I", head, 40) == (UNKNOWN - 37,)


@pytest.mark.parametrize("head", [b"", b"RIFF", bytes(44), header(8000)[:43], b"RIFX" + header(8000)[4:]])
def test_a_torn_header_has_no_rate(head: bytes) -> None:
    assert read_header(head) is None


def test_a_file_beyond_what_a_header_can_say_keeps_unknown_sizes(tmp_path: Path) -> None:
    part = tmp_path / "long.wav.part"
    part.write_bytes(header(8000))
    with part.open("r+b") as file:
        file.truncate(HEADER_BYTES + 2**32)  # a hole
    final = complete(part, 8000)
    assert final.stat().st_size == HEADER_BYTES + 2**32
    with final.open("rb") as file:
        assert file.read(HEADER_BYTES) == header(8000)
    final.unlink()


def test_an_odd_byte_at_the_end_is_half_a_sample_and_goes(tmp_path: Path) -> None:
    part = tmp_path / "a.wav.part"
    part.write_bytes(header(16000) + b"\1\0\2\0\3")
    final = complete(part, 8000)
    with wave.open(str(final)) as read:
        assert (read.getframerate(), read.readframes(9)) == (16000, b"\1\0\2\0")


def test_a_name_is_free_or_has_an_empty_file_that_nobody_finished(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / "new").write_bytes(b"%d" % number)
        publish(tmp_path / "new", tmp_path / "a.b.wav")
    (tmp_path / "a.b-4.wav").touch()
    (tmp_path / "new").write_bytes(b"3")
    assert publish(tmp_path / "new", tmp_path / "a.b.wav").name == "a.b-4.wav"
    names = ["a.b.wav", "a.b-2.wav", "a.b-3.wav", "a.b-4.wav"]
    assert [(tmp_path / name).read_bytes() for name in names] == [b"0", b"1", b"2", b"3"]
