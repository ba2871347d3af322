"""Audio that proves what is in a file."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from talking import TRACKS
from voice import FRAME, WIRES, Voice, Voices

from receiver.audio import AudioFormat, Encoding
from receiver.media.g711 import G711
from receiver.media.l16 import L16

DECODERS: dict[str, Callable[[bytes], np.ndarray]] = {
    "audio/x-L16": lambda data: L16(AudioFormat(Encoding.L16, 8000), "little").decode([data]),
    "audio/x-mulaw": lambda data: G711(AudioFormat(Encoding.PCMU, 8000)).decode([data]),
}


@pytest.mark.parametrize("wire", WIRES)
def test_what_is_sent_decodes_to_what_is_said_to_have_been_spoken(wire: str) -> None:
    voice = Voice(3, "outbound", wire, 0.1)
    assert len(voice.frames) == voice.messages == 5
    assert (DECODERS[wire](voice._bytes) == voice.samples).all()
    assert len(voice.samples) == 5 * FRAME
    assert voice.samples.all()  # silence is none of it


def test_every_track_speaks_otherwise() -> None:
    said = [Voice(number, track, WIRES[0], 0.1).samples for number in range(3) for track in ("inbound", "outbound")]
    assert len({one.tobytes() for one in said}) == 6


def test_calls_of_one_number_begin_alike_however_long_they_are() -> None:
    short, long = Voices(3, 20), Voices(3, 30)
    for track in TRACKS:
        assert np.array_equal(short.samples(track, 20), long.samples(track, 20))
        assert [short.said(track, number) for number in range(20)] == [long.said(track, number) for number in range(20)]
        assert np.array_equal(long.samples(track, 30)[: 20 * FRAME], short.samples(track, 20))
