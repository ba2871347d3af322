from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np
import pytest
import soundfile

from receiver.audio import Encoding
from receiver.simulate import SPEECH, Call, CallError, Key, duration_s, messages, parse_keys, sides

TONE = np.round(8000 * np.sin(np.arange(12_345) * 0.11)).astype(np.int16)


def wav(path: Path, samples: np.ndarray, rate: int = 8000, subtype: str = "PCM_16") -> Path:
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def said(call: Call) -> list[tuple[float, dict[str, Any]]]:
    return [(due, json.loads(text)) for due, text in messages(call)]


def media(call: Call, track: str = "inbound") -> list[dict[str, Any]]:
    bodies = [message["media"] for _, message in said(call) if message["event"] == "media"]
    return [body for body in bodies if body["track"] == track]


def payload(call: Call, track: str = "inbound") -> bytes:
    return b"".join(base64.b64decode(body["payload"]) for body in media(call, track))


def ffmpeg(data: bytes, form: str, rate: int) -> np.ndarray:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", form, "-ar", str(rate), "-i", "pipe:"]
    done = subprocess.run([*command, "-f", "s16le", "pipe:"], input=data, capture_output=True, check=True)
    return np.frombuffer(done.stdout, "<i2")


@pytest.mark.parametrize(("encoding", "subtype", "form"), [("PCMU", "ULAW", "mulaw"), ("PCMA", "ALAW", "alaw")])
def test_another_decoder_hears_the_g711_file_that_was_sent(
    tmp_path: Path, encoding: str, subtype: str, form: str
) -> None:
    path = wav(tmp_path / "a.wav", TONE, subtype=subtype)  # a G.711 file, so that nothing is lost twice
    call = Call(inbound=path, encoding=Encoding(encoding))
    heard = ffmpeg(payload(call), form, 8000)
    assert np.array_equal(heard, soundfile.read(path, dtype="int16")[0])


@pytest.mark.parametrize(("byte_order", "form"), [("little", "s16le"), ("big", "s16be")])
@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
def test_l16_is_the_file_sample_by_sample(tmp_path: Path, byte_order: Any, form: str, rate: int) -> None:
    path = wav(tmp_path / "a.wav", TONE, rate)
    call = Call(inbound=path, encoding=Encoding.L16, rate=rate, byte_order=byte_order)
    assert np.array_equal(ffmpeg(payload(call), form, rate), TONE)


def test_opus_sounds_like_the_file_to_another_decoder() -> None:
    call = Call(inbound=SPEECH / "outbound.flac", encoding=Encoding.OPUS, rate=16000)
    decoder: Any = av.CodecContext.create("libopus", "r")
    decoder.layout, decoder.sample_rate = "mono", 48000
    packets = [base64.b64decode(body["payload"]) for body in media(call)]
    frames = [frame for data in packets for frame in decoder.decode(av.Packet(data))]
    heard = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])[::3]  # 48 to 16 kHz
    source = soundfile.read(SPEECH / "outbound.flac", dtype="int16")[0]
    assert len(heard) == len(source) == 1050 * 320
    delay = 104  # 6.5 ms, what libopus looks ahead
    alike = {lag: np.corrcoef(heard[lag:], source[:-lag])[0, 1] for lag in range(delay - 8, delay + 9)}
    assert max(alike, key=alike.__getitem__) == pytest.approx(delay, abs=5)
    assert max(alike.values()) > 0.9


def test_messages_are_what_signalwire_publishes(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", TONE[:320])
    call = Call(inbound=path, outbound=path, parameters={"from": "+15550100"}, keys=(Key("5", 0.02),), call_id="c")
    due, bodies = zip(*said(call), strict=True)
    assert due == (0, 0, 0, 0, 0.02, 0.02, 0.02, 0.04)
    assert bodies[0] == {"event": "connected", "protocol": "Call", "version": "0.2.0"}
    start = bodies[1]["start"]
    assert {name: start[name] for name in ("tracks", "customParameters", "callSid")} == {
        "tracks": ["inbound", "outbound"],
        "customParameters": {"from": "+15550100"},
        "callSid": "c",
    }
    assert start["mediaFormat"] == {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
    assert [body.get("sequenceNumber") for body in bodies] == [None, *map(str, range(1, 8))]
    assert [(b["media"]["track"], b["media"]["chunk"], b["media"]["timestamp"]) for b in bodies if "media" in b] == [
        ("inbound", "1", "0"),
        ("outbound", "1", "0"),
        ("inbound", "2", "20"),
        ("outbound", "2", "20"),
    ]
    assert bodies[4] == {"event": "dtmf", "sequenceNumber": "4", "dtmf": {"digit": "5", "duration": 250}}
    assert bodies[7] == {"event": "stop", "sequenceNumber": "7"}


def test_packets_are_due_by_their_number_and_never_drift(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", np.zeros(8000 * 300, np.int16))
    due = [due for due, message in said(Call(inbound=path)) if message["event"] == "media"]
    assert due == [i * 20 / 1000 for i in range(300 * 50)]


@pytest.mark.parametrize("packet_ms", [10, 20, 40, 60])
def test_timestamps_follow_the_packet_time(tmp_path: Path, packet_ms: int) -> None:
    call = Call(inbound=wav(tmp_path / "a.wav", TONE), packet_ms=packet_ms)
    bodies = media(call)
    assert [int(body["timestamp"]) for body in bodies] == [i * packet_ms for i in range(len(bodies))]
    assert len(base64.b64decode(bodies[0]["payload"])) == 8 * packet_ms


def test_a_shorter_side_ends_earlier_and_the_rest_of_a_packet_is_sent_short(tmp_path: Path) -> None:
    call = Call(inbound=wav(tmp_path / "a.wav", TONE), outbound=wav(tmp_path / "b.wav", TONE[:100]))
    assert len(payload(call, "inbound")) == len(TONE)
    assert len(payload(call, "outbound")) == 100
    assert said(call)[-1] == (pytest.approx(len(TONE) / 8000), {"event": "stop", "sequenceNumber": "81"})


def test_the_last_opus_packet_is_filled_up_with_silence(tmp_path: Path) -> None:
    call = Call(inbound=wav(tmp_path / "a.wav", TONE[:1000], 48000), encoding=Encoding.OPUS)
    assert len(media(call)) == 2


def test_keys_after_the_audio_are_sent_at_their_time_and_before_the_stop(tmp_path: Path) -> None:
    call = Call(inbound=wav(tmp_path / "a.wav", TONE[:320]), keys=(Key("#", 2.0), Key("1", 1.0)))
    assert [(due, message["event"]) for due, message in said(call)][-3:] == [(1, "dtmf"), (2, "dtmf"), (2, "stop")]


def test_a_call_may_end_without_a_stop(tmp_path: Path) -> None:
    call = Call(inbound=wav(tmp_path / "a.wav", TONE[:320]), stop=False)
    assert said(call)[-1][1]["event"] == "media"


def test_a_stereo_file_is_both_sides(tmp_path: Path) -> None:
    path = wav(tmp_path / "s.wav", np.column_stack((TONE, -TONE)))
    call = Call(stereo=path, encoding=Encoding.L16, rate=8000)
    assert np.array_equal(np.frombuffer(payload(call, "inbound"), "<i2"), TONE)
    assert np.array_equal(np.frombuffer(payload(call, "outbound"), "<i2"), -TONE)


def test_outbound_alone_is_one_track(tmp_path: Path) -> None:
    call = Call(outbound=wav(tmp_path / "a.wav", TONE))
    assert said(call)[1][1]["start"]["tracks"] == ["outbound"]
    assert duration_s(sides(call).values()) == pytest.approx(len(TONE) / 8000)


def test_the_bundled_call_is_two_sides_of_21_s_that_talk_in_turn_and_once_over_each_other() -> None:
    audio = [soundfile.read(SPEECH / f"{side}.flac", dtype="int16") for side in ("inbound", "outbound")]
    assert [(len(samples), rate) for samples, rate in audio] == [(336_000, 16000)] * 2
    loud = [np.abs(samples.reshape(-1, 1600).astype(int)).max(axis=1) > 300 for samples, _ in audio]  # per 100 ms
    assert 30 < (loud[0] & ~loud[1]).sum() and 30 < (loud[1] & ~loud[0]).sum()
    both = np.flatnonzero(loud[0] & loud[1])
    assert len(both) > 8 and both.min() >= 135 and both.max() < 159
    assert all(path.stat().st_size < 300_000 for path in SPEECH.glob("*.flac"))


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (Call(), "needs an audio file"),
        (Call(inbound=Path("nowhere.wav")), r"nowhere\.wav: no such file"),
        (Call(inbound=SPEECH / "README.md"), r"README\.md: "),
        (Call(stereo=SPEECH / "inbound.flac"), "two are needed"),
        (Call(stereo=SPEECH / "inbound.flac", inbound=SPEECH / "inbound.flac"), "give it alone"),
        (Call(inbound=SPEECH / "inbound.flac", rate=16000), "PCMU has no rate 16000: 8000"),
        (Call(inbound=SPEECH / "inbound.flac", encoding=Encoding.L16, rate=44100), "L16 has no rate 44100"),
        (Call(inbound=SPEECH / "inbound.flac", packet_ms=0), "packets of 0 ms"),
        (Call(inbound=SPEECH / "inbound.flac", encoding=Encoding.OPUS, packet_ms=30), "OPUS has no packets of 30 ms"),
        (Call(inbound=SPEECH / "inbound.flac", dialect="klingon"), "dialect klingon: known are signalwire, twilio"),
    ],
)
def test_a_call_that_cannot_be_made_is_refused_at_once_by_name(call: Call, problem: str) -> None:
    with pytest.raises(CallError, match=problem):
        messages(call)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", ()),
        ("5", (Key("5", 1.0),)),
        ("5@2.5,#", (Key("5", 2.5), Key("#", 3.0))),
        ("12@0, d", (Key("1", 0.0), Key("2", 0.5), Key("D", 1.0))),
    ],
)
def test_keys_are_read_with_their_times(text: str, keys: tuple[Key, ...]) -> None:
    assert parse_keys(text) == keys


@pytest.mark.parametrize("text", ["x", "5@", "5@-1", "5@now", "@2", "٥"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(CallError, match="digits"):
        parse_keys(text)
