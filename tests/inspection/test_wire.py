from __future__ import annotations

from types import ModuleType

import pytest

from receiver.errors import ProtocolError
from receiver.inspection.distribution import Bin
from receiver.inspection.report import PacketFigures, PauseFigures, Unreadable
from receiver.inspection.wire import MAX_PAUSES, MAX_UNREADABLE, Wire
from receiver.sessions.settings import SessionSettings


@pytest.fixture
def wire(lab: ModuleType) -> Wire:
    """One that has had its start, at 1 s."""
    made = Wire(SessionSettings())
    made.take(lab.connected(), 0.5, 2)
    made.take(lab.start("inbound"), 1.0, 3)
    return made


def figures(wire: Wire, track: str = "inbound") -> PacketFigures:
    return wire.tracks[track].figures()


def test_spacing_and_jitter_of_an_even_stream(wire: Wire, lab: ModuleType) -> None:
    for number in range(1, 101):
        wire.take(lab.media(number), 1 + number * 0.02, number)
    found = figures(wire)
    assert (found.messages, found.payload_bytes) == (100, 32_000)
    assert (found.packet_ms_min, found.packet_ms_max) == (20.0, 20.0)
    assert found.spacing_ms is not None and found.jitter is not None
    assert found.spacing_ms.histogram == [Bin(19, 21, 99)]
    assert (found.spacing_ms.min, found.spacing_ms.max) == (20.0, 20.0)
    assert found.jitter.rfc3550_ms == found.jitter.rfc3550_max_ms == found.jitter.delay_ms.max == 0
    assert found.jitter.over_time.high == [0.0] * 21
    assert (found.first_chunk, found.last_chunk, found.chunk_jumps, found.chunks_skipped) == (1, 100, 0, 0)
    assert (found.first_timestamp_ms, found.last_timestamp_ms) == (0, 1980)


def test_the_jitter_is_that_of_rfc_3550(wire: Wire, lab: ModuleType) -> None:
    """By hand: D is 16 and -16 ms, then J = 16/16 = 1, and 1 + (16 - 1)/16 = 1.9375."""
    for number, late in ((1, 0.0), (2, 0.016), (3, 0.0)):
        wire.take(lab.media(number), 1 + number * 0.02 + late, number)
    found = figures(wire).jitter
    assert found is not None
    assert (found.rfc3550_ms, found.rfc3550_max_ms) == (1.938, 1.938)
    assert (found.delay_ms.min, found.delay_ms.median, found.delay_ms.max) == (0.0, 0.0, 16.0)


def test_where_a_clock_jumped_nothing_is_late_for_that(wire: Wire, lab: ModuleType) -> None:
    for number, stamp in ((1, 0), (2, 20), (3, 500_000), (4, 500_020), (5, 0), (6, 20), (8, 60), (7, 40)):
        wire.take(lab.media(number, stamp=stamp), 1 + number * 0.02, number)
    found = figures(wire).jitter
    assert found is not None and found.delay_ms.max == 0 and found.rfc3550_max_ms == 0


def test_counters_that_jump_and_come_back(wire: Wire, lab: ModuleType) -> None:
    for number in (5, 6, 9, 8, 8, 20):
        wire.take(lab.media(number), 1.0, 1)
    found = figures(wire)
    assert (found.first_chunk, found.last_chunk, found.chunk_jumps, found.chunks_skipped) == (5, 20, 2, 12)


def test_packets_of_several_lengths(lab: ModuleType) -> None:
    wire = Wire(SessionSettings())
    wire.take(lab.start("inbound", encoding="audio/x-mulaw"), 0, 2)
    for number, payload in ((1, "/////w=="), (2, "//8=")):
        wire.take(lab.media(number).replace(payload_of(lab.media(number)), payload), number, number)
    assert (figures(wire).packet_ms_min, figures(wire).packet_ms_max) == (0.25, 0.5)


def payload_of(message: str) -> str:
    return message.rpartition('"payload": "')[2].partition('"')[0]


def test_kinds_sizes_and_what_was_withheld(wire: Wire, lab: ModuleType) -> None:
    texts = [lab.media(1), lab.digit("5"), lab.mark("a"), '{"event":"news"}', lab.stop(), lab.media(2)]
    for text in texts:
        wire.take(text, 2.0, 9)
    wire.take(77, 2.0, 9)
    wire.pause(2.0, None)
    wire.pause(3.0, ())
    found = wire.figures()
    assert found.messages == 8 and found.kinds == {
        "connected": 1,
        "start": 1,
        "media": 2,
        "dtmf": 1,
        "mark": 1,
        "unknown": 1,
        "stop": 1,
    }
    assert found.bytes == sum(map(len, [lab.connected(), lab.start("inbound"), *texts]))
    assert (found.withheld, found.withheld_bytes) == (1, 77)
    assert found.pauses == [PauseFigures(2.0, None), PauseFigures(3.0, ())]
    assert figures(wire).messages == 1  # what comes after the stop is no stream's


def test_what_cannot_be_used_is_said_with_its_line(wire: Wire, lab: ModuleType) -> None:
    wire.take("{", 1.25, 11)
    wire.take(b"\x00\x01", 1.5, 12)
    wire.take("x" * 65_537, 1.5, 13)
    wire.take(lab.media(1).replace(payload_of(lab.media(1)), "!!"), 1.5, 14)
    wire.take(lab.media(2).replace(payload_of(lab.media(2)), "AA=="), 1.5, 15)  # half a sample
    found = wire.figures()
    assert found.unreadable == 5 and found.kinds["unreadable"] == 3
    assert found.first_unreadable == [
        Unreadable(11, 1.25, 1, "not JSON (character 1)"),
        Unreadable(12, 1.5, 2, "binary message where text is due"),
        Unreadable(13, 1.5, 65_537, "above 65536 bytes"),
        Unreadable(14, 1.5, found.first_unreadable[3].bytes, "the payload of inbound cannot be decoded"),
        Unreadable(15, 1.5, found.first_unreadable[4].bytes, "the payload of inbound cannot be decoded"),
    ]


def test_lists_are_bounded(wire: Wire, lab: ModuleType) -> None:
    for number in range(2000):
        wire.take("{", 1.0, number)
        wire.pause(1.0, ())
        wire.take(lab.media(1, track=f"t{number}"), 1.0, number)
    found = wire.figures()
    assert found.unreadable == 2000 and len(found.first_unreadable) == MAX_UNREADABLE
    assert len(found.pauses) == MAX_PAUSES
    assert len(wire.tracks) == SessionSettings().tracks


def test_media_before_the_start_belongs_to_no_track(lab: ModuleType) -> None:
    wire = Wire(SessionSettings())
    wire.take(lab.media(1), 0.0, 2)
    assert wire.tracks == {} and wire.figures().kinds == {"media": 1}


def test_media_without_chunk_and_timestamp_are_counted_all_the_same(wire: Wire, lab: ModuleType) -> None:
    wire.take(lab.media(1).replace('"chunk": 1, "timestamp": 0, ', ""), 1.0, 4)
    found = figures(wire)
    assert (found.messages, found.first_chunk, found.first_timestamp_ms, found.jitter) == (1, None, None, None)
    assert found.spacing_ms is None


def test_without_a_library_for_its_encoding_packets_have_no_length(
    wire: Wire, lab: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_here(*_: object, **__: object) -> None:
        raise ProtocolError(4415, "OPUS needs libopus")

    monkeypatch.setattr("receiver.inspection.wire.decoder_for", none_here)
    wire.take(lab.media(1), 1.0, 4)
    assert (figures(wire).messages, figures(wire).packet_ms_min, wire.figures().unreadable) == (1, None, 0)


def test_a_format_that_nobody_can_decode_ends_the_counting(lab: ModuleType) -> None:
    wire = Wire(SessionSettings())
    wire.take(lab.start("inbound", encoding="audio/x-morse"), 0.0, 2)
    wire.take(lab.media(1), 0.0, 3)
    assert wire.ended and wire.tracks == {}
