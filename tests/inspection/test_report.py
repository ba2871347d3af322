from __future__ import annotations

from pathlib import Path

import msgspec

from receiver.events import Cause, Digit, Discontinuity, Gap, Marked, TrackCounters
from receiver.inspection import distribution, envelope, listing, report, series
from receiver.inspection.report import (
    DigitFigures,
    GapFigures,
    JumpFigures,
    MarkFigures,
    digit_figures,
    gap_figures,
    gaps_s,
    jump_figures,
    mark_figures,
    seconds,
)


def test_every_field_is_in_the_documentation() -> None:
    """Of the structures that are ours alone; the others are those of stream.json."""
    text = (Path(__file__).parents[2] / "docs" / "inspect.md").read_text()
    ours = [
        value
        for module in (report, distribution, envelope, series, listing)
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, msgspec.Struct)
        if value.__module__.startswith("receiver.inspection") and not name.startswith("_")
    ]
    assert len(ours) > 20
    for struct in ours:
        for field in msgspec.structs.fields(struct):
            assert f"`{field.name}`" in text, f"{struct.__name__}.{field.name}"


def test_positions_are_seconds_at_their_own_rate() -> None:
    assert seconds(1, 48_000) == 0.000021
    assert gap_figures(Gap("a", 8000, 12_000, 8000, Cause.UNSENT)) == GapFigures(1.0, 1.5, Cause.UNSENT)
    assert digit_figures(Digit("#", 24_000, 48_000, 90, "inbound")) == DigitFigures(0.5, "#", 90, "inbound")
    assert mark_figures(Marked("m", 4000, 8000)) == MarkFigures(0.5, "m")
    assert jump_figures(Discontinuity("a", 800, 8000, None, 7)) == JumpFigures(0.1, None, 7)


def test_gaps_are_summed_as_counted_for_a_list_may_be_too_short() -> None:
    listed = [GapFigures(0.0, 0.1, Cause.LOST), GapFigures(0.2, 0.3, Cause.UNSENT), GapFigures(1.0, 1.2, Cause.LOST)]
    assert gaps_s(None, listed) == {"lost": 0.3, "unsent": 0.1}
    assert gaps_s(TrackCounters(8000, gaps={"lost": 80_000}), listed) == {"lost": 10.0}
    assert gaps_s(None, []) == {}
