"""The ledger: what is known of a stream beside its audio, and its bounds."""

from __future__ import annotations

import pytest

from receiver.events import Cause, Digit, Discontinuity, Gap, Marked, TrackCounters
from receiver.recordings import ledger
from receiver.recordings.ledger import FileEntry, Ledger


def gap(start: int, end: int, cause: Cause = Cause.LOST, track: str = "inbound", rate: int = 8000) -> Gap:
    return Gap(track, start, end, rate, cause)


def test_a_gap_that_goes_on_makes_the_last_one_longer_and_is_no_new_one() -> None:
    made = Ledger()
    steps = [gap(0, 160), gap(160, 320), gap(200, 240), gap(320, 400, Cause.UNSENT), gap(480, 500, Cause.UNSENT)]
    assert [made.add_gap(step) for step in steps] == [True, False, False, True, True]
    assert made.gaps == {"inbound": [gap(0, 320), gap(320, 400, Cause.UNSENT), gap(480, 500, Cause.UNSENT)]}
    assert made.last_gap("inbound") == gap(480, 500, Cause.UNSENT)
    assert made.last_gap("outbound") is None


def test_gaps_are_bounded_per_track_and_so_are_the_tracks_but_the_last_one_may_grow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ledger, "MAX_GAPS", 2)
    monkeypatch.setattr(ledger, "MAX_TRACKS", 2)
    made = Ledger()
    assert made.add_gap(gap(0, 1)) and made.add_gap(gap(2, 3)) and made.add_gap(gap(0, 1, track="outbound"))
    assert not made.add_gap(gap(4, 5))
    assert not made.add_gap(gap(0, 1, track="third"))
    assert made.omitted == {"gaps": 2}
    made.add_gap(gap(3, 9))
    assert made.omitted == {"gaps": 2}
    assert made.last_gap("inbound") == gap(2, 9)
    assert set(made.gaps) == {"inbound", "outbound"}


def test_what_was_seen_is_kept_by_kind_and_bounded_by_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MAX_SEEN", 1)
    made = Ledger()
    seen = [Digit("5", 0, 8000), Marked("m", 1, 8000), Discontinuity("inbound", 2, 8000, 40, 9000)]
    assert [made.add_seen(event) for event in seen] == [True] * 3
    assert [made.digits, made.marks, made.discontinuities] == [[event] for event in seen]
    assert [made.add_seen(event) for event in seen] == [False] * 3
    assert made.omitted == {"digits": 1, "marks": 1, "discontinuities": 1}


def test_annotations_are_bounded_in_number_and_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MAX_ANNOTATIONS", 2)
    monkeypatch.setattr(ledger, "MAX_ANNOTATION_BYTES", 10)
    made = Ledger()
    assert [made.add_annotation(text) for text in (b"[1,2,3]", b"[1,2]", b"[1]", b"")] == [True, False, True, False]
    assert [bytes(annotation) for annotation in made.annotations] == [b"[1,2,3]", b"[1]"]
    assert made.omitted == {"annotations": 2}


def test_a_file_of_the_same_path_replaces_the_other_also_when_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MAX_FILES", 1)
    made = Ledger()
    first, second = FileEntry("a", "text", "text/plain", "s"), FileEntry("a", "audio", "audio/wav", "t")
    assert made.add_file(first) and made.add_file(second)
    assert not made.add_file(FileEntry("b", "text", "text/plain", "s"))
    assert (made.files, made.omitted) == ({"a": second}, {"files": 1})


def test_the_duration_is_the_longest_tracks_by_its_counters_or_its_last_gap() -> None:
    made = Ledger()
    assert made.duration_s() == 0
    made.add_counters({"inbound": TrackCounters(8000, length=4000), "outbound": TrackCounters(16000, length=24_000)})
    assert made.duration_s() == 1.5
    made.add_gap(gap(0, 96_000, rate=48_000))
    assert made.duration_s() == 2
    made.add_counters({})
    assert (made.counters, made.duration_s()) == ({}, 2)
