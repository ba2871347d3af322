from __future__ import annotations

from receiver.sinks.failure import LENGTH, describe_failure, failure_text


def test_a_failure_is_one_line_with_its_place() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        said = describe_failure(error)
    assert said["error"] == "ValueError: two lines"
    assert "test_failure.py:" in said["at"]


def test_a_failure_without_text_or_place_is_its_type() -> None:
    assert describe_failure(KeyError()) == {"error": "KeyError"}


def test_a_long_text_is_cut() -> None:
    assert len(failure_text(ValueError("x" * 1000))) == LENGTH
