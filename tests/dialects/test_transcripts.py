"""Every message that the vendors print, read in the order of their pages, gives what is written beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from receiver.dialects import messages, open_dialect

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.jsonl"))


def rows(transcript: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in transcript.read_text().splitlines()]


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("auto", [False, True], ids=["named", "auto"])
def test_published_messages_mean_what_is_written_beside_them(transcript: Path, auto: bool) -> None:
    dialect = open_dialect("auto" if auto else transcript.stem)
    for row in rows(transcript):
        expected = msgspec.convert(row["fields"], getattr(messages, row["expected"]))
        assert dialect.parse(json.dumps(row["message"])) == expected, row["source"]
    assert dialect.name == transcript.stem


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda path: path.stem)
def test_each_kind_of_message_that_a_vendor_sends_is_in_its_transcript(transcript: Path) -> None:
    assert {row["expected"] for row in rows(transcript)} == {"Connected", "Start", "Media", "Dtmf", "Mark", "Stop"}


def test_there_are_transcripts_of_both_vendors() -> None:
    assert [path.stem for path in TRANSCRIPTS] == ["signalwire", "twilio"]
