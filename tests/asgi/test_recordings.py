"""What lies on the disk after a call is what independent decoders make of the bytes sent, sample by sample."""

import asyncio
import base64
import io
import json
import os
import signal
import struct
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import jsonschema
import numpy as np
import numpy.typing as npt
import pytest
import soundfile

import receiver
from receiver.audio import Encoding
from receiver.media.opus import OpusEncoder
from receiver.simulate import Call, Key, messages, speak

Audio = npt.NDArray[np.int16]
SECONDS = 2
SCHEMA = json.loads((Path(receiver.__file__).parent / "stream.schema.json").read_text())
BEARER = {"use": "bearer", "tokens": [{"name": "main", "env": "RECEIVER_TOKEN"}]}
L16 = [("L16", rate, order) for rate in (8000, 16000, 24000, 48000) for order in ("little", "big")]
CODECS = [("PCMU", 8000, "little"), ("PCMA", 8000, "little"), *L16]
WIRE = {"PCMU": "audio/x-mulaw", "PCMA": "audio/x-alaw", "L16": "audio/x-L16", "OPUS": "audio/opus"}


def source(byte_order: str = "little", dialect: str = "auto") -> dict[str, Any]:
    return {"default": {"auth": BEARER, "l16_byte_order": byte_order, "dialect": dialect}}


def ffmpegs(payload: bytes, codec: str, rate: int, byte_order: str) -> Audio:
    """What ffmpeg makes of the bytes."""
    raw = {"PCMU": "mulaw", "PCMA": "alaw", "L16": "s16le" if byte_order == "little" else "s16be"}[codec]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", raw, "-ar", str(rate), "-ac", "1", "-i", "-"]
    out = subprocess.run([*command, "-f", "s16le", "-"], input=payload, capture_output=True, check=True).stdout
    return np.frombuffer(out, "<i2")


def ffmpegs_g722(payload: bytes) -> Audio:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "g722", "-i", "-", "-f", "s16le", "-"]
    return np.frombuffer(subprocess.run(command, input=payload, capture_output=True, check=True).stdout, "<i2")


def libsndfiles(packets: list[bytes]) -> Audio:
    """What libsndfile makes of OPUS packets of 20 ms, in an Ogg file (RFC 7845) without pre-skip."""
    head = struct.pack("<8sBBHIhB", b"OpusHead", 1, 1, 0, 48000, 0, 0)
    pages = [ogg_page(head, 0, 0, 2), ogg_page(b"OpusTags" + bytes(8), 0, 1, 0)]
    for index, packet in enumerate(packets, 1):
        pages.append(ogg_page(packet, 960 * index, index + 1, 4 if index == len(packets) else 0))
    audio: Audio = soundfile.read(io.BytesIO(b"".join(pages)), dtype="int16")[0]
    return audio


def ogg_page(packet: bytes, position: int, number: int, flags: int) -> bytes:
    lacing = b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255])
    page = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, position, 1, number, 0, len(lacing)) + lacing + packet
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return page[:22] + struct.pack("<I", crc) + page[26:]


def media(track: str, chunk: int, ms: int, payload: bytes) -> str:
    text = base64.b64encode(payload).decode()
    body = {"track": track, "chunk": str(chunk), "timestamp": str(ms), "payload": text}
    return json.dumps({"event": "media", "sequenceNumber": "2", "media": body})


def payloads(said: Iterable[tuple[float, str]]) -> dict[str, list[bytes]]:
    """The packets in a call's messages, by track."""
    found: dict[str, list[bytes]] = {}
    for _, text in said:
        message = json.loads(text)
        if message["event"] == "media":
            found.setdefault(message["media"]["track"], []).append(base64.b64decode(message["media"]["payload"]))
    return found


def noise(seed: int, count: int) -> bytes:
    return np.random.default_rng(seed).bytes(count)


def voice(path: Path, rate: int, seed: int) -> Path:
    at = np.arange(rate * SECONDS) / rate
    buzz = sum(np.sin(2 * np.pi * (110 + seed) * nth * at) / nth for nth in range(1, 9))
    breath = np.random.default_rng(seed).standard_normal(len(at))
    soundfile.write(
        path, (5000 * buzz * (1 + np.sin(5 * at)) + 200 * breath).clip(-32768, 32767).astype(np.int16), rate
    )
    return path


async def final(server: Any, streams: int = 1) -> list[Path]:
    """The folders, once so many streams are told of and nothing is left to be done."""
    async with asyncio.timeout(30):
        while len(list(server.root.glob("*/*/stream.json"))) < streams or list(server.root.glob("*/*/journal.jsonl")):
            await asyncio.sleep(0.01)
    folders: list[Path] = server.folders()
    return folders


def check_audio(
    folder: Path, expected: Mapping[str, Audio], rate: int, *, rounding: int = 0, ignored: Mapping[str, int] = {}
) -> dict[str, Any]:
    """The three files, read by two readers, and what stream.json says of them."""
    told: dict[str, Any] = json.loads((folder / "stream.json").read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(told)
    length = max(map(len, expected.values()))
    sides = []
    for track, audio in expected.items():
        assert told["tracks"][track]["counters"]["length"] == len(audio)
        found = read(folder / f"{track}.wav", rate)
        assert found.shape == audio.shape
        assert np.max(np.abs(found.astype(np.int32) - audio)) <= rounding
        sides.append(np.pad(found, (0, length - len(found))))
    if len(sides) == 2:
        assert np.array_equal(read(folder / "stereo.wav", rate), np.stack(sides, axis=1))
    names = {f"{track}.wav" for track in expected} | ({"stereo.wav"} if len(sides) == 2 else set())
    assert {file.name for file in folder.iterdir()} == names | {"stream.json"}
    assert {file["path"]: file["bytes"] for file in told["files"]} == {
        name: (folder / name).stat().st_size for name in names
    }
    assert told["end"] == {"reason": "stop", "stop_received": True, "error": None, "close_code": None}
    assert (told["ignored"], told["omitted"]) == (ignored, {})
    assert told["duration_s"] == pytest.approx(length / rate)
    return told


def read(path: Path, rate: int) -> Audio:
    audio, found_rate = soundfile.read(path, dtype="int16")
    assert found_rate == rate
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getsampwidth(), file.getnframes()) == (rate, 2, len(audio))
        samples = np.frombuffer(file.readframes(len(audio) + 1), "<i2").reshape(audio.shape)
    assert np.array_equal(samples, audio)
    return audio


@pytest.mark.parametrize(("codec", "rate", "byte_order"), CODECS)
def test_a_call_is_recorded_as_ffmpeg_decodes_its_bytes(
    running: Callable[..., Any], hello: Callable[..., Any], codec: str, rate: int, byte_order: str
) -> None:
    size = rate // 50 * (2 if codec == "L16" else 1)
    sent = {"inbound": noise(1, 60 * size), "outbound": noise(2, 60 * size)}  # every code, in any order

    async def main() -> list[Path]:
        async with running(sources=source(byte_order)) as server:
            async with server.dial() as ws:
                await hello(ws, encoding=WIRE[codec], rate=rate, tracks=list(sent), customParameters={})
                for packet in range(60):
                    for track, payload in sent.items():
                        await ws.send(media(track, packet + 1, packet * 20, payload[packet * size :][:size]))
                await ws.send('{"event":"stop","sequenceNumber":"122"}')
            return await final(server)

    (folder,) = asyncio.run(main())
    expected = {track: ffmpegs(payload, codec, rate, byte_order) for track, payload in sent.items()}
    told = check_audio(folder, expected, rate)
    assert told["format"] == {"encoding": codec, "rate": rate, "channels": 1}
    assert [track["gaps"] for track in told["tracks"].values()] == [[], []]


@pytest.mark.parametrize(
    ("dialect", "configured", "codec", "rate", "byte_order"),
    [
        *((dialect, "auto", *codec) for dialect in ("signalwire", "twilio") for codec in [*CODECS[:2], *CODECS[4:6]]),
        *((dialect, dialect, *CODECS[0]) for dialect in ("signalwire", "twilio")),
    ],
)
def test_files_spoken_as_a_platform_would_come_out_as_sent(
    running: Callable[..., Any], tmp_path: Path, codec: str, rate: int, byte_order: str, dialect: str, configured: str
) -> None:
    parameters = {"from": "+15551230000", "tries": 3, "nested": {"list": [1, None, {"deep": "ü ✓"}]}, "": "empty name"}
    call = Call(
        inbound=voice(tmp_path / "in.wav", rate, 1),
        outbound=voice(tmp_path / "out.wav", 16000, 2),
        encoding=Encoding(codec),
        rate=rate,
        byte_order="big" if byte_order == "big" else "little",
        dialect=dialect,
        parameters=parameters,
        keys=(Key("5", 0.5), Key("#", 1.0)),
        call_id="CA" + "1" * 32 if dialect == "twilio" else "one",
    )

    async def main() -> list[Path]:
        async with running(sources=source(byte_order, configured), privacy={"digits": "keep"}) as server:
            outcome = await speak(call, url=server.url, token="a-token-of-the-tests", speed=float("inf"))
            assert outcome.ok, outcome
            return await final(server)

    (folder,) = asyncio.run(main())
    sent = payloads(messages(call))
    expected = {track: ffmpegs(b"".join(parts), codec, rate, byte_order) for track, parts in sent.items()}
    told = check_audio(folder, expected, rate)
    assert told["dialect"] == dialect
    assert told["call_id"] == call.call_id
    assert told["parameters"] == parameters
    assert told["announced_tracks"] == ["inbound", "outbound"]
    assert [(digit["digit"], digit["position"]) for digit in told["digits"]] == [("5", rate // 2), ("#", rate)]


@pytest.mark.parametrize("dialect", ["signalwire", "twilio"])
def test_opus_is_recorded_as_libsndfile_decodes_the_same_packets(
    running: Callable[..., Any], hello: Callable[..., Any], tmp_path: Path, dialect: str
) -> None:
    sent: dict[str, list[bytes]] = {}
    for seed, track in enumerate(("inbound", "outbound"), 1):
        samples, encoder = soundfile.read(voice(tmp_path / "a.wav", 48000, seed), dtype="int16")[0], OpusEncoder(48000)
        sent[track] = [encoder.encode(part) for part in np.split(samples, 50 * SECONDS)]

    async def main() -> list[Path]:
        async with running() as server:
            async with server.dial() as ws:
                ids = {"streamSid": f"MZ{'0' * 32}"} if dialect == "twilio" else {}
                await hello(ws, encoding="audio/opus", rate=48000, tracks=list(sent), customParameters={}, **ids)
                for index in range(50 * SECONDS):
                    for track, packets in sent.items():
                        await ws.send(media(track, index + 1, index * 20, packets[index]))
                await ws.send('{"event":"stop"}')
            return await final(server)

    (folder,) = asyncio.run(main())
    expected = {track: libsndfiles(packets) for track, packets in sent.items()}
    assert [len(audio) for audio in expected.values()] == [48000 * SECONDS] * 2
    told = check_audio(folder, expected, 48000, rounding=1)
    assert told["dialect"] == dialect


@pytest.mark.parametrize("speaker", ["signalwire", "twilio"])
def test_files_spoken_as_opus_come_out_as_libsndfile_decodes_them(
    running: Callable[..., Any], tmp_path: Path, speaker: str
) -> None:
    file = voice(tmp_path / "in.wav", 16000, 4)
    call = Call(inbound=file, encoding=Encoding.OPUS, dialect=speaker)

    async def main() -> list[Path]:
        async with running() as server:
            assert (await speak(call, url=server.url, token="a-token-of-the-tests", speed=float("inf"))).ok
            return await final(server)

    (folder,) = asyncio.run(main())
    packets = payloads(messages(call))["inbound"]
    check_audio(folder, {"inbound": libsndfiles(packets)}, 48000, rounding=1)


@pytest.mark.parametrize("said_rate", [8000, 16000])
def test_g722_comes_out_as_ffmpeg_decodes_it(
    running: Callable[..., Any], hello: Callable[..., Any], said_rate: int
) -> None:
    sent = {"inbound": noise(5, 8000 * SECONDS), "outbound": noise(6, 8000 * SECONDS)}

    async def main() -> list[Path]:
        async with running() as server:
            async with server.dial() as ws:
                await hello(ws, encoding="audio/G722", rate=said_rate, tracks=list(sent), customParameters={})
                for index in range(50 * SECONDS):
                    for track, payload in sent.items():
                        await ws.send(media(track, index + 1, index * 20, payload[160 * index : 160 * (index + 1)]))
                await ws.send('{"event":"stop"}')
            return await final(server)

    (folder,) = asyncio.run(main())
    told = check_audio(folder, {track: ffmpegs_g722(payload) for track, payload in sent.items()}, 16000)
    assert told["format"] == {"encoding": "G722", "rate": 16000, "channels": 1}


def test_files_spoken_as_g722_come_out_as_ffmpeg_decodes_them(running: Callable[..., Any], tmp_path: Path) -> None:
    call = Call(inbound=voice(tmp_path / "in.wav", 16000, 4), encoding=Encoding.G722)

    async def main() -> list[Path]:
        async with running() as server:
            assert (await speak(call, url=server.url, token="a-token-of-the-tests", speed=float("inf"))).ok
            return await final(server)

    (folder,) = asyncio.run(main())
    check_audio(folder, {"inbound": ffmpegs_g722(b"".join(payloads(messages(call))["inbound"]))}, 16000)


@pytest.mark.parametrize("kept", [True, False])
def test_digits_and_marks_stand_where_they_were_said(
    running: Callable[..., Any], hello: Callable[..., Any], kept: bool
) -> None:
    async def main() -> list[Path]:
        async with running(privacy={"digits": "keep"} if kept else {}) as server:
            async with server.dial() as ws:
                await hello(ws, customParameters={"consent": "yes", "weights": [0.5, -2], "flag": True})
                for chunk in range(1, 51):
                    await ws.send(media("inbound", chunk, (chunk - 1) * 20, bytes([chunk]) * 160))
                    if chunk == 25:
                        dtmf = {"digit": "a", "duration": 250, "track": "inbound_track"}
                        await ws.send(json.dumps({"event": "dtmf", "dtmf": dtmf}))
                        await ws.send(json.dumps({"event": "mark", "mark": {"name": "greeting \u202e over"}}))
                    if chunk == 40:
                        await ws.send(json.dumps({"event": "dtmf", "sequenceNumber": "7", "dtmf": {"digit": "*"}}))
                await ws.send('{"event":"stop","stop":{"callSid":"whatever"}}')
            return await final(server)

    (folder,) = asyncio.run(main())
    spoken = b"".join(bytes([chunk]) * 160 for chunk in range(1, 51))
    told = check_audio(folder, {"inbound": ffmpegs(spoken, "PCMU", 8000, "")}, 8000)
    assert told["parameters"] == {"consent": "yes", "weights": [0.5, -2], "flag": True}
    assert told["digits"] == [
        {"digit": "A" if kept else "X", "position": 4000, "rate": 8000, "duration_ms": 250, "track": "inbound"},
        {"digit": "*" if kept else "X", "position": 6400, "rate": 8000, "duration_ms": None, "track": None},
    ]
    assert told["marks"] == [{"name": "greeting \u202e over", "position": 4000, "rate": 8000}]


def test_what_is_late_lost_or_suppressed_leaves_the_rest_at_its_sample(
    running: Callable[..., Any], hello: Callable[..., Any]
) -> None:
    """Inbound: chunk 20 never arrives, and 400 ms of silence are not sent after chunk 30. Outbound begins at 700 ms."""
    rate, size = 16000, 320

    def audio(seed: int) -> bytes:
        return noise(seed, size * 2)

    async def main() -> list[Path]:
        async with running() as server:
            async with server.dial() as ws:
                await hello(ws, encoding="L16", rate=rate)
                for chunk in range(1, 61):
                    ms = (chunk - 1) * 20 + (400 if chunk > 30 else 0)
                    if chunk != 20:
                        await ws.send(media("inbound", chunk, ms, audio(chunk)))
                    if chunk > 10:
                        await ws.send(media("outbound", chunk - 10, 700 + (chunk - 11) * 20, audio(1000 + chunk)))
                await ws.send('{"event":"stop"}')
            return await final(server)

    (folder,) = asyncio.run(main())
    inbound = [audio(chunk) for chunk in range(1, 61)]
    inbound[19] = bytes(size * 2)
    inbound.insert(30, bytes(20 * size * 2))
    outbound = [bytes(35 * size * 2), *(audio(1000 + chunk) for chunk in range(11, 61))]
    expected = {
        name: ffmpegs(b"".join(parts), "L16", rate, "little")
        for name, parts in (("inbound", inbound), ("outbound", outbound))
    }
    told = check_audio(folder, expected, rate, ignored={"unannounced_track": 1})
    assert told["tracks"]["inbound"]["gaps"] == [
        {"start": 19 * size, "end": 20 * size, "cause": "lost"},
        {"start": 30 * size, "end": 50 * size, "cause": "unsent"},
    ]
    assert told["tracks"]["outbound"]["gaps"] == [{"start": 0, "end": 35 * size, "cause": "unsent"}]


def test_receiver_call_to_receiver_serve(tmp_path: Path) -> None:
    """Both commands as a user starts them."""
    (tmp_path / "config.toml").write_text('[server]\nhost = "127.0.0.1"\nport = 0\n[management]\nport = 0\n')
    environ = {**os.environ, "RECEIVER_TOKEN": "a-token-of-the-tests", "COLUMNS": "200"}
    command = [sys.executable, "-m", "receiver"]
    files = [str(voice(tmp_path / "in.wav", 8000, 1)), str(voice(tmp_path / "out.wav", 8000, 2))]
    lines: list[dict[str, Any]] = []
    with subprocess.Popen(
        [*command, "serve", "-c", "config.toml"], cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True
    ) as serving:
        assert serving.stderr is not None
        try:
            while not lines or lines[-1]["event"] != "listening":
                lines.append(json.loads(serving.stderr.readline()))
            url = lines[-1]["public"].replace("http", "ws") + "/stream"
            call = [*command, "call", "--to", url, "--inbound", files[0], "--outbound", files[1], "--codec", "PCMA"]
            options = ["--speed", "max", "--parameter", "from=+15551230000", "--digits", "7@1", "--call-id", "the-call"]
            made = subprocess.run(
                [*call, *options], cwd=tmp_path, env=environ, capture_output=True, timeout=50, text=True
            )
            assert made.returncode == 0, made
            assert "101 Switching Protocols" in made.stdout
            while lines[-1]["event"] != "stream_ended":
                lines.append(json.loads(serving.stderr.readline()))
            journal = Path(lines[-1]["directory"]) / "journal.jsonl"
            deadline = time.monotonic() + 30
            while journal.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
        finally:
            serving.send_signal(signal.SIGINT)
            rest = serving.stderr.read()
    assert serving.returncode == 0
    assert [json.loads(line)["event"] for line in rest.splitlines()][-1] == "stopped"
    (folder,) = (tmp_path / "recordings").glob("*/*")
    said = messages(Call(inbound=Path(files[0]), outbound=Path(files[1]), encoding=Encoding.PCMA))
    expected = {track: ffmpegs(b"".join(parts), "PCMA", 8000, "") for track, parts in payloads(said).items()}
    told = check_audio(folder, expected, 8000)
    assert (told["call_id"], told["parameters"]) == ("the-call", {"from": "+15551230000"})
    assert [digit["digit"] for digit in told["digits"]] == ["X"]
    started = next(line for line in lines if line["event"] == "stream_started")
    assert started["stream"] == told["id"] == folder.name
