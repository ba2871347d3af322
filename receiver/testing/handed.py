"""Sinks handed over as objects: ``use`` is text in a configuration, so each has a name in this module for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

_handed: dict[str, Any] = {}
_numbers = count(1)


@contextmanager
def handing() -> Iterator[Callable[[Any], str]]:
    """Give a function that takes an object and returns the ``use`` that finds it; after the context nothing does."""
    names: list[str] = []

    def hand(given: Any) -> str:
        name = f"handed_{next(_numbers)}"
        _handed[name] = given
        names.append(name)
        return f"{__name__}:{name}"

    try:
        yield hand
    finally:
        for name in names:
            del _handed[name]


def __getattr__(name: str) -> Any:
    if name in _handed:
        return _handed[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
