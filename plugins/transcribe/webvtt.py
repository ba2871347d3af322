"""WebVTT: the lines of a transcript as the captions of a recording, with a voice for each track.

https://www.w3.org/TR/webvtt1/
"""

from __future__ import annotations

import html
from collections.abc import Iterable

from .line import Line, sayable


def webvtt(lines: Iterable[Line]) -> str:
    """The whole file; a cue for each line with text, in the order of their time."""
    cues = [_cue(line) for line in in_order(lines) if line.text]
    return "\n".join(["WEBVTT\n", *cues])


def in_order(lines: Iterable[Line]) -> list[Line]:
    """Lines of all tracks, by when they begin."""
    return sorted(lines, key=lambda line: (line.start / line.rate, line.end / line.rate, line.track))


def _cue(line: Line) -> str:
    start = line.start * 1000 // line.rate
    end = max(-(-line.end * 1000 // line.rate), start + 1)  # a cue ends behind its start
    return f"{_time(start)} --> {_time(end)}\n<v {_escape(line.track)}>{_escape(line.text)}\n"


def _time(ms: int) -> str:
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"


def _escape(text: str) -> str:
    """On one line, and without what would be a tag, an entity or an arrow."""
    return html.escape(sayable(text), quote=False)
