"""P12: what OPUS costs above PCMU, and how many calls of it a core carries."""

from __future__ import annotations

import base64
import json
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import soxr

import middle
from bench_run import Bench
from load import Load
from programs import CannotMeasure
from receiver.sessions.session import Session
from receiver.sessions.settings import SessionSettings
from receiver.simulate import SPEECH
from row import Row, missing, verdict

RATE = 48_000
SAMPLES = RATE // 50
MESSAGES = 2000
ROUNDS = 5
STREAMS = 100
ASKED = 1.2

START = json.loads(middle.START)
START["start"]["mediaFormat"] = {"encoding": "audio/opus", "sampleRate": RATE, "channels": 1}


def packets() -> list[bytes]:
    """The bundled call's inbound side, 20 ms each."""
    from receiver.media.opus import OpusEncoder  # asks for a library that is not everywhere

    audio, rate = soundfile.read(SPEECH / "inbound.flac", dtype="float32")
    audio = (soxr.resample(audio, rate, RATE) * 32767).clip(-32768, 32767).astype(np.int16)
    encode = OpusEncoder(RATE).encode
    return [encode(audio[i : i + SAMPLES]) for i in range(0, len(audio) - SAMPLES, SAMPLES)]


def decoder_cost(data: list[bytes]) -> float:
    """Microseconds per packet of the decoder that the receiver itself would take, alone."""
    from receiver.media.opus import backend

    if backend() == "libopus":
        from receiver.media import libopus

        decode = libopus.Decoder(RATE).decode
    else:
        from receiver.media import pyav

        decode = pyav.Decoder(RATE).decode
    began = time.process_time()
    for number in range(MESSAGES):
        decode(data[number % len(data)], SAMPLES)
    return (time.process_time() - began) / MESSAGES * 1e6


def session_cost(data: list[bytes]) -> float:
    """Microseconds per message in the middle, in batches of 5, as middle.py has it for PCMU."""
    texts = []
    for number in range(1, MESSAGES + 1):
        body = json.loads(middle.media(number))
        body["media"]["payload"] = base64.b64encode(data[number % len(data)]).decode()
        texts.append(json.dumps(body))
    session = Session("signalwire", at=0.0, settings=SessionSettings())
    session.receive([json.dumps(START)], 0.0)
    began = time.process_time()
    for i in range(0, MESSAGES, 5):
        session.receive(texts[i : i + 5], i * 0.02)
    spent = time.process_time() - began
    if session.error is not None or session.counters["inbound"].placed != MESSAGES:
        raise CannotMeasure(f"the session did not take it: {session.error}")
    return spent / MESSAGES * 1e6


def best(measure: Callable[[], float]) -> float:
    """The best of some rounds."""
    return min(measure() for _ in range(ROUNDS))


def figure(bench: Bench) -> list[Row]:
    """In the middle, where it is decoded; and the calls per core from the full job."""
    what, asked = "OPUS 20 ms 48 kHz above PCMU, µs per message", f"≤ {ASKED} × the decoder"
    try:
        data = packets()
        decoder, opus = best(lambda: decoder_cost(data)), best(lambda: session_cost(data))
    except Exception as error:  # whatever the library's absence looks like
        return [missing("P12", what, asked, f"{type(error).__name__}: {error}")]
    pcmu_texts = [middle.media(number) for number in range(1, middle.MESSAGES + 1)]
    above = opus - best(lambda: middle.session_cost(pcmu_texts, 5))
    got = f"{above:.1f} = {above / decoder:.2f} × {decoder:.1f}"
    values = {"above": above, "decoder": decoder, "opus": opus}
    rows = [Row("P12", what, asked, got, verdict(above <= ASKED * decoder), values)]
    with tempfile.TemporaryDirectory(prefix="bench-opus-") as place:
        recorded = Path(place) / "packets"
        recorded.write_bytes(b"".join(struct.pack("<H", len(packet)) + packet for packet in data))
        more = ("--encoding", "audio/opus", "--rate", str(RATE), "--payloads", str(recorded))
        try:
            cost = bench.report("receiver", Load(STREAMS, 1, bench.seconds, bench.warm, more)).us_per_message
        except CannotMeasure as error:
            return [*rows, missing("P12", "two-track OPUS calls per core", "stated", error)]
    calls = 1e6 / (cost * 100)
    got = f"{calls:.0f} ({cost:.1f} µs per message, the full job at {STREAMS} streams)"
    return [
        *rows,
        Row("P12", "two-track OPUS calls per core", "stated", got, "", {"calls": calls, "us_per_message": cost}),
    ]
