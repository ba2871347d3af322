"""The encoded files of real streams, as players and taggers that know nothing of us find them."""

from __future__ import annotations

import json
import re
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
from receiver_plugins.wav.codec import CODECS
from receiver_plugins.wav.encoder import Encoder, NotEncoded
from receiver_plugins.wav.source import STEP, Source

from receiver.events import Cause, Event, Gap, Samples
from receiver.testing import RunReceiver

WAIT_S = 20
PARAMETERS = {"to": "+15550100", "name": "Zoë 🎉", "quoted": 'a "b" \\ c', "n": 7}


@pytest.fixture(params=CODECS)
def encoding(request: pytest.FixtureRequest) -> Any:
    """Every format in turn."""
    return request.param


def never() -> bool:
    return False


def speech(seconds: float) -> Samples:
    read, rate = soundfile.read("receiver/simulate/speech/outbound.flac", dtype="int16")
    samples: Samples = np.ascontiguousarray(read[:: rate // 8000][: int(seconds * 8000)])
    samples.flags.writeable = False
    return samples


def by_ffmpeg(path: Path, channels: int) -> Samples:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-f", "s16le", "-"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=WAIT_S)
    return np.frombuffer(done.stdout, np.int16).reshape(-1, channels)


def heard(path: Path, channels: int = 1) -> Samples:
    """What ffmpeg makes of a file of 8 kHz; Opus it decodes at 48 kHz, whatever it was made of."""
    samples = by_ffmpeg(path, channels)
    return samples[::6] if path.suffix == ".opus" else samples


def told_by_ffmpeg(path: Path) -> tuple[str, dict[str, str]]:
    """What ffmpeg says of the stream, and the tags."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path)]
    if path.suffix == ".opus":  # Ogg has tags per stream
        command += ["-map_metadata", "0:s:0"]
    done = subprocess.run(
        [*command, "-f", "ffmetadata", "-"], capture_output=True, check=True, timeout=WAIT_S, text=True
    )
    escaped = re.findall(r"^(\w+)=((?:\\[\s\S]|[^\\\n])*)$", done.stdout, re.MULTILINE)
    tags = {name.lower(): re.sub(r"\\([\s\S])", r"\1", value) for name, value in escaped}
    info = subprocess.run([command[0], "-i", str(path)], capture_output=True, timeout=WAIT_S, text=True).stderr
    return next(line for line in info.splitlines() if "Audio:" in line), tags


def alike(one: Samples, other: Samples) -> float:
    """How well they correlate, from -1 to 1."""
    return float(np.corrcoef(one.astype(np.float64), other.astype(np.float64))[0, 1])


def test_every_file_of_the_layout_is_encoded_and_takes_the_place_of_the_wav_file(
    studio: Any, tmp_path: Path, encoding: Any
) -> None:
    said, answered = speech(5), speech(9)[8000:]
    events = [*studio.frames("outbound", answered), *studio.frames("inbound", said)]
    expected = [f"{name}.{encoding}" for name in ("inbound", "outbound", "stereo")]
    assert sorted(studio.record(tmp_path, events, encoding=encoding)) == studio.names(tmp_path) == expected
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    both = heard(tmp_path / f"stereo.{encoding}", 2)
    assert both.shape == (len(answered), 2)  # to the sample
    padded = np.pad(said, (0, len(answered) - len(said)))
    for decoded, source in (
        (heard(tmp_path / f"inbound.{encoding}")[:, 0], said),
        (heard(tmp_path / f"outbound.{encoding}")[:, 0], answered),
        (both[:, 0], padded),
        (both[:, 1], answered),
    ):
        assert len(decoded) == len(source)
        assert np.array_equal(decoded, source) if encoding == "flac" else alike(decoded, source) > 0.98


def test_gaps_are_silence_where_they_were(studio: Any, tmp_path: Path, encoding: Any) -> None:
    said = speech(2)
    events: list[Event] = [
        Gap("inbound", 0, 8000, 8000, Cause.UNSENT),
        *studio.frames("inbound", said, 8000),
        Gap("inbound", 24000, 40000, 8000, Cause.LOST),
        *studio.frames("inbound", said, 40000),
    ]
    assert studio.record(tmp_path, events, encoding=encoding) == [f"inbound.{encoding}"]
    decoded = heard(tmp_path / f"inbound.{encoding}")[:, 0]
    assert len(decoded) == 56000
    assert alike(decoded[8000:24000], said) > 0.97 and alike(decoded[40000:], said) > 0.97
    assert np.abs(decoded[:7000]).max() < 100 and np.abs(decoded[25000:39000]).max() < 100


def test_an_independent_reader_finds_the_tags(studio: Any, tmp_path: Path, encoding: Any) -> None:
    stream, owner = studio.stream_in(tmp_path, call_id="CA-17/é", parameters=PARAMETERS)
    wav = studio.wav(tmp_path / "inbound.wav", speech(1))
    assert Encoder(CODECS[encoding]).finish(stream, [wav], never) == []
    assert owner.files == [f"inbound.{encoding}"]
    _, tags = told_by_ffmpeg(tmp_path / f"inbound.{encoding}")
    assert (tags["title"], tags["album"]) == ("inbound", "CA-17/\\u00e9")
    assert tags["date"] == ("2026" if encoding == "mp3" else "2026-11-21T00:00:00.000Z")
    told = json.loads(tags["comment"])
    assert (told["call_id"], told["started"], told["parameters"]) == ("CA-17/é", "2026-11-21T00:00:00.000Z", PARAMETERS)
    with soundfile.SoundFile(tmp_path / f"inbound.{encoding}") as file:
        assert json.loads(file.comment) == told


def test_the_longest_comment_fits(studio: Any, tmp_path: Path, encoding: Any) -> None:
    stream, _ = studio.stream_in(tmp_path, call_id="c", parameters={"x": "y" * 7900})
    assert Encoder(CODECS[encoding]).finish(stream, [studio.wav(tmp_path / "inbound.wav", speech(1))], never) == []
    told = json.loads(told_by_ffmpeg(tmp_path / f"inbound.{encoding}")[1]["comment"])
    assert told["parameters"] == {"x": "y" * 7900}


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000])
def test_every_rate_that_a_track_may_have_is_encoded(studio: Any, tmp_path: Path, encoding: Any, rate: int) -> None:
    time = np.arange(rate * 2 + 77) / rate
    tone = np.rint(np.sin(2 * np.pi * 500 * time) * 8000 * (time % 1 < 0.7)).astype(np.int16)
    stream, _ = studio.stream_in(tmp_path)
    wav = studio.wav(tmp_path / "inbound.wav", np.stack([tone, tone // 2], 1), rate)
    assert Encoder(CODECS[encoding], keep_wav=True).finish(stream, [wav], never) == []
    made = CODECS[encoding].rate(rate)
    assert soundfile.info(tmp_path / f"inbound.{encoding}").samplerate == made
    about, _ = told_by_ffmpeg(tmp_path / f"inbound.{encoding}")
    heard_at = 48000 if encoding == "opus" else made  # ffmpeg decodes Opus at its own rate, whatever it was made of
    assert f"{heard_at} Hz, stereo" in about
    assert len(by_ffmpeg(tmp_path / f"inbound.{encoding}", 2)) == pytest.approx(
        len(tone) * heard_at / rate, abs=heard_at / 8000
    )


@pytest.mark.parametrize("count", [1, 2, 100, 576, 1152, STEP - 1, STEP, STEP + 1])
def test_any_length_comes_back_to_the_sample(studio: Any, tmp_path: Path, encoding: Any, count: int) -> None:
    stream, _ = studio.stream_in(tmp_path)
    wav = studio.wav(tmp_path / "inbound.wav", studio.noise(count) // 4)
    assert Encoder(CODECS[encoding]).finish(stream, [wav], never) == []
    assert soundfile.info(tmp_path / f"inbound.{encoding}").frames == count
    samples = heard(tmp_path / f"inbound.{encoding}")
    if encoding == "mp3" and count < 4000:
        assert count <= len(samples) <= count + 623  # of so short a file ffmpeg plays the padding
    else:
        assert len(samples) == count


def test_a_file_without_samples_stays_wav(studio: Any, tmp_path: Path, encoding: Any) -> None:
    stream, owner = studio.stream_in(tmp_path)
    assert Encoder(CODECS[encoding]).finish(stream, [studio.wav(tmp_path / "a.wav", studio.noise(0))], never) == []
    assert owner.files == studio.names(tmp_path) == ["a.wav"]


def test_what_is_there_is_not_overwritten(studio: Any, tmp_path: Path, encoding: Any) -> None:
    (tmp_path / f"inbound.{encoding}").write_bytes(b"precious")
    (tmp_path / f"inbound-2.{encoding}").write_bytes(b"precious")
    (tmp_path / f"inbound.{encoding}.part").write_bytes(b"half of it" * 10_000)  # of a run that died
    stream, owner = studio.stream_in(tmp_path)
    wav = studio.wav(tmp_path / "inbound.wav", speech(1))
    assert Encoder(CODECS[encoding]).finish(stream, [wav], never) == []
    assert owner.files == [f"inbound-3.{encoding}"]
    assert (tmp_path / f"inbound.{encoding}").read_bytes() == b"precious"
    assert len(studio.names(tmp_path)) == 3


def test_a_part_that_is_a_link_is_not_followed(studio: Any, tmp_path: Path, encoding: Any) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / f"inbound.{encoding}.part").symlink_to(tmp_path / "precious")
    stream, owner = studio.stream_in(tmp_path)
    wav = studio.wav(tmp_path / "inbound.wav", speech(1))
    (problem,) = Encoder(CODECS[encoding]).finish(stream, [wav], never)
    assert "inbound.wav stays as it is: " in str(problem) and "symbolic links" in str(problem)
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert owner.files == ["inbound.wav"]


def test_a_run_that_died_before_it_removed_the_wav_file_is_gone_on_with(
    studio: Any, tmp_path: Path, encoding: Any
) -> None:
    stream, _ = studio.stream_in(tmp_path)
    wav = studio.wav(tmp_path / "inbound.wav", speech(2))
    Encoder(CODECS[encoding], keep_wav=True).finish(stream, [wav], never)
    made = (tmp_path / f"inbound.{encoding}").stat()
    stream, owner = studio.stream_in(tmp_path)
    assert Encoder(CODECS[encoding]).finish(stream, [wav], never) == []
    assert owner.files == studio.names(tmp_path) == [f"inbound.{encoding}"]
    assert (tmp_path / f"inbound.{encoding}").stat().st_mtime_ns == made.st_mtime_ns


def test_one_that_is_told_to_stop_leaves_wav_files_and_nothing_else(studio: Any, tmp_path: Path, encoding: Any) -> None:
    wavs = [studio.wav(tmp_path / f"{name}.wav", studio.noise(STEP * 4)) for name in ("inbound", "outbound")]
    for asked in (1, 3, 7):
        answers = iter([False] * asked)
        stream, owner = studio.stream_in(tmp_path)
        problems = Encoder(CODECS[encoding]).finish(stream, wavs, partial(next, answers, True))
        assert [str(problem) for problem in problems] == [
            f"{name}.wav stays as it is: there was no time to encode it" for name in ("inbound", "outbound")
        ]
        assert owner.files == studio.names(tmp_path) == ["inbound.wav", "outbound.wav"]


def test_a_source_that_is_no_wav_file_of_ours_stays(studio: Any, tmp_path: Path, encoding: Any) -> None:
    (tmp_path / "a.wav").write_bytes(b"something else")
    stream, owner = studio.stream_in(tmp_path)
    (problem,) = Encoder(CODECS[encoding]).finish(stream, [tmp_path / "a.wav"], never)
    assert isinstance(problem, NotEncoded)
    assert str(problem) == "a.wav stays as it is: a.wav does not begin like a WAV file of this plugin"
    assert owner.files == studio.names(tmp_path) == ["a.wav"]


def test_an_hour_of_silence_is_encoded_in_little_memory(studio: Any, tmp_path: Path) -> None:
    wav = studio.wav(tmp_path / "inbound.wav", speech(1))
    with wav.open("r+b") as file:
        file.truncate(44 + 2 * 3600 * 8000)
    assert Source.open(wav).frames == 3600 * 8000
    stream, owner = studio.stream_in(tmp_path)
    assert Encoder(CODECS["flac"]).finish(stream, [wav], never) == []
    assert owner.files == ["inbound.flac"]
    assert soundfile.info(tmp_path / "inbound.flac").frames == 3600 * 8000


def test_a_call_over_a_socket_is_encoded(studio: Any, run_receiver: RunReceiver, encoding: Any) -> None:
    said, answered = speech(2), speech(4)[16000:]
    with run_receiver(sinks={"wav": {"use": "wav", "options": {"encoding": encoding}}}) as server:
        recorded = server.play((said, 8000), outbound=(answered, 8000), codec="L16", rate=8000)
    assert recorded.told["sinks"]["wav"]["status"] == "ok"
    expected = [f"{name}.{encoding}" for name in ("inbound", "outbound", "stereo")]
    assert studio.names(recorded.folder) == [*expected, "stream.json"]
    files = {file["path"]: file for file in recorded.told["files"]}
    assert sorted(files) == expected
    for name, file in files.items():
        assert file["bytes"] == (recorded.folder / name).stat().st_size
        assert file["media_type"] == CODECS[encoding].media_type
    samples, rate = recorded.audio("inbound")
    assert rate == 8000 and len(samples) == len(said) and alike(samples, said) > 0.97


@pytest.mark.system
def test_sox_reads_every_sample_of_a_flac_file(studio: Any, tmp_path: Path) -> None:
    said = np.stack([speech(5), speech(5)[::-1]], 1)
    stream, _ = studio.stream_in(tmp_path)
    assert Encoder(CODECS["flac"]).finish(stream, [studio.wav(tmp_path / "stereo.wav", said)], never) == []
    command = ["sox", "-V1", str(tmp_path / "stereo.flac"), "-t", "raw", "-e", "signed", "-b", "16", "-L", "-"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=WAIT_S)
    assert np.array_equal(np.frombuffer(done.stdout, np.int16).reshape(-1, 2), said)
