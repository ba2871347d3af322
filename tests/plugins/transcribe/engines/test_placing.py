"""What was heard stays within what was fed."""

from __future__ import annotations

from receiver_plugins.transcribe.engine import Heard, Word
from receiver_plugins.transcribe.engines.placing import newest, placed


def test_positions_are_moved_and_kept_within_bounds() -> None:
    heard = Heard("a b", True, -3, 900, (Word("a", -3, 10, 0.5), Word("b", 40, 20, None)))
    assert placed(heard, 100, 600) == Heard(
        "a b", True, 100, 600, (Word("a", 100, 110, 0.5), Word("b", 140, 140, None))
    )


def test_only_the_newest_partial_is_told_and_none_that_a_final_followed() -> None:
    old, final, new = Heard("o", False, 0, 1), Heard("f", True, 0, 2), Heard("n", False, 2, 3)
    assert newest([old, final, old, new]) == [final, new]
    assert newest([old, final]) == [final]
    assert newest([]) == []
