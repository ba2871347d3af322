"""Which streams were received: the folders below the recordings' root, newest first, read only as far as asked for."""

from __future__ import annotations

import heapq
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from receiver.audio import AudioFormat
from receiver.events import TrackCounters
from receiver.inspection.capture import is_locked
from receiver.inspection.report import seconds
from receiver.recordings import journal, stream_json
from receiver.recordings.ledger import SinkEntry
from receiver.recordings.naming import ERASED
from receiver.recordings.stream_json import EndEntry, TrackEntry
from receiver.stream import StreamFacts

TAIL_BYTES = 65_536
"""Of a journal: it says how far the stream is about once a second, and the last time is enough."""

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII)

Problem = Callable[[Path, str], None]


class StreamSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A stream in a line. ``--json`` of ``receiver streams`` is this."""

    id: str
    state: Literal["ended", "live", "crashed"]
    started: datetime
    duration_s: float  # of a live one, about a second ago
    source: str
    call_id: str | None
    stream_id: str
    format: AudioFormat
    tracks: list[str]
    end: str | None  # the reason; null while there is none
    stop_received: bool
    gaps_s: dict[str, float]  # by cause, all tracks together
    sinks: dict[str, str]  # status of those that are not ok
    capture: bool
    folder: str


class _Told(msgspec.Struct, frozen=True):
    """What is wanted of ``stream.json``; the rest of it is passed over."""

    id: str
    started: datetime
    duration_s: float
    source: str
    call_id: str | None
    stream_id: str
    format: AudioFormat
    tracks: dict[str, TrackEntry]
    end: EndEntry
    sinks: dict[str, SinkEntry]


class _FirstLine(msgspec.Struct):
    facts: StreamFacts


class _Progress(msgspec.Struct):
    progress: dict[str, TrackCounters] | None = None


_decode_told = msgspec.json.Decoder(_Told).decode
_decode_first_line = msgspec.json.Decoder(_FirstLine).decode
_decode_progress = msgspec.json.Decoder(_Progress).decode


def streams(root: Path, problem: Problem) -> Iterator[StreamSummary]:
    """Every stream below ``root``, newest first; no symbolic link is followed. Blocks.

    Folders that are named by dates or by our own ids, as they are by default, are read one by one as the caller goes
    on; others have to be read all before the first. What cannot be read is told to ``problem`` and passed over.
    """
    try:
        inside = [entry for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False) and entry.name != ERASED]
        names = [entry.name for entry in os.scandir(root) if not entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        problem(root, error.strerror or str(error))
        return
    if stream_json.NAME in names or journal.NAME in names:
        try:
            yield read(root)
        except (OSError, ValueError) as error:
            problem(root, str(error))
        return
    folders = sorted((entry.name for entry in inside), reverse=True)
    dated = [name for name in folders if _DATE.fullmatch(name)]
    ours = [name for name in folders if _ID.fullmatch(name)]
    others = [name for name in folders if not _DATE.fullmatch(name) and not _ID.fullmatch(name)]
    ways = [_in_order(root, dated, problem), _in_order(root, ours, problem), _sorted(root, others, problem)]
    yield from heapq.merge(*ways, key=lambda summary: summary.started, reverse=True)


def read(directory: Path) -> StreamSummary:
    """One folder. Raises OSError or ValueError, with what is wrong."""
    try:
        text = (directory / stream_json.NAME).read_bytes()
    except FileNotFoundError:
        with suppress(FileNotFoundError):
            return _read_journal(directory)
        text = (directory / stream_json.NAME).read_bytes()  # it has just ended
    try:
        told = _decode_told(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{stream_json.NAME} cannot be read: {error}") from None
    gaps: dict[str, float] = {}
    for entry in told.tracks.values():
        _add_gaps(gaps, entry.counters)
    return StreamSummary(
        id=told.id,
        state="ended",
        started=told.started.astimezone(UTC),
        duration_s=told.duration_s,
        source=told.source,
        call_id=told.call_id,
        stream_id=told.stream_id,
        format=told.format,
        tracks=list(told.tracks),
        end=told.end.reason.value,
        stop_received=told.end.stop_received,
        gaps_s=gaps,
        sinks={name: sink.status for name, sink in told.sinks.items() if sink.status != "ok"},
        capture=_has_capture(directory),
        folder=str(directory),
    )


def _in_order(root: Path, names: list[str], problem: Problem) -> Iterator[StreamSummary]:
    for name in names:
        yield from streams(root / name, problem)


def _sorted(root: Path, names: list[str], problem: Problem) -> Iterator[StreamSummary]:
    yield from sorted(_in_order(root, names, problem), key=lambda summary: summary.started, reverse=True)


def _read_journal(directory: Path) -> StreamSummary:
    path = directory / journal.NAME
    live = is_locked(path)
    with path.open("rb") as file:
        try:
            facts = _decode_first_line(file.readline()).facts
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the first line of {journal.NAME} is not a stream's facts: {error}") from None
        start = file.tell()
        file.seek(0, os.SEEK_END)
        file.seek(max(start, file.tell() - TAIL_BYTES))
        counters = _last_progress(file.read())
    gaps: dict[str, float] = {}
    for counted in counters.values():
        _add_gaps(gaps, counted)
    return StreamSummary(
        id=facts.id,
        state="live" if live else "crashed",
        started=facts.started.astimezone(UTC),
        duration_s=max((seconds(one.length, one.rate) for one in counters.values()), default=0.0),
        source=facts.source,
        call_id=facts.call_id,
        stream_id=facts.stream_id,
        format=facts.format,
        tracks=list(dict.fromkeys([*facts.tracks, *counters])),
        end=None,
        stop_received=False,
        gaps_s=gaps,
        sinks={},
        capture=_has_capture(directory),
        folder=str(directory),
    )


def _last_progress(tail: bytes) -> dict[str, TrackCounters]:
    for line in reversed(tail.split(b"\n")[:-1]):
        if b'"progress"' in line:
            try:
                found = _decode_progress(line).progress
            except (ValueError, RecursionError):  # the beginning of it was cut off
                continue
            if found is not None:
                return found
    return {}


def _add_gaps(gaps: dict[str, float], counters: TrackCounters | None) -> None:
    for cause, length in counters.gaps.items() if counters else ():
        gaps[cause] = round(gaps.get(cause, 0.0) + seconds(length, counters.rate if counters else 1), 6)


def _has_capture(directory: Path) -> bool:
    return any((directory / name).exists() for name in ("capture.jsonl", "capture.jsonl.gz"))


def as_json(summary: StreamSummary) -> bytes:
    """A line of JSON."""
    return journal.encode(summary)
