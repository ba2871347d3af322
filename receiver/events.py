"""What happened on a stream, in order, on a timeline that cannot drift.

Positions are integer samples at ``rate``, the track's own sample rate in hertz, counted from the stream's zero, which
all tracks share. Per track, frames and gaps tile: the first starts at 0 and each starts where the previous one ended.
A sink relies on that and never repairs time.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from receiver.audio import AudioFormat

Samples = npt.NDArray[np.int16]


MASKED = "X"
"""Stands for a pressed key where the key itself is not stored."""


class Cause(StrEnum):
    """Why a span of a track has no audio."""

    LOST = "lost"  # the peer's own counter says that it was sent
    UNSENT = "unsent"  # the peer's clock moved on without audio, e.g. suppressed silence
    REJECTED = "rejected"  # it arrived and could not be decoded
    PAUSED = "paused"  # withheld: nobody was to hear it
    DROPPED = "dropped"  # this sink was too slow, or came later


class EndReason(StrEnum):
    """How a stream ended. Only ``stop_received`` says that the peer was done."""

    STOP = "stop"  # the peer's stop message
    CLOSE = "close"  # a WebSocket close frame without a stop message
    FIN = "fin"  # the peer closed the connection without a close frame
    RESET = "reset"  # the connection broke
    DEAD = "dead"  # no sign of life of the peer for dead_after_s
    IDLE = "idle"  # no media for idle_timeout_s
    START_TIMEOUT = "start_timeout"  # connected, and never said start
    DRAIN = "drain"  # we stopped
    CRASH = "crash"  # the process died; found and finalised at the next start
    MAX_DURATION = "max_duration"
    ERROR = "error"  # the peer broke its dialect, or asked for too much; ``Ended.error`` says how


class Started(msgspec.Struct, frozen=True):
    """The peer's start message, read. Always the first event, and never in a sink's feed: a sink is given a Stream."""

    dialect: str
    stream_id: str  # these three are the peer's: data, never a file name
    call_id: str | None
    account_id: str | None
    tracks: tuple[str, ...]  # as announced; more may open later
    format: AudioFormat
    parameters: dict[str, Any]  # as received; values may be any JSON


class Frame(msgspec.Struct, frozen=True, eq=False, gc=False):  # many, and they hold nothing that holds them
    """Decoded audio at a position. Where one frame ends and the next begins carries no meaning."""

    track: str
    start: int
    rate: int
    samples: Samples  # shape (n,), one channel, read-only, shared by all sinks without a copy

    @property
    def end(self) -> int:
        """The position after the last sample."""
        return self.start + len(self.samples)


class Gap(msgspec.Struct, frozen=True):
    """A span without audio, and why. Nothing is allocated for it."""

    track: str
    start: int
    end: int
    rate: int
    cause: Cause


class Discontinuity(msgspec.Struct, frozen=True):
    """The peer's clock or counter jumped in a way that no audio explains; the track goes on at ``position``."""

    track: str
    position: int
    rate: int
    peer_ms_before: int | None
    peer_ms_after: int | None


class Digit(msgspec.Struct, frozen=True):
    """A pressed key. ``position`` is where the stream's audio was when it arrived."""

    digit: str
    position: int
    rate: int
    duration_ms: int | None = None
    track: str | None = None


class Marked(msgspec.Struct, frozen=True):
    """The peer passed a mark."""

    name: str
    position: int
    rate: int


class Annotation(msgspec.Struct, frozen=True):
    """Something a sink learned about a span of audio, e.g. a transcript."""

    kind: str
    track: str | None
    start: int
    end: int
    rate: int
    data: Any = None  # anything that JSON can say
    sink: str = ""  # the sink that said so


class Passing(Annotation, frozen=True):
    """An annotation for whoever listens now, e.g. a transcript that may still change: it is kept nowhere."""


class TrackCounters(msgspec.Struct, frozen=True):
    """What became of the media messages of a track: ``received == placed + duplicate + late + rejected``."""

    rate: int
    length: int = 0  # samples: where the track's tiling ends
    samples: int = 0  # of them, samples of audio; the rest are gaps
    received: int = 0  # messages, as are the next five
    placed: int = 0
    duplicate: int = 0
    late: int = 0
    rejected: int = 0
    reordered: int = 0  # of the placed: arrived behind a higher chunk
    trimmed: int = 0  # of the placed: an odd byte was cut off
    unstamped: int = 0  # of the placed: chunk or timestamp missing or unreadable
    discontinuities: int = 0
    skew_ms: int = 0  # how far the audio lies behind the peer's stamps, at most
    gaps: dict[str, int] = {}  # cause -> samples


class Ended(msgspec.Struct, frozen=True):
    """The last event of a stream."""

    reason: EndReason
    stop_received: bool
    tracks: dict[str, TrackCounters]
    ignored: dict[str, int] = {}  # what was counted and skipped, by kind
    error: str | None = None
    close_code: int | None = None


Event = Started | Frame | Gap | Discontinuity | Digit | Marked | Annotation | Ended
