"""What a capture is expected to become, in a form that a person can check. Writes it beside the capture:

    python tests/captures/expect.py tests/captures/fixtures/NAME.jsonl

Audio is told by where it lies and the SHA-256 of its samples (16 bit, little-endian); OPUS by where it lies alone, as
decoders differ by a sample's last bit.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from receiver.audio import Encoding
from receiver.captures.capture import CaptureError
from receiver.captures.playback import Playback
from receiver.captures.reader import CaptureReader
from receiver.events import Digit, Discontinuity, Ended, Event, Frame, Gap, Marked, Started


def expectation_of(capture: Path) -> Path:
    """Where the expectation of a capture is."""
    return capture.with_name(capture.name.removesuffix(".gz").removesuffix(".jsonl") + ".expected.json")


def become(capture: Path) -> dict[str, Any]:
    """What a capture becomes."""
    told: dict[str, Any] = {}
    events: list[Event] = []
    with CaptureReader(capture) as reader:
        playback = Playback(reader)
        try:
            for some in playback:
                events += some
        except CaptureError as error:
            told["problem"] = str(error).partition(", ")[2].partition(":")[0]  # the line, not the words
    if playback.session.error is not None and not events:
        told["refused"] = str(playback.session.error)
    plain: dict[str, Any] = json.loads(json.dumps(told | summary(events)))
    return plain


def summary(events: Iterable[Event]) -> dict[str, Any]:
    """Events in a form in which it does not matter where frames were cut."""
    told: dict[str, Any] = {"started": None, "tracks": {}, "digits": [], "marks": [], "discontinuities": []}
    exact = True
    audio: dict[str, list[list[Any]]] = {}
    for event in events:
        match event:
            case Started():
                exact = event.format.encoding is not Encoding.OPUS
                told["started"] = msgspec.to_builtins(event)
            case Frame():
                spans = audio.setdefault(event.track, [])
                if not spans or len(spans[-1]) == 3:
                    spans.append([event.start, event.start, "audio", hashlib.sha256()])
                assert spans[-1][1] == event.start
                spans[-1][1] = event.end
                spans[-1][3].update(event.samples.astype("<i2").tobytes())
            case Gap():
                spans = audio.setdefault(event.track, [])
                if spans and spans[-1][2] == event.cause:
                    assert spans[-1][1] == event.start
                    spans[-1][1] = event.end
                else:
                    spans.append([event.start, event.end, event.cause.value])
            case Digit():
                told["digits"].append([event.digit, event.position, event.duration_ms, event.track])
            case Marked():
                told["marks"].append([event.name, event.position])
            case Discontinuity():
                told["discontinuities"].append([event.track, event.position, event.peer_ms_before, event.peer_ms_after])
            case Ended():
                told["ended"] = _ended(event)
    for track, spans in audio.items():
        told["tracks"][track] = [span if len(span) == 3 else _audio(span, exact) for span in spans]
    return told


def _audio(span: list[Any], exact: bool) -> list[Any]:
    return [*span[:3], span[3].hexdigest()] if exact else span[:3]


def _ended(ended: Ended) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(ended)
    told["tracks"] = {
        name: {key: value for key, value in counters.items() if value} for name, counters in told["tracks"].items()
    }
    return told


def to_text(value: Any, indent: str = "") -> str:
    """JSON with a line per entry as long as it fits, so that a change shows in a diff."""
    short = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(short) <= 118 or not isinstance(value, dict | list) or not value:
        return short
    deeper = indent + "  "
    if isinstance(value, dict):
        lines = [f"{deeper}{json.dumps(key)}: {to_text(item, deeper)}" for key, item in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    return "[\n" + ",\n".join(deeper + to_text(item, deeper) for item in value) + f"\n{indent}]"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = expectation_of(Path(name))
        path.write_text(to_text(become(Path(name))) + "\n", encoding="utf-8")
        sys.stdout.write(f"{path} is written: check it\n")
