"""What is missing is said once, span by span, however it comes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from receiver_plugins.wav.figures import Figures
from receiver_plugins.wav.losses import MAX_SPANS, Losses, NotRecorded, cause_of

from receiver import files

FULL = "No space left on device"


def begun(studio: Any, folder: Path) -> tuple[Losses, Figures, list[Any]]:
    stream, owner = studio.stream_in(folder)
    figures = Figures()
    return Losses(stream, figures), figures, owner.annotations


def said(annotations: list[Any]) -> list[tuple[str, int, int, Any]]:
    assert all((one.kind, one.rate) == ("not_recorded", 8000) for one in annotations)
    return [(one.track, one.start, one.end, one.data) for one in annotations]


def test_spans_that_touch_are_one_which_is_said_when_it_is_over(studio: Any, tmp_path: Path) -> None:
    losses, figures, annotations = begun(studio, tmp_path)
    losses.settle("inbound")
    losses.add("inbound", 100, 200, 8000, FULL)
    losses.add("outbound", 100, 150, 8000, FULL)
    losses.add("inbound", 200, 300, 8000, FULL)
    losses.found("inbound", 40, 100, 8000, FULL)  # what was queued before that
    assert (annotations, figures.failing) == ([], 2)
    losses.settle("inbound")
    assert (said(annotations), figures.failing) == ([("inbound", 40, 300, {"cause": FULL})], 1)
    losses.settle("inbound")
    losses.close()
    assert said(annotations)[1:] == [("outbound", 100, 150, {"cause": FULL})]
    assert (figures.failing, figures.not_recorded_s) == (0, 310 / 8000)
    problem = losses.error()
    assert isinstance(problem, NotRecorded)
    assert str(problem) == f"not recorded: 0.033 s of inbound, 0.006 s of outbound ({FULL})"


def test_what_does_not_touch_or_has_another_cause_is_said_apart(studio: Any, tmp_path: Path) -> None:
    losses, figures, annotations = begun(studio, tmp_path)
    losses.add("inbound", 0, 10, 8000, FULL)
    losses.add("inbound", 11, 20, 8000, FULL)
    losses.add("inbound", 20, 30, 8000, cause_of(None))
    losses.close()
    slow = {"cause": "No buffer space available"}
    assert said(annotations) == [
        ("inbound", 0, 10, {"cause": FULL}),
        ("inbound", 11, 20, {"cause": FULL}),
        ("inbound", 20, 30, slow),
    ]
    assert figures.failing == 0


def test_what_turns_out_later_is_said_at_once(studio: Any, tmp_path: Path) -> None:
    losses, figures, annotations = begun(studio, tmp_path)
    losses.found("inbound", 0, 10, 8000, cause_of(files.FileError(28, "full", "a")))
    assert said(annotations) == [("inbound", 0, 10, {"cause": FULL})]
    assert figures.failing == 0


def test_beyond_so_many_spans_one_says_all_the_rest_and_how_much_of_it_is_missing(studio: Any, tmp_path: Path) -> None:
    losses, figures, annotations = begun(studio, tmp_path)
    for number in range(MAX_SPANS + 50):
        losses.add("inbound", 10 * number, 10 * number + 3, 8000, FULL)
        losses.settle("inbound")
    assert len(annotations) == MAX_SPANS and figures.failing == 0
    losses.close()
    last = ("inbound", 10 * MAX_SPANS, 10 * (MAX_SPANS + 49) + 3, {"cause": FULL, "samples": 150})
    assert said(annotations)[MAX_SPANS:] == [last]


def test_a_file_that_fails_and_lacks_nothing_is_no_loss(studio: Any, tmp_path: Path) -> None:
    losses, figures, annotations = begun(studio, tmp_path)
    losses.fail("inbound", 8000, FULL)
    assert figures.failing == 1
    losses.settle("inbound")
    losses.fail("inbound", 8000, FULL)
    losses.found("inbound", 10, 20, 8000, FULL)  # and here it does, and so does what follows
    losses.add("inbound", 20, 30, 8000, FULL)
    losses.close()
    assert (said(annotations), figures.failing) == ([("inbound", 10, 30, {"cause": FULL})], 0)
    losses = Losses(studio.stream_in(tmp_path)[0], figures)
    losses.fail("inbound", 8000, FULL)
    losses.close()
    assert losses.error() is None


def test_nothing_lost_is_nothing_to_say(studio: Any, tmp_path: Path) -> None:
    losses, figures, annotations = begun(studio, tmp_path)
    losses.close()
    assert (losses.error(), annotations, figures.not_recorded_s) == (None, [], 0)


def test_a_sink_that_was_left_behind_says_it_to_nobody(studio: Any, tmp_path: Path) -> None:
    stream, owner = studio.stream_in(tmp_path)
    stream._closed = lambda: True
    losses = Losses(stream, Figures())
    losses.add("inbound", 0, 10, 8000, FULL)
    losses.close()
    assert owner.annotations == []
