"""Everyone who listens: what the author of a sink needs, in one place.

The contract is in ``receiver.sinks.sink``; how to write one is in ``docs/writing-a-sink.md``.
"""

from __future__ import annotations

from receiver.audio import AudioFormat, Encoding
from receiver.errors import ConfigError
from receiver.events import (
    Annotation,
    Cause,
    Digit,
    Discontinuity,
    Ended,
    EndReason,
    Event,
    Frame,
    Gap,
    Marked,
    TrackCounters,
)
from receiver.records import Annotated, FileAdded, Record, Refused, StreamEnded, StreamErased, StreamStarted
from receiver.secret import Secret
from receiver.sinks.blocks import blocks
from receiver.sinks.cutter import Block
from receiver.sinks.each import each
from receiver.sinks.sink import PlainSink, Plugin, Records, Recover, Sink
from receiver.stream import Stream, StreamClosed, StreamFacts

__all__ = [
    "Annotated",
    "Annotation",
    "AudioFormat",
    "Block",
    "Cause",
    "ConfigError",
    "Digit",
    "Discontinuity",
    "Encoding",
    "EndReason",
    "Ended",
    "Event",
    "FileAdded",
    "Frame",
    "Gap",
    "Marked",
    "PlainSink",
    "Plugin",
    "Record",
    "Records",
    "Recover",
    "Refused",
    "Secret",
    "Sink",
    "Stream",
    "StreamClosed",
    "StreamEnded",
    "StreamErased",
    "StreamFacts",
    "StreamStarted",
    "TrackCounters",
    "blocks",
    "each",
]
