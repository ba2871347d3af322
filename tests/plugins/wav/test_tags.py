"""Tags: what they say of a call, whatever a peer has sent. That readers find them is tested with the encoder."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from receiver_plugins.wav.tags import MAX_COMMENT, MAX_TEXT, tags


def test_they_say_which_call_it_was_and_when_and_what_it_was_given(studio: Any, tmp_path: Path) -> None:
    started = datetime(2026, 11, 21, 16, 5, 6, 789_123, tzinfo=timezone(timedelta(hours=2)))
    stream, _ = studio.stream_in(
        tmp_path, call_id="CA17", parameters={"to": "+15550100", "n": [1, None]}, started=started
    )
    said = tags(stream, "inbound", 8000)
    assert (said["title"], said["album"], said["date"]) == ("inbound", "CA17", "2026-11-21T14:05:06.789Z")
    assert json.loads(said["comment"]) == {
        "call_id": "CA17",
        "stream_id": "0199-ours",
        "peer_stream_id": "theirs",
        "source": "default",
        "started": "2026-11-21T14:05:06.789Z",
        "parameters": {"to": "+15550100", "n": [1, None]},
    }


def test_a_segment_says_where_it_begins(studio: Any, tmp_path: Path) -> None:
    said = tags(studio.stream_in(tmp_path)[0], "inbound@28804001", 8000)
    assert (said["title"], said["date"]) == ("inbound@28804001", "2026-11-21T00:00:00.000Z")
    assert json.loads(said["comment"])["begins_s"] == 3600.500125


def test_a_stream_without_a_call_goes_by_its_own_id(studio: Any, tmp_path: Path) -> None:
    assert tags(studio.stream_in(tmp_path, call_id=None)[0], "mixed", 8000)["album"] == "theirs"


def test_whatever_a_peer_sends_becomes_one_line_of_ascii(studio: Any, tmp_path: Path) -> None:
    strange = 'a\0b\nc\x7f\x1b[2J \u202eé\U0001f389\ud800 "q" \\x'
    stream, _ = studio.stream_in(tmp_path, call_id=strange, parameters={strange: strange})
    said = tags(stream, "inbound", 8000)
    for text in said.values():
        assert text.isascii() and text.isprintable()
    assert said["album"].startswith('a\\u0000b\\nc\\u007f\\u001b[2J \\u202e\\u00e9\\ud83c\\udf89\\ud800 "q" \\x')
    assert json.loads(said["comment"])["parameters"] == {strange: strange}


def test_what_is_too_long_is_left_out_and_shows_as_null(studio: Any, tmp_path: Path) -> None:
    stream, _ = studio.stream_in(tmp_path, call_id="c" * 500, parameters={"x": "y" * MAX_COMMENT})
    said = tags(stream, "t" * 500, 8000)
    assert len(said["title"]) == len(said["album"]) == MAX_TEXT
    told = json.loads(said["comment"])
    assert (told["parameters"], told["call_id"], len(said["comment"]) <= MAX_COMMENT) == (None, "c" * 500, True)
    stream, _ = studio.stream_in(tmp_path, call_id="c" * MAX_COMMENT, started=datetime(2026, 1, 1, tzinfo=UTC))
    told = json.loads(tags(stream, "inbound", 8000)["comment"])
    assert (told["call_id"], told["parameters"], told["started"]) == (None, None, "2026-01-01T00:00:00.000Z")


def test_an_empty_title_is_none_that_a_reader_would_miss(studio: Any, tmp_path: Path) -> None:
    assert tags(studio.stream_in(tmp_path)[0], "", 8000)["title"] == "-"
