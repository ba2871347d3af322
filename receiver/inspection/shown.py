"""A peer's text made fit to be shown: nothing in it moves a cursor, hides, or turns the direction of writing."""

from __future__ import annotations

import json
from typing import Any

LIMIT = 200


def shown(value: Any, encoding: str = "utf-8", limit: int = LIMIT) -> str:
    """Any text, or JSON value, in one line of printable characters that ``encoding`` has, cut to ``limit``."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    cut = text if len(text) <= limit else text[:limit] + "..."
    visible = "".join(one if one.isprintable() else _escaped(one) for one in cut)
    try:
        return visible.encode(encoding, "backslashreplace").decode(encoding)
    except (LookupError, UnicodeError):
        return visible.encode("ascii", "backslashreplace").decode()


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
