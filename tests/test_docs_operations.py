"""The page for operators, held against the code: a figure, a line or a key that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import receiver
from receiver.config import Config
from receiver.metrics import Metrics

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "operations.md").read_text()
WORDS = sorted(set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL))))
CODE = "\n".join(
    path.read_text() for folder in (Path(receiver.__file__).parent, ROOT / "plugins") for path in folder.rglob("*.py")
)
EVENTS = re.compile(r"(?:finished|journal|recording|sink|stream|sync)_[a-z_]+|recovered")
KEPT_IN_THE_FILE = {"stream.json", "not_recorded", "dropped_s", "finish_timeout_s", "journal.jsonl"}


def words(pattern: str) -> list[str]:
    found = [word for word in WORDS if re.fullmatch(pattern, word) and word not in KEPT_IN_THE_FILE]
    assert found
    return found


@pytest.mark.parametrize("name", words(r"(receiver|process)_[a-z_]+"))
def test_every_figure_is_measured(name: str) -> None:
    metrics = Metrics(sources=["default"], sinks=["wav"])
    metrics.watch_streams_limit(lambda: 1)
    assert re.search(rf"^# TYPE {name} ", metrics.render()[0].decode(), re.MULTILINE)


@pytest.mark.parametrize("event", words(EVENTS.pattern))
def test_every_line_of_the_log_can_be_said(event: str) -> None:
    assert re.search(rf'\.(?:info|warning|error|exception)\(\s*"{event}"', CODE)


@pytest.mark.parametrize("key", words(r"(server|limits|recordings)\.[a-z_]+"))
def test_every_setting_exists(key: str) -> None:
    table, _, name = key.partition(".")
    assert hasattr(getattr(Config(), table), name)


@pytest.mark.parametrize("reason", ["disk", "sinks", "stopping"])
def test_every_reason_for_not_being_ready_is_given(reason: str) -> None:
    assert f'return "{reason}"' in CODE


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)", PAGE):
        assert (ROOT / "docs" / link).exists(), link
    for anchor in re.findall(r"\]\(#([^)]+)\)", PAGE):
        titles = [
            re.sub(r"[^a-z -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^## (.+)$", PAGE, re.M)
        ]
        assert anchor in titles
