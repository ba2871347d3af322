"""What each format can hold, against what this libsndfile really writes."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from receiver_plugins.wav.codec import CODECS


@pytest.mark.parametrize("name", CODECS)
def test_the_library_in_the_wheel_writes_every_format(name: str) -> None:
    assert CODECS[name].available


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("rate", [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 6000, 96000])
def test_every_rate_becomes_one_that_the_format_has(name: str, rate: int) -> None:
    codec = CODECS[name]
    chosen = codec.rate(rate)
    assert chosen >= min(rate, 48000)
    written = io.BytesIO()
    soundfile.write(written, np.zeros(800, np.float32), chosen, codec.subtype, format=codec.container)
    assert soundfile.info(io.BytesIO(written.getvalue())).samplerate == chosen
    assert codec.rate(chosen) == chosen


def test_rates_that_opus_has_not_go_to_the_next_higher_one() -> None:
    rates = {rate: CODECS["opus"].rate(rate) for rate in (8000, 11025, 22050, 32000, 44100, 48000, 96000)}
    assert rates == {8000: 8000, 11025: 12000, 22050: 24000, 32000: 48000, 44100: 48000, 48000: 48000, 96000: 48000}


@pytest.mark.parametrize(
    ("name", "rate", "channels", "kbps", "expected"),
    [
        ("opus", 8000, 1, 48, 48),
        ("opus", 8000, 1, None, 32),
        ("opus", 48000, 1, None, 64),
        ("opus", 48000, 2, 64, 128),
        ("mp3", 8000, 1, None, 32),
        ("mp3", 8000, 2, None, 64),
        ("mp3", 8000, 2, 128, 64),  # all that MP3 has at that rate
        ("mp3", 16000, 2, 32, 64),
        ("mp3", 48000, 1, None, 64),
        ("mp3", 48000, 2, 96, 192),
    ],
)
def test_a_file_has_about_the_bitrate_that_was_asked_for(
    name: str, rate: int, channels: int, kbps: int | None, expected: int
) -> None:
    codec = CODECS[name]
    audio = np.random.default_rng(1).uniform(-0.5, 0.5, (rate * 4, channels)).astype(np.float32)
    written = io.BytesIO()
    settings = codec.settings(rate, channels, kbps)
    with soundfile.SoundFile(written, "w", rate, channels, codec.subtype, format=codec.container, **settings) as file:
        file.write(audio)
    assert len(written.getvalue()) * 8 / 4 / 1000 == pytest.approx(expected, rel=0.15)


def test_flac_has_no_bitrate() -> None:
    assert CODECS["flac"].settings(8000, 1, None) == {}
