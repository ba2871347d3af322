"""Packets that are decoded together, and what happens where one of them is damaged."""

from collections.abc import Sequence

import numpy as np
import pytest

from receiver.audio import AudioFormat, Encoding
from receiver.dialects.messages import Media
from receiver.events import Cause, Event, Frame, Gap, Samples
from receiver.media.decoding import decoder_for
from receiver.media.run import Run
from receiver.media.timeline import Timeline
from receiver.media.track import Track

PACKET = 160


class Fragile:
    """A decoder that, unlike those of telephony, can be made to fail: on every packet that starts with 0xFF."""

    rate = 8000
    unit_bytes = 0

    def __init__(self) -> None:
        self.bad: list[int] = []

    def samples_in(self, payload: bytes) -> int | None:
        return PACKET

    def decode(self, payloads: Sequence[bytes]) -> Samples:
        self.bad = [index for index, payload in enumerate(payloads) if payload[0] == 0xFF]
        return np.concatenate([np.full(PACKET, payload[0], np.int16) for payload in payloads])

    def damaged(self) -> list[int]:
        return self.bad

    def conceal(self, samples: int) -> None:
        raise AssertionError("nothing is missing")


def spans(events: list[Event]) -> list[tuple[str, int, int]]:
    found = []
    for event in events:
        if isinstance(event, Frame):
            assert all(sample == event.samples[0] for sample in event.samples[::PACKET]) or len(event.samples) > PACKET
            found.append(("frame", event.start, event.end))
        elif isinstance(event, Gap):
            assert event.cause is Cause.REJECTED
            found.append(("gap", event.start, event.end))
    return found


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([1, 2], [("frame", 0, 320)]),
        ([0xFF], [("gap", 0, 160)]),
        ([1, 0xFF, 3], [("frame", 0, 160), ("gap", 160, 320), ("frame", 320, 480)]),
        ([0xFF, 0xFF, 3, 4], [("gap", 0, 160), ("gap", 160, 320), ("frame", 320, 640)]),
        ([1, 2, 0xFF], [("frame", 0, 320), ("gap", 320, 480)]),
    ],
)
def test_a_damaged_packet_is_a_gap_of_its_own_length(codes: list[int], expected: list[tuple[str, int, int]]) -> None:
    run = Run("inbound", Fragile())
    run.payloads += [bytes([code]) for code in codes]
    end = len(codes) * PACKET
    assert spans(run.decode(end)) == expected
    assert run.decode(end) == []
    bad = codes.count(0xFF)
    assert (run.damaged, run.damaged_samples) == (bad, bad * PACKET)
    assert (run.placed, run.audio) == (len(codes) - bad, (len(codes) - bad) * PACKET)


def test_a_track_counts_what_only_the_decoder_found() -> None:
    track = Track("inbound", Fragile(), Timeline(0.0))
    for number, code in enumerate([1, 0xFF, 3], 1):
        track.push(Media("inbound", bytes([code]), number, (number - 1) * 20), 0.0)
    assert spans(track.drain()) == [("frame", 0, 160), ("gap", 160, 320), ("frame", 320, 480)]
    counters = track.counters()
    assert (counters.received, counters.placed, counters.rejected, track.rejected) == (3, 2, 1, 1)
    assert (counters.samples, counters.gaps) == (320, {"rejected": 160})


def test_an_odd_byte_is_counted() -> None:
    run = Run("inbound", decoder_for(AudioFormat(Encoding.L16, 8000), l16_byte_order="little"))
    run.payloads += [b"\x01\x00", b"\x02\x00\x03"]
    (frame,) = run.decode(2)
    assert isinstance(frame, Frame)
    assert frame.samples.tolist() == [1, 2]
    assert run.trimmed == 1
