"""What the calls of the torture say is what other people's code understands."""

from __future__ import annotations

import base64
import json
import sys

import numpy as np
import pytest
import talking
from voice import Voices
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

if sys.version_info < (3, 13):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import audioop
else:
    import audioop


def read(data: bytes) -> list[Frame]:
    """The frames, as websockets reads what a client sends."""
    reader = StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    frames = []
    while reader.buffer:
        parsing = Frame.parse(reader.read_exact, mask=True)
        try:
            next(parsing)
        except StopIteration as done:
            frames.append(done.value)
    return frames


@pytest.mark.parametrize("size", [0, 1, 125, 126, 4000])
def test_a_frame_is_masked_and_whole(size: int) -> None:
    payload = bytes(number % 256 for number in range(size))
    (frame,) = read(talking.frame(talking.BINARY, payload))
    assert (frame.opcode, frame.data, frame.fin) == (Opcode.BINARY, payload, True)


def test_the_samples_are_those_of_another_decoder() -> None:
    voices = Voices(3, 20)
    for track in talking.TRACKS:
        frames = [read(voices.said(track, number))[0] for number in range(20)]
        media = [json.loads(frame.data)["media"] for frame in frames]
        assert [(one["track"], one["chunk"], one["timestamp"]) for one in media[:2]] == [
            (track, "1", "0"),
            (track, "2", "20"),
        ]
        codes = b"".join(base64.b64decode(one["payload"]) for one in media)
        assert np.array_equal(voices.samples(track, 20), np.frombuffer(audioop.ulaw2lin(codes, 2), "<i2"))


def test_a_greeting_and_an_end_are_what_a_platform_says() -> None:
    connected, start = read(talking.greeting("call-1"))
    assert json.loads(connected.data)["event"] == "connected"
    assert json.loads(start.data)["start"]["callSid"] == "call-1"
    stop, close = read(talking.STOP + talking.close(1000))
    assert (json.loads(stop.data)["event"], close.opcode, close.data) == ("stop", Opcode.CLOSE, b"\x03\xe8")


def test_what_is_bad_is_a_frame_all_the_same() -> None:
    assert {read(frame)[0].opcode for frame in talking.BAD.values()} == {Opcode.TEXT, Opcode.BINARY, Opcode.PING}
