from __future__ import annotations

import fcntl
import gzip
import os
import tracemalloc
from pathlib import Path
from types import ModuleType

import pytest

from receiver.audio import Encoding
from receiver.captures.capture import CaptureError, Pause
from receiver.events import Cause, EndReason
from receiver.inspection.capture import CaptureInspection, is_locked
from receiver.inspection.report import (
    DigitFigures,
    EndFigures,
    GapFigures,
    JumpFigures,
    MarkFigures,
    Odd,
    PauseFigures,
    Report,
    Unreadable,
)
from receiver.media.opus import backend
from receiver.simulate import SPEECH, Call, messages


def look(path: Path) -> Report:
    return CaptureInspection(path).report()


def test_a_capture_with_one_of_everything(lab: ModuleType, tmp_path: Path) -> None:
    found = look(lab.whole(tmp_path))
    assert (found.kind, found.state, found.duration_s, found.unknown) == ("capture", "ended", 1.0, [])
    capture, stream, inbound, outbound = found.capture, found.stream, found.tracks["inbound"], found.tracks["outbound"]
    assert capture is not None and stream is not None and found.messages is not None
    assert capture.accepted == lab.STARTED and capture.headers == (("user-agent", "platform/1"),)
    assert (capture.source, capture.url_path, capture.resolution_ms) == ("phone", "/phone", 0)
    assert (capture.length_s, capture.start_s, capture.ended, capture.problem) == (1.0, 0.0, True, None)
    assert (stream.id, stream.stream_id, stream.call_id, stream.dialect) == (
        "0199-ours", "theirs", "call-1", "signalwire",
    )  # fmt: skip
    assert stream.parameters["from"] == "+15550100" and stream.token == "main"
    assert stream.started == "2026-11-21T10:20:07.000Z"
    assert found.end == EndFigures(reason=EndReason.STOP, stop_received=True, error=None, close_code=1000, text="done")
    assert inbound.counters is not None and outbound.counters is not None
    assert inbound.packets is not None and inbound.audio is not None and outbound.audio is not None
    assert (inbound.counters.received, inbound.counters.placed, inbound.counters.duplicate) == (48, 47, 1)
    assert inbound.gaps == [GapFigures(0.2, 0.26, Cause.LOST)] and inbound.gaps_s == {"lost": 0.06}
    assert inbound.odd == [Odd(0.3, "duplicate", 1)]
    assert outbound.odd == [Odd(0.64, "reordered", 1)] and outbound.gaps == [] and outbound.gaps_s == {}
    assert (inbound.packets.chunk_jumps, inbound.packets.chunks_skipped) == (1, 3)
    assert (inbound.audio.audio_s, inbound.audio.peak_dbfs, inbound.audio.rms_dbfs) == (0.94, -30.31, -30.31)
    assert outbound.audio.peak_dbfs == -0.21 and outbound.duration_s == 0.8
    assert found.digits == [DigitFigures(0.22, "5", 100, None)]
    assert found.marks == [MarkFigures(0.6, "greeting")]
    assert found.ignored == {"unreadable": 1} and found.omitted == {}
    assert found.messages.first_unreadable == [Unreadable(53, 0.5004, 9, "not JSON (character 1)")]


def test_lines_are_right_where_messages_share_a_time_and_others_are_in_between(lab: ModuleType, tmp_path: Path) -> None:
    lines = lab.encoded([*lab.opening(), *lab.packets([1]), (0.02, "{a"), (0.02, "{b"), lab.END]).splitlines(True)
    lines.insert(4, b'[0.02,"T",{"we":"sent this"}]\n')
    (tmp_path / "a.jsonl").write_bytes(b"".join(lines))
    found = look(tmp_path / "a.jsonl").messages
    assert found is not None and [bad.line for bad in found.first_unreadable] == [6, 7]
    assert lines[5].startswith(b'[0.02,"t","{a"')


def test_a_packed_capture_is_the_same(lab: ModuleType, tmp_path: Path) -> None:
    plain = lab.whole(tmp_path)
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    found, same = look(plain), look(packed)
    assert found.tracks == same.tracks and found.messages == same.messages


def test_one_that_was_cut_off_says_so_and_has_what_came_before(lab: ModuleType, tmp_path: Path) -> None:
    text = lab.encoded([*lab.opening(), *lab.packets(range(1, 11))])
    (tmp_path / "a.jsonl").write_bytes(text[:-20])
    found = look(tmp_path / "a.jsonl")
    assert (found.state, found.end, found.duration_s) == ("cut", None, 0.18)
    assert found.capture is not None and not found.capture.ended and found.capture.problem is None
    packed = gzip.compress(text, compresslevel=0)
    (tmp_path / "b.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    assert look(tmp_path / "b.jsonl.gz").state == "cut"


def test_one_that_stopped_and_was_cut_off_then_ended_all_the_same(lab: ModuleType, tmp_path: Path) -> None:
    found = look(lab.capture(tmp_path / "a.jsonl", [*lab.opening(), *lab.packets([1]), (0.1, lab.stop())]))
    assert found.state == "cut" and found.end is not None and found.end.stop_received


def test_one_that_is_being_written_is_live(lab: ModuleType, tmp_path: Path) -> None:
    path = lab.capture(tmp_path / "capture.jsonl", [*lab.opening(), *lab.packets([1, 2])])
    with (tmp_path / "journal.jsonl").open("w") as journal:
        fcntl.flock(journal, fcntl.LOCK_EX)
        found = look(path)
        assert (found.state, found.end, found.duration_s) == ("live", None, 0.04)
    assert look(path).state == "cut"


def test_to_look_whether_a_journal_is_held_holds_nobody_up(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    assert not is_locked(path)
    path.touch()
    assert not is_locked(path)
    descriptor = os.open(path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert is_locked(path)
    os.close(descriptor)


def test_a_damaged_line_ends_it_and_is_named(lab: ModuleType, tmp_path: Path) -> None:
    text = lab.encoded([*lab.opening(), *lab.packets([1, 2])]) + b"rubbish\n" + lab.encoded(lab.packets([3]))
    (tmp_path / "a.jsonl").write_bytes(text)
    found = look(tmp_path / "a.jsonl")
    assert found.capture is not None and found.capture.problem is not None
    assert found.capture.problem.startswith(f"{tmp_path / 'a.jsonl'}, line 6: ")
    assert (found.state, found.duration_s) == ("cut", 0.04)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}\n",
        b"RIFF\n",
        b'{"version":9}\n',
        b'{"version":1,"settings":{"tracks":"x"}}\n',
        b'{"version":1,"settings":{"dialect":"x"}}\n',
    ],
)
def test_what_is_no_capture_is_an_error(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(text)
    with pytest.raises(CaptureError, match=r"a\.jsonl: "):
        look(tmp_path / "a.jsonl")


def test_one_without_a_start_has_no_stream(lab: ModuleType, tmp_path: Path) -> None:
    found = look(lab.capture(tmp_path / "a.jsonl", [(0.0, lab.connected()), lab.END]))
    assert found.stream is None and found.tracks == {} and found.capture is not None
    assert found.capture.start_s is None and found.messages is not None and found.messages.messages == 1
    assert found.end is not None and not found.end.stop_received


def test_a_start_that_was_refused_says_why(lab: ModuleType, tmp_path: Path) -> None:
    entries = [(0.0, lab.connected()), (0.1, lab.start(encoding="audio/x-morse")), lab.END]
    found = look(lab.capture(tmp_path / "a.jsonl", entries))
    assert found.stream is None and found.end is not None
    assert (found.end.reason, found.end.close_code) == (EndReason.ERROR, 4415)
    assert found.end.error == "encoding 'audio/x-morse' is not supported"


def test_masked_keys_and_withheld_messages_are_what_the_capture_has(lab: ModuleType, tmp_path: Path) -> None:
    entries = [
        *lab.opening(),
        *lab.packets(range(1, 11)),
        (0.2, lab.digit("X")),
        Pause(0.2, None),
        *((round(0.02 * number, 3), 600) for number in range(11, 31)),
        Pause(0.6, ()),
        *lab.packets(range(31, 41)),
        lab.END,
    ]
    found = look(lab.capture(tmp_path / "a.jsonl", entries))
    assert found.messages is not None
    assert [digit.digit for digit in found.digits] == ["X"]
    assert (found.messages.withheld, found.messages.withheld_bytes) == (20, 12_000)
    assert found.messages.pauses == [PauseFigures(0.2, None), PauseFigures(0.6, ())]
    assert found.tracks["inbound"].gaps == [GapFigures(0.2, 0.6, Cause.PAUSED)]
    assert found.ignored == {"paused": 20}


def test_a_clock_that_jumps_is_a_discontinuity(lab: ModuleType, tmp_path: Path) -> None:
    entries = [*lab.opening(), *lab.packets([1, 2, 3]), (0.08, lab.media(4, stamp=900_000_000)), lab.END]
    found = look(lab.capture(tmp_path / "a.jsonl", entries)).tracks["inbound"]
    assert found.discontinuities == [JumpFigures(0.08, 40, 900_000_000)]
    assert found.packets is not None and found.packets.jitter is not None
    assert found.packets.jitter.delay_ms.max == 0


@pytest.mark.parametrize("encoding", list(Encoding))
def test_every_encoding_measures_alike(lab: ModuleType, tmp_path: Path, encoding: Encoding) -> None:
    if encoding is Encoding.OPUS and backend() is None:
        pytest.skip("needs libopus or PyAV")
    call = Call(inbound=SPEECH / "inbound.flac", outbound=SPEECH / "outbound.flac", encoding=encoding)
    path = lab.capture(tmp_path / "a.jsonl", [*messages(call), lab.End(21.0, EndReason.STOP)])
    found = look(path)
    assert found.duration_s == 21.0 and list(found.tracks) == ["inbound", "outbound"]
    for track in found.tracks.values():
        assert track.packets is not None and track.audio is not None
        assert (track.packets.messages, track.packets.packet_ms_min, track.packets.packet_ms_max) == (1050, 20, 20)
        assert track.gaps == [] and track.audio.audio_s == 21.0
        assert track.audio.peak_dbfs == pytest.approx(-5.8, abs=0.8)
        assert 6 < track.audio.active_s < 10
        assert track.packets.jitter is not None and track.packets.jitter.delay_ms.max == 0


def test_odd_messages_beyond_what_is_kept_are_counted(
    lab: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.inspection.capture.MAX_ODD", 2)
    entries = [*lab.opening(), *lab.packets([1, 2]), *((0.05 + number / 100, lab.media(1)) for number in range(5))]
    found = look(lab.capture(tmp_path / "a.jsonl", entries))
    assert len(found.tracks["inbound"].odd) == 2 and found.omitted == {"odd": 3}


def test_memory_does_not_grow_with_the_length(lab: ModuleType, tmp_path: Path) -> None:
    def most(count: int) -> int:
        path = lab.capture(tmp_path / "a.jsonl", [*lab.opening(), *lab.packets(range(1, count)), lab.END])
        tracemalloc.start()
        try:
            assert look(path).duration_s == pytest.approx(0.02 * (count - 1))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    most(500)  # loads what is loaded once
    assert most(4000) < most(1000) + 200_000
