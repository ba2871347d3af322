"""The whole of what an inspection found. ``--json`` is this, field by field; ``docs/inspect.md`` explains it.

Seconds end in ``_s`` and count from the stream's zero where nothing else is said; milliseconds end in ``_ms``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from receiver.audio import AudioFormat
from receiver.events import Cause, Digit, Discontinuity, EndReason, Gap, Marked, TrackCounters
from receiver.inspection.distribution import Spread
from receiver.inspection.envelope import AudioFigures, WaveformFigures
from receiver.inspection.series import SeriesFigures
from receiver.recordings.ledger import SinkEntry
from receiver.recordings.stream_json import MeasuredFile

VERSION = 1

State = Literal["ended", "live", "cut", "crashed"]
"""``cut``: a capture without its last line, which nobody writes any more. ``crashed``: a folder not yet recovered."""


class PauseFigures(msgspec.Struct, frozen=True):
    """From ``at_s`` (since the connection was accepted) on ``tracks`` were withheld: null all, [] none any more."""

    at_s: float
    tracks: tuple[str, ...] | None


class Unreadable(msgspec.Struct, frozen=True):
    """A message that could not be used, on which line of the capture, and why. ``at_s``: since it was accepted."""

    line: int
    at_s: float
    bytes: int
    reason: str


class WireFigures(msgspec.Struct, frozen=True, kw_only=True):
    """All messages of the connection, of whatever kind."""

    messages: int  # as received; withheld ones are not among them
    bytes: int
    kinds: dict[str, int]
    withheld: int  # messages of which only the size was kept
    withheld_bytes: int
    pauses: list[PauseFigures]
    unreadable: int
    first_unreadable: list[Unreadable]


class JitterFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Arrival against the peer's timestamps."""

    rfc3550_ms: float  # the estimate of RFC 3550, section 6.4.1, as it stood at the end
    rfc3550_max_ms: float
    delay_ms: Spread  # arrival minus timestamp, above the least of all: how much later than the least delayed packet
    over_time: SeriesFigures  # of that, at times since the start message


class PacketFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The media messages of one track as they arrived; ``spacing_ms`` is null where there was one message or none."""

    messages: int
    payload_bytes: int
    packet_ms_min: float | None
    packet_ms_max: float | None
    spacing_ms: Spread | None
    jitter: JitterFigures | None
    first_chunk: int | None
    last_chunk: int | None  # the highest
    chunk_jumps: int  # how often the counter went up by more than one
    chunks_skipped: int  # by how much more, in sum; what came later is among them
    first_timestamp_ms: int | None
    last_timestamp_ms: int | None  # the highest


class Odd(msgspec.Struct, frozen=True):
    """Messages that were not placed, or not in order; ``at_s``: where the stream was when they came."""

    at_s: float
    kind: Literal["duplicate", "late", "reordered"]
    count: int


class GapFigures(msgspec.Struct, frozen=True):
    """A span without audio, and why."""

    start_s: float
    end_s: float
    cause: Cause


class JumpFigures(msgspec.Struct, frozen=True):
    """A discontinuity: the peer's clock jumped, and nothing explains it."""

    at_s: float
    peer_ms_before: int | None
    peer_ms_after: int | None


class TrackFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One track. ``counters`` are as in stream.json, in messages and samples; null where nobody knows."""

    rate: int
    duration_s: float
    counters: TrackCounters | None
    packets: PacketFigures | None  # null without a capture
    gaps: list[GapFigures]
    gaps_s: dict[str, float]  # by cause
    odd: list[Odd]  # empty without a capture
    discontinuities: list[JumpFigures]
    audio: AudioFigures | None
    waveform: WaveformFigures | None
    audio_source: str | None  # "capture", or the name of the file that was measured


class DigitFigures(msgspec.Struct, frozen=True):
    """A pressed key, ``X`` where it was masked."""

    at_s: float
    digit: str
    duration_ms: int | None
    track: str | None


class MarkFigures(msgspec.Struct, frozen=True):
    """A mark that the peer passed."""

    at_s: float
    name: str


class EndFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How the stream ended; ``text`` is what the capture says of the close frame."""

    reason: EndReason
    stop_received: bool
    error: str | None
    close_code: int | None
    text: str


class StreamFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Whose stream it is. Ids and parameters are the peer's words."""

    id: str | None
    source: str
    dialect: str
    stream_id: str
    call_id: str | None
    account_id: str | None
    announced_tracks: tuple[str, ...]
    format: AudioFormat
    parameters: dict[str, Any]
    path_parameters: dict[str, str]
    peer_address: str
    token: str | None
    started: str | None  # RFC 3339, UTC
    ended: str | None


class CaptureFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The capture itself, and the connection as its header tells it."""

    path: str
    file_bytes: int
    source: str
    url_path: str
    accepted: datetime | None
    resolution_ms: int  # arrivals closer to each other than that cannot be told apart
    length_s: float  # from the connection's acceptance to the last entry
    start_s: float | None  # when the start message came, since acceptance
    headers: tuple[tuple[str, str], ...]
    ended: bool  # whether the last line is there
    problem: str | None  # why it could not be read any further


class Report(msgspec.Struct, kw_only=True):
    """Everything. What is null or empty for want of a capture is named in ``unknown``."""

    version: int = VERSION
    path: str
    kind: Literal["capture", "folder"]
    state: State
    duration_s: float = 0.0
    capture: CaptureFigures | None = None
    stream: StreamFigures | None = None  # null: no start message came
    end: EndFigures | None = None
    messages: WireFigures | None = None
    tracks: dict[str, TrackFigures] = {}
    digits: list[DigitFigures] = []
    marks: list[MarkFigures] = []
    annotations: list[msgspec.Raw] = []
    ignored: dict[str, int] = {}
    omitted: dict[str, int] = {}
    files: list[MeasuredFile] = []
    sinks: dict[str, SinkEntry] = {}
    unknown: list[str] = []


def seconds(position: int, rate: int) -> float:
    """A position as a time, to the microsecond."""
    return round(position / rate, 6)


def gap_figures(gap: Gap) -> GapFigures:
    """A gap in seconds."""
    return GapFigures(seconds(gap.start, gap.rate), seconds(gap.end, gap.rate), gap.cause)


def digit_figures(digit: Digit) -> DigitFigures:
    """A digit in seconds."""
    return DigitFigures(seconds(digit.position, digit.rate), digit.digit, digit.duration_ms, digit.track)


def mark_figures(mark: Marked) -> MarkFigures:
    """A mark in seconds."""
    return MarkFigures(seconds(mark.position, mark.rate), mark.name)


def jump_figures(jump: Discontinuity) -> JumpFigures:
    """A discontinuity in seconds."""
    return JumpFigures(seconds(jump.position, jump.rate), jump.peer_ms_before, jump.peer_ms_after)


def gaps_s(counters: TrackCounters | None, gaps: list[GapFigures]) -> dict[str, float]:
    """Seconds of gaps by cause: as counted, where that is known, for a list may have been too short for all."""
    if counters is not None:
        return {cause: seconds(length, counters.rate) for cause, length in counters.gaps.items()}
    sums: dict[str, float] = {}
    for gap in gaps:
        sums[gap.cause.value] = round(sums.get(gap.cause.value, 0.0) + gap.end_s - gap.start_s, 6)
    return sums
