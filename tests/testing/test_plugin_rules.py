"""Each rule of plugin_rules.py can fail: a sink that breaks it is told so, in words."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from receiver.testing import plugin_rules

BROKEN = Path(__file__).parent / "broken" / "plugins.py"
TEXT = BROKEN.read_text()


@pytest.mark.parametrize("name", re.findall(r"^class (Test\w+)", TEXT, re.MULTILINE))
def test_a_sink_that_breaks_a_rule_is_told(judged: Callable[[str], dict[str, Any]], name: str) -> None:
    expected, said = judged(BROKEN.name)[name]
    assert expected in said and "The rule: " in said and "docs/writing-a-sink.md" in said


def test_every_rule_is_broken_by_one_of_them() -> None:
    rules = set(re.findall(r"def (test_\w+)", Path(plugin_rules.__file__).read_text()))
    assert set(re.findall(r'breaks = "(\w+)"', TEXT)) == rules
