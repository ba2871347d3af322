"""Which streams something is for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from receiver.audio import AudioFormat, Encoding
from receiver.selection import selects
from receiver.stream import StreamFacts


def facts(source: str = "default", **parameters: Any) -> StreamFacts:
    return StreamFacts(
        id="ours",
        source=source,
        dialect="signalwire",
        stream_id="theirs",
        call_id=None,
        account_id=None,
        tracks=("inbound",),
        format=AudioFormat(Encoding.PCMU, 8000),
        parameters=parameters,
        path_parameters={},
        peer_address="192.0.2.1",
        token=None,
        started=datetime(2026, 11, 21, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("sources", "chosen"), [(None, True), (("default",), True), (("a", "default"), True), (("a",), False), ((), False)]
)
def test_sources_choose(sources: tuple[str, ...] | None, chosen: bool) -> None:
    assert selects(sources, {}, facts()) is chosen


@pytest.mark.parametrize(
    ("when", "said", "chosen"),
    [
        ({}, {}, True),
        ({"consent": "yes"}, {"consent": "yes", "other": 1}, True),
        ({"consent": "yes"}, {"consent": "no"}, False),
        ({"consent": "yes"}, {}, False),
        ({"consent": "yes", "line": 2}, {"consent": "yes"}, False),
        ({"line": 2}, {"line": 2}, True),
        ({"line": 2}, {"line": "2"}, True),
        ({"line": "2"}, {"line": 2}, True),
        ({"line": 2}, {"line": 2.5}, False),
        ({"test": True}, {"test": True}, True),
        ({"test": True}, {"test": "true"}, True),
        ({"test": True}, {"test": 1}, False),
        ({"test": False}, {"test": None}, False),
        ({"a": '{"b": 1, "c": 2}'}, {"a": {"c": 2, "b": 1}}, True),
    ],
)
def test_parameters_choose_and_are_compared_as_text(when: dict[str, Any], said: dict[str, Any], chosen: bool) -> None:
    assert selects(None, when, facts(**said)) is chosen


def test_both_have_to_fit() -> None:
    assert not selects(("other",), {"consent": "yes"}, facts(consent="yes"))
