"""Tags: what a file says of the call it is of, once it has left the folder."""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any

from receiver.sinks import Stream

from .segment import place

MAX_TEXT = 200
"""Characters of a title or an album; more is no id."""

MAX_COMMENT = 8192
"""Characters of the comment. Players load it whole, and parameters may have 64 KiB; ``stream.json`` has them all."""


def tags(stream: Stream, title: str, rate: int) -> dict[str, str]:
    """The fields of a file by the names that soundfile has for them: ``title`` is the file's own, e.g. ``inbound``.

    ``album`` is the call, ``date`` the stream's start (RFC 3339, UTC), and ``comment`` all of it as one JSON object,
    with ``begins_s``, seconds after that start, where the file does not begin with it. Everything is ASCII: what is
    more is escaped as in JSON, since an MP3 tag, as libsndfile writes it, knows Latin-1 alone.
    """
    begins = place(title)
    started = stream.facts.started.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "title": _plain(title),
        "album": _plain(stream.call_id or stream.facts.stream_id),
        "date": started,
        "comment": _comment(
            {
                "call_id": stream.call_id,
                "stream_id": stream.id,
                "peer_stream_id": stream.facts.stream_id,
                "source": stream.facts.source,
                "started": started,
                **({"begins_s": round(begins / rate, 6)} if begins else {}),
                "parameters": stream.parameters,
            }
        ),
    }


def _comment(facts: dict[str, Any]) -> str:
    """The facts as JSON. Where that is too long, ``parameters`` is null, and then the platform's ids are as well."""
    for left_out in ((), ("parameters",)):
        text = json.dumps(facts | dict.fromkeys(left_out), separators=(",", ":"), default=dict)
        if len(text) <= MAX_COMMENT:
            return text
    return json.dumps(facts | dict.fromkeys(("parameters", "call_id", "peer_stream_id")), separators=(",", ":"))


def _plain(text: str) -> str:
    """Printable ASCII, on one line, of a bearable length, and not empty."""
    escaped = json.dumps(text[:MAX_TEXT])[1:-1].replace("\x7f", "\\u007f").replace('\\"', '"').replace("\\\\", "\\")
    return escaped[:MAX_TEXT] or "-"
