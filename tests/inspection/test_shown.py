from __future__ import annotations

import pytest

from receiver.inspection.shown import LIMIT, shown


def test_what_moves_a_cursor_or_hides_is_written_out() -> None:
    assert shown("a\x1b[31m\r\n\tb\x00") == "a\\x1b[31m\\r\\n\\tb\\x00"
    assert shown("\u202eevil\u200b") == "\\u202eevil\\u200b"
    assert shown("\ud800") == "\\ud800"


def test_letters_of_all_languages_stay_where_they_can_be_printed() -> None:
    assert shown("Grüße 你好") == "Grüße 你好"
    assert shown("Grüße 你", "ascii") == "Gr\\xfc\\xdfe \\u4f60"
    assert shown("ü", "no-such-encoding") == "\\xfc"


@pytest.mark.parametrize(("value", "text"), [({"a": ["ü", 1]}, '{"a": ["ü", 1]}'), (None, "null"), (1.5, "1.5")])
def test_other_values_are_json(value: object, text: str) -> None:
    assert shown(value) == text


def test_long_text_is_cut() -> None:
    assert shown("x" * 1000) == "x" * LIMIT + "..."
    assert shown("abcdef", limit=3) == "abc..."
