from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from receiver.simulate.side import CallError, Side


def tone(rate: int, seconds: float, hertz: float = 440.0) -> np.ndarray:
    return (10_000 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).astype(np.int16)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_any_file_that_soundfile_reads_is_resampled_to_the_asked_rate(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / name, tone(44100, 2.5), 44100)
    audio = np.concatenate(list(Side(tmp_path / name).packets(8000, 160, pad=False)))
    length = soundfile.info(tmp_path / name).frames
    assert abs(len(audio) - length * 8000 / 44100) <= 1
    spectrum = np.abs(np.fft.rfft(audio[4000:12000]))
    assert abs(int(spectrum.argmax()) - 440) <= 1  # one bin is one hertz


def test_pieces_join_without_a_seam(tmp_path: Path) -> None:
    samples = tone(8000, 3.7, 123.4)
    soundfile.write(tmp_path / "a.wav", samples, 8000)
    packets = list(Side(tmp_path / "a.wav").packets(8000, 160, pad=False))
    assert {len(packet) for packet in packets[:-1]} == {160}
    assert np.array_equal(np.concatenate(packets), samples)


def test_several_channels_are_mixed_to_one_or_taken_singly(tmp_path: Path) -> None:
    left, right = tone(8000, 0.5), tone(8000, 0.5, 700)
    soundfile.write(tmp_path / "a.wav", np.column_stack((left, right)), 8000)
    mixed, first, second = (
        np.concatenate(list(Side(tmp_path / "a.wav", channel).packets(8000, 160, pad=False)))
        for channel in (None, 0, 1)
    )
    assert np.array_equal(first, left) and np.array_equal(second, right)
    assert np.abs(mixed - (left.astype(int) + right) / 2).max() <= 0.5


def test_the_loudest_samples_stay_what_they_are(tmp_path: Path) -> None:
    samples = np.array([-32768, 32767, 0, -1, 1] * 100, np.int16)
    soundfile.write(tmp_path / "a.wav", samples, 8000)
    assert np.array_equal(np.concatenate(list(Side(tmp_path / "a.wav").packets(8000, 160, pad=False))), samples)


def test_the_last_packet_is_padded_where_asked(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(8000, 0.03), 8000)
    packets = list(Side(tmp_path / "a.wav").packets(8000, 160, pad=True))
    assert [len(packet) for packet in packets] == [160, 160]
    assert not packets[1][80:].any()


def test_a_file_without_audio_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(0, np.int16), 8000)
    with pytest.raises(CallError, match=r"a\.wav: has no audio"):
        Side(tmp_path / "a.wav")


def test_a_raw_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(bytes(100))
    with pytest.raises(CallError, match=r"a\.raw: raw audio has no header"):
        Side(tmp_path / "a.raw")


def test_a_file_that_is_damaged_further_on_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, np.random.default_rng(1).integers(-9999, 9999, 80_000, np.int16), 8000)
    side = Side(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CallError, match=r"a\.flac: "):
        list(side.packets(8000, 160, pad=False))
