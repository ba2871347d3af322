"""Positions that no length makes wrong, and text that any file and terminal can take."""

from __future__ import annotations

from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from receiver_plugins.transcribe.engine import RATE, Word
from receiver_plugins.transcribe.line import Line, at_rate, line, sayable


@given(st.integers(0, RATE * 86_400 * 365), st.sampled_from([8000, 11_025, 16_000, 24_000, 44_100, 48_000]))
def test_a_position_is_the_nearest_of_the_tracks_own(position: int, rate: int) -> None:
    exact = Fraction(position * rate, RATE)
    assert -Fraction(1, 2) < at_rate(position, rate) - exact <= Fraction(1, 2)


def test_a_line_is_placed_at_the_rate_of_the_track() -> None:
    words = (Word("well", 16_000, 16_001, 0.25), Word("then", 24_000, 32_000, None))
    made = line("inbound", 8000, (16_000, 32_000), utterance=3, text="well then", words=words)
    assert (made.start, made.end, made.rate, made.start_s, made.end_s) == (8000, 16_000, 8000, 1.0, 2.0)
    assert made.data() == {
        "text": "well then",
        "final": True,
        "utterance": 3,
        "start_s": 1.0,
        "end_s": 2.0,
        "words": (
            {"text": "well", "start": 8000, "end": 8001, "confidence": 0.25},
            {"text": "then", "start": 12_000, "end": 16_000, "confidence": None},
        ),
    }


def test_a_span_that_is_not_transcribed_says_why() -> None:
    made = line("inbound", 8000, (0, 800), utterance=1, error="it died")
    assert made.data()["error"] == "it died" and made.data()["text"] == ""
    assert msgspec.json.decode(msgspec.json.encode(made), type=Line) == made


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("  as it\tis ", "as it is"),
        ("two\nlines\r\n\r\nand\u2028more", "two lines and more"),
        ("\x1b[31mred\x00\x07", "[31mred"),
        ("half \ud83d a letter", "half ? a letter"),
        ("größer → 漢字", "größer → 漢字"),
        ("", ""),
    ],
)
def test_text_is_one_line_of_what_can_be_written(text: str, said: str) -> None:
    assert sayable(text) == said
    assert line("inbound", 8000, (0, 1), utterance=1, text=text, words=(Word(text, 0, 1, None),)).words[0].text == said
