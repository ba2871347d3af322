from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from receiver.problems import config_error
from receiver.table import Count, FilePath, Positive, Seconds, Table, Texts


class Shelf(Table):
    """With one of each."""

    books: Count = 1
    depth: Positive = 1
    lent_s: Seconds = 0
    plan: FilePath = Path("plan")
    names: Texts = ()


def test_text_is_a_path_and_a_list_is_many_texts() -> None:
    shelf = Shelf.model_validate({"plan": "a/b", "names": ["x", "y"], "depth": 2})
    assert (shelf.plan, shelf.names, shelf.depth) == (Path("a/b"), ("x", "y"), 2.0)


@pytest.mark.parametrize(
    ("table", "key", "problem"),
    [
        ({"book": 1}, "book", "is not a key here; the keys are books, depth, lent_s, names, plan"),
        ({"books": 0}, "books", "must be at least 1"),
        ({"books": "1"}, "books", "must be a whole number, not text"),
        ({"depth": 0}, "depth", "must be greater than 0"),
        ({"lent_s": -1}, "lent_s", "must be at least 0"),
        ({"lent_s": float("inf")}, "lent_s", "must be a finite number"),
        ({"plan": 1}, "plan", "must be a path, as text, not a whole number"),
        ({"names": "x"}, "names", "must be a list, not text"),
    ],
)
def test_nothing_is_coerced_and_no_key_is_unknown(table: dict[str, object], key: str, problem: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Shelf.model_validate(table)
    error = config_error(caught.value)
    assert error.key == key and error.problem.startswith(problem)


def test_a_table_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Shelf().books = 2
