"""What a report says in a line each: whose stream it is, how long, how it ended, and what to take care of."""

from __future__ import annotations

import json
from datetime import datetime

from receiver.inspection.report import Report

MAX_PAUSES = 10

STATES = {
    "ended": "ended",
    "live": "live: what follows is what there is so far",
    "cut": "cut off: the capture has no last line, as after a crash",
    "crashed": "crashed, and not recovered yet: the next start of the receiver does that",
}


def facts(report: Report) -> list[tuple[str, str]]:
    """Names and values, in the order to show them; values may hold a peer's text."""
    lines = [("state", STATES[report.state])]
    stream, capture, end, messages = report.stream, report.capture, report.end, report.messages
    if stream:
        sound, tracks = stream.format, ", ".join(stream.announced_tracks)
        lines += [
            ("duration", f"{report.duration_s:.2f} s"),
            ("format", f"{sound.encoding} {sound.rate} Hz, {sound.channels} channel{'s' * (sound.channels > 1)}"),
            ("tracks", tracks or "none announced"),
            ("source", f"{stream.source}, dialect {stream.dialect}"),
            ("stream", f"{stream.stream_id} (the peer's), {stream.id or 'none'} (ours)"),
            ("call", str(stream.call_id)),
            ("account", str(stream.account_id)),
        ]
        lines += [(f"  {name}", _text(value)) for name, value in stream.parameters.items()]
        lines += [(f"  {name}", f"{value} (in the path)") for name, value in stream.path_parameters.items()]
        lines.append(("peer", f"{stream.peer_address or 'unknown'}, token {stream.token or 'none'}"))
        if stream.started:
            lines.append(("started", stream.started))
    else:
        lines.append(("stream", "none: there is no start message that could be used"))
    if end:
        stop = "with" if end.stop_received else "without"
        code = f", code {end.close_code}" if end.close_code is not None else ""
        said = "".join(f", {text}" for text in (end.error, end.text) if text and text != end.reason)
        lines.append(("end", f"{end.reason}, {stop} a stop message{code}{said}"))
    if capture:
        accepted = _utc(capture.accepted) if capture.accepted else "at an unknown time"
        lines.append(("accepted", f"{accepted}, path {capture.url_path or 'unknown'}"))
        lines += [(f"  {name}", value) for name, value in capture.headers]
        start = "none came" if capture.start_s is None else f"came after {capture.start_s:.3f} s"
        lines.append(("capture", f"{capture.file_bytes} bytes, {capture.length_s:.2f} s; the start message {start}"))
    if messages:
        kinds = ", ".join(f"{count} {kind}" for kind, count in messages.kinds.items())
        lines.append(("messages", f"{messages.messages}, {messages.bytes} bytes: {kinds or 'none'}"))
    if report.ignored:
        lines.append(("ignored", ", ".join(f"{count} {kind}" for kind, count in report.ignored.items())))
    lines += [
        ("file", f"{f.path}, {'size unknown' if f.bytes is None else f'{f.bytes} bytes'}, of {f.sink}")
        for f in report.files
    ]
    for name, sink in report.sinks.items():
        dropped = "".join(f", dropped {length} s of {track}" for track, length in sink.dropped_s.items())
        events = f", dropped {sink.events_dropped} events" if sink.events_dropped else ""
        lines.append(("sink", f"{name}: {sink.status}{f', {sink.error}' if sink.error else ''}{dropped}{events}"))
    return lines


def warnings(report: Report) -> list[str]:
    """What somebody who reads the figures has to know of them."""
    lines = []
    capture, messages = report.capture, report.messages
    if capture and capture.problem:
        lines.append(f"It could not be read any further: {capture.problem}")
    if capture and capture.resolution_ms:
        lines.append(
            f"Messages were read every {capture.resolution_ms} ms: they arrived up to that much earlier than the times "
            "here say, and spacing and jitter below that cannot be told."
        )
    if messages and messages.withheld:
        lines.append(
            f"Withheld: {messages.withheld} messages, {messages.withheld_bytes} bytes, of which only the size was kept."
        )
        lines += [
            f"  from {pause.at_s:.2f} s on: {'all' if pause.tracks is None else ', '.join(pause.tracks) or 'nothing'}"
            for pause in messages.pauses[:MAX_PAUSES]
        ]
    if messages and messages.unreadable > len(messages.first_unreadable):
        lines.append(
            f"{messages.unreadable} messages could not be used; the first {len(messages.first_unreadable)} are listed."
        )
    if report.omitted:
        said = ", ".join(f"{count} {kind}" for kind, count in report.omitted.items())
        lines.append(f"More than is kept here, and left out: {said}")
    return lines


def _utc(time: datetime) -> str:
    """As other times in a report: with a Z."""
    return time.isoformat().replace("+00:00", "Z")


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
