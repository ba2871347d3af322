"""``stream.json``: what it tells, by its schema."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import jsonschema

from receiver.events import (
    Annotation,
    Digit,
    Ended,
    EndReason,
    Marked,
)
from receiver.recordings import Recording


def test_the_schema_is_a_schema(lab: Any) -> None:
    jsonschema.Draft202012Validator.check_schema(lab.SCHEMA)


def test_a_stream_that_only_started_and_stopped(lab: Any, tmp_path: Path) -> None:
    recording = lab.make(tmp_path)
    assert recording.directory == tmp_path / "2026-11-21" / "0199-ours"
    content = lab.end(recording)
    recording.close()
    assert os.listdir(recording.directory) == ["stream.json"]
    assert content["started"] == "2026-11-21T08:00:00.123Z"
    assert content["ended"] == "2026-11-21T08:00:02.123Z"
    assert content["duration_s"] == 2.0
    assert content["end"] == {"reason": "stop", "stop_received": True, "error": None, "close_code": None}
    assert content["parameters"] == {"who": "Ann", "list": [1, None]}
    assert content["format"] == {"encoding": "PCMU", "rate": 8000, "channels": 1}
    assert content["tracks"]["inbound"]["counters"]["gaps"] == {"lost": 1000}
    assert content["tracks"]["outbound"] == {"counters": None, "gaps": []}
    assert content["ignored"] == {"unknown": 2}
    assert content["version"] == 1
    assert content["callbacks"] == []


def test_a_file_is_listed_with_its_size_and_checksum(lab: Any, tmp_path: Path) -> None:
    recording = lab.make(tmp_path)
    inner = recording.directory / "inner"
    inner.mkdir()
    (inner / "a.txt").write_bytes(b"abc")
    recording.add_file(inner / "a.txt", "text", "text/plain", "mine")
    recording.add_file(recording.directory / "gone.txt", "text", "text/plain", "mine")
    found, gone = lab.end(recording)["files"]
    recording.close()
    assert found == {
        "path": "inner/a.txt",
        "kind": "text",
        "media_type": "text/plain",
        "sink": "mine",
        "bytes": 3,
        "sha256": hashlib.sha256(b"abc").hexdigest(),
    }
    assert (gone["bytes"], gone["sha256"]) == (None, None)


def test_what_a_peer_says_is_escaped_and_nothing_it_says_breaks_the_file(lab: Any, tmp_path: Path) -> None:
    nested: Any = []
    for _ in range(100_000):
        nested = [nested]
    hostile = '"}\n\r\x00\x1b[2J{date}%s\u202e\ud800'
    recording = lab.make(tmp_path, call_id=hostile, parameters={hostile: [hostile, 1e400], "x": {"y": hostile}})
    recording.note([Digit(hostile, 0, 8000), Marked(hostile, 0, 8000)])
    recording.annotate(Annotation("x", None, 0, 1, 8000, {"a": [hostile]}))
    lines = lab.journal(recording)
    content = lab.end(recording, Ended(EndReason.ERROR, False, {}, error=hostile, close_code=1007))
    recording.close()
    assert len(lines) == 4
    cleaned = hostile.replace("\ud800", "?")
    assert content["call_id"] == content["digits"][0]["digit"] == content["marks"][0]["name"] == cleaned
    assert content["parameters"] == {cleaned: [cleaned, None], "x": {"y": cleaned}}
    assert content["annotations"][0]["data"] == {"a": [cleaned]}
    assert content["end"]["error"] == cleaned
    deep = Recording.create(tmp_path, "deep", lab.facts(parameters={"x": nested}))
    assert lab.end(deep)["parameters"] == {"_left_out": "the parameters cannot be written as JSON"}
    deep.close()


def test_what_is_deeply_nested_does_not_make_the_file_much_longer_than_it_is(lab: Any, tmp_path: Path) -> None:
    nested: Any = 1
    for _ in range(500):
        nested = [nested]
    recording = lab.make(tmp_path, parameters={f"p{number}": nested for number in range(50)})
    for _ in range(50):
        recording.annotate(Annotation("x", None, 0, 1, 8000, nested))
    content = lab.end(recording)
    recording.close()
    assert content["parameters"]["p49"] == content["annotations"][49]["data"] == nested
    size = (recording.directory / "stream.json").stat().st_size
    assert size < 2 * 100 * len(json.dumps(nested))


def test_a_line_is_a_field_or_an_entry_of_one(lab: Any, tmp_path: Path) -> None:
    recording = lab.make(tmp_path)
    recording.note([Digit("1", 0, 8000), Digit("2", 80, 8000)])
    lab.end(recording)
    recording.close()
    lines = (recording.directory / "stream.json").read_text().splitlines()
    assert lines[:3] == ["{", '  "version": 1,', '  "id": "0199-ours",']
    assert '    "who": "Ann",' in lines and '  "marks": [],' in lines
    assert '    {"digit":"2","position":80,"rate":8000,"duration_ms":null,"track":null}' in lines
    assert lines[-1] == "}"
