from __future__ import annotations

from pathlib import Path
from types import ModuleType

import msgspec

from receiver.captures.capture import Pause
from receiver.inspection.facts import facts, warnings
from receiver.recordings import SinkEntry


def test_whose_stream_it_is_and_how_it_ended(lab: ModuleType, tmp_path: Path) -> None:
    said = dict(facts(lab.report(lab.whole(tmp_path))))
    assert said["state"] == "ended" and said["duration"] == "1.00 s"
    assert said["format"] == "L16 8000 Hz, 1 channel" and said["tracks"] == "inbound, outbound"
    assert said["stream"] == "theirs (the peer's), 0199-ours (ours)"
    assert (said["call"], said["account"], said["peer"]) == ("call-1", "account-1", "192.0.2.1, token main")
    assert said["  from"] == "+15550100" and said["  user-agent"] == "platform/1"
    assert said["end"] == "stop, with a stop message, code 1000, done"
    assert said["accepted"] == "2026-11-21T10:20:07Z, path /phone"
    assert said["messages"].endswith("1 connected, 1 start, 88 media, 1 dtmf, 1 unreadable, 1 mark, 1 stop")
    assert said["ignored"] == "1 unreadable"


def test_sinks_and_files_of_a_recording(lab: ModuleType, tmp_path: Path) -> None:
    recording = lab.recorded(tmp_path)
    recording.add_file(recording.directory / "a.bin", "data", "application/x", "mine")
    sinks = {"wav": SinkEntry("failed", "disk full", {"inbound": 1.5}, 2), "web": SinkEntry("ok", None, {}, 0)}
    said = facts(lab.report(lab.finish(recording, sinks=sinks, stop_received=False)))
    assert [value for name, value in said if name == "sink"] == [
        "wav: failed, disk full, dropped 1.5 s of inbound, dropped 2 events",
        "web: ok",
    ]
    assert dict(said)["file"] == "a.bin, size unknown, of mine"
    assert dict(said)["end"] == "stop, without a stop message"
    assert dict(said)["  tenant"] == "a (in the path)"


def test_what_cannot_be_told_is_said(lab: ModuleType, tmp_path: Path) -> None:
    entries = [*lab.opening(), Pause(0.0, None), (0.02, 600), Pause(0.5, ("inbound",)), *((0.6, "{"),) * 30]
    found = lab.report(lab.capture(tmp_path / "a.jsonl", entries, resolution_ms=60))
    found.omitted = {"gaps": 3}
    assert warnings(found) == [
        "Messages were read every 60 ms: they arrived up to that much earlier than the times here say, and spacing and "
        "jitter below that cannot be told.",
        "Withheld: 1 messages, 600 bytes, of which only the size was kept.",
        "  from 0.00 s on: all",
        "  from 0.50 s on: inbound",
        "30 messages could not be used; the first 20 are listed.",
        "More than is kept here, and left out: 3 gaps",
    ]


def test_a_capture_without_a_stream(lab: ModuleType, tmp_path: Path) -> None:
    said = dict(facts(lab.report(lab.capture(tmp_path / "a.jsonl", [], accepted=None, path=""))))
    assert said["stream"] == "none: there is no start message that could be used"
    assert said["state"].startswith("cut off") and said["accepted"] == "at an unknown time, path unknown"
    assert said["capture"].endswith("0.00 s; the start message none came")
    assert said["messages"] == "0, 0 bytes: none"


def test_the_place_of_damage_comes_first(lab: ModuleType, tmp_path: Path) -> None:
    path = lab.capture(tmp_path / "a.jsonl", lab.opening(), resolution_ms=60)
    path.write_bytes(path.read_bytes() + b"rubbish\n")
    assert warnings(lab.report(path))[0].startswith(f"It could not be read any further: {path}, line 4: ")


def test_every_state_has_its_words(lab: ModuleType, tmp_path: Path) -> None:
    found = lab.report(lab.whole(tmp_path))
    for state, words in (("live", "live: "), ("crashed", "crashed, "), ("cut", "cut off: ")):
        assert dict(facts(msgspec.structs.replace(found, state=state)))["state"].startswith(words)
