"""Likeness: real codecs' output passes, whatever the material; and what is other audio does not."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import soxr
from receiver_plugins.wav.codec import CODECS
from receiver_plugins.wav.likeness import SECTION, Likeness

Audio = npt.NDArray[np.float32]

RATE = 8000
SECONDS = 4
TIME = np.arange(RATE * SECONDS) / RATE
SOUND = np.random.default_rng(5)
SPEECH = "receiver/simulate/speech/outbound.flac"


def tone(hertz: float, level: float = 0.5) -> Audio:
    return (level * np.sin(2 * np.pi * hertz * TIME)).astype(np.float32)


def speech() -> Audio:
    read, rate = soundfile.read(SPEECH, dtype="float32")
    return np.asarray(soxr.resample(read, rate, RATE)[: len(TIME)], np.float32)


MATERIAL: dict[str, Callable[[], Audio]] = {
    "speech": speech,
    "quiet speech": lambda: speech() * np.float32(0.05),
    "clipped speech": lambda: np.clip(speech() * 8, -1, 1),
    "speech behind a long pause": lambda: np.where(TIME < 3, np.float32(0), speech()),
    "full-scale noise": lambda: SOUND.uniform(-1, 1, len(TIME)).astype(np.float32),
    "faint noise": lambda: SOUND.normal(0, 0.003, len(TIME)).astype(np.float32),
    "bursts of noise": lambda: np.where(TIME % 2 < 0.5, SOUND.uniform(-0.5, 0.5, len(TIME)), 0).astype(np.float32),
    "silence": lambda: np.zeros(len(TIME), np.float32),
    "the noise of an idle line": lambda: (SOUND.integers(-1, 2, len(TIME)) * 8 / 32768).astype(np.float32),
    "a tone of 300 Hz": lambda: tone(300),
    "a tone of 3000 Hz": lambda: tone(3000),
    "hum": lambda: tone(50, 0.3),
    "a pressed key": lambda: np.where(TIME % 0.2 < 0.1, tone(697, 0.3) + tone(1209, 0.3), np.float32(0)),
    "clicks": lambda: np.where(np.arange(len(TIME)) % RATE == 0, np.float32(0.9), np.float32(0)),
    "an offset": lambda: speech() * np.float32(0.3) + np.float32(0.01),
}


def through(codec: str, audio: Audio, kbps: int | None = None) -> Audio:
    """What becomes of audio of shape (n, channels)."""
    chosen = CODECS[codec]
    written = io.BytesIO()
    settings: dict[str, Any] = chosen.settings(RATE, audio.shape[1], kbps)
    with soundfile.SoundFile(
        written, "w", RATE, audio.shape[1], chosen.subtype, format=chosen.container, **settings
    ) as file:
        file.write(audio)
    written.seek(0)
    decoded: Audio = soundfile.read(written, dtype="float32", always_2d=True)[0]
    assert decoded.shape == audio.shape
    return decoded


def verdict(source: Audio, decoded: Audio, rate: int = RATE, step: int = 4001) -> str | None:
    source, decoded = (audio.reshape(len(audio), -1) for audio in (source, decoded))
    likeness = Likeness(rate, source.shape[1])
    for at in range(0, len(source), step):
        likeness.add(source[at : at + step], decoded[at : at + step])
    return likeness.problem()


@pytest.mark.parametrize("codec", ["opus", "mp3"])
@pytest.mark.parametrize("name", MATERIAL)
def test_what_a_codec_makes_of_anything_is_still_alike(codec: str, name: str) -> None:
    audio = MATERIAL[name]()
    both = np.stack([audio, np.roll(audio, RATE // 3) / 2], 1)
    assert verdict(both, through(codec, both)) is None
    alone = audio.reshape(-1, 1)
    assert verdict(alone, through(codec, alone, 32)) is None  # the least that can be asked for


@pytest.mark.parametrize("codec", ["opus", "mp3"])
@pytest.mark.parametrize(
    "name", ["speech", "full-scale noise", "a tone of 300 Hz", "a tone of 3000 Hz", "a pressed key"]
)
@pytest.mark.parametrize("samples", [1, -1, 5, 105, 1105])  # 1105 is what MP3 puts before the audio
def test_a_shift_is_seen(codec: str, name: str, samples: int) -> None:
    audio = MATERIAL[name]().reshape(-1, 1)
    shifted = np.roll(through(codec, audio), samples, axis=0)
    assert verdict(audio, shifted) is not None


def test_a_shift_in_the_middle_is_seen() -> None:
    audio = np.sin(2 * np.pi * 440 * np.arange(RATE * 24) / RATE).astype(np.float32)
    late = np.concatenate([audio[: RATE * 12], np.roll(audio[RATE * 12 :], 1)])  # 12 % of the power: no other audio
    assert verdict(audio, late) == "it is shifted in time, as is seen from 16.4 s on"


@pytest.mark.parametrize("codec", ["opus", "mp3"])
def test_swapped_channels_are_seen(codec: str) -> None:
    left, right = speech(), np.roll(speech(), RATE)
    both = np.stack([left, right], 1)
    assert verdict(both, through(codec, both)[:, ::-1]) is not None
    one = np.stack([left, np.zeros_like(left)], 1)
    assert verdict(one, through(codec, one)[:, ::-1]) is not None


@pytest.mark.parametrize(
    "wrong",
    [
        lambda audio: np.zeros_like(audio),
        lambda audio: -audio,
        lambda audio: audio[::-1],
        lambda audio: audio * 2,
        lambda audio: audio + SOUND.normal(0, 0.2, len(audio)).astype(np.float32),
        lambda audio: np.roll(audio, RATE),
    ],
    ids=["silence", "inverted", "backwards", "twice as loud", "noisy", "a second late"],
)
def test_other_audio_is_seen(wrong: Callable[[Audio], Audio]) -> None:
    audio = speech()
    assert verdict(audio, wrong(audio)) is not None


def test_a_dropout_is_seen_and_where_it_is() -> None:
    audio = tone(440)
    broken = audio.copy()
    broken[2 * RATE : 3 * RATE] = 0
    assert verdict(audio, broken) == "2 of 8 half seconds are other audio, the first at 2.0 s"


def test_noise_in_a_silence_is_seen() -> None:
    audio = np.zeros(RATE * 3, np.float32)
    assert verdict(audio, SOUND.normal(0, 0.01, len(audio)).astype(np.float32)) is not None


@pytest.mark.parametrize("count", [1, 50, 200, SECTION - 1, SECTION, SECTION + 1, 2 * SECTION + 100])
@pytest.mark.parametrize("rate", [8000, 48000])
def test_any_length_is_compared_to_its_end(count: int, rate: int) -> None:
    audio = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(count) / rate)).astype(np.float32)
    assert verdict(audio, audio, rate, 65_536) is None
    if count >= 200:
        other = audio.copy()
        other[-rate // 2 :] *= -1
        assert verdict(audio, other, rate, 65_536) is not None


def test_nothing_is_like_nothing() -> None:
    assert Likeness(8000, 1).problem() is None
