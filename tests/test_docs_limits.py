"""The page of limits, held against the code."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest
from receiver_plugins.wav import plugin as wav

from receiver.config import Limits, Recordings, SinkConfig

PAGE = (Path(__file__).parents[1] / "docs" / "limits.md").read_text()
ROWS = dict(re.findall(r"^\| `([\w.]+)` \| (\S+) \|", PAGE, re.MULTILINE))
WHOLE_ROWS = [line for line in PAGE.splitlines() if line.startswith("| `")]


def value(name: str) -> float:
    """What the code says."""
    table, _, key = name.rpartition(".")
    if table == "limits":
        return float(getattr(Limits(), key))
    if table == "recordings":
        return float(getattr(Recordings(), key))
    if table == "sinks.NAME":
        return float(getattr(SinkConfig(use="wav"), key))
    if table == "sinks.wav.options":
        return float(inspect.signature(wav).parameters[key].default)
    module = f"receiver_{table}" if table.startswith("plugins.") else f"receiver.{table}"
    return float(getattr(import_module(module), key))


@pytest.mark.parametrize("name", ROWS)
def test_a_limit_is_what_the_page_says(name: str) -> None:
    assert float(ROWS[name]) == value(name)


def test_every_limit_that_can_be_set_is_on_the_page() -> None:
    assert {f"limits.{key}" for key in Limits.model_fields} <= set(ROWS)
    assert {f"sinks.NAME.{key}" for key in ("buffer_s", "threads", "finish_timeout_s")} <= set(ROWS)


def test_every_row_is_whole() -> None:
    assert len(WHOLE_ROWS) == len(ROWS)
    for row in WHOLE_ROWS:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 5 and cells[3], row
