"""A stream: the audio of one call as everyone who listens knows it, and what they may say about it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec

from receiver.audio import AudioFormat
from receiver.errors import ReceiverError
from receiver.events import Annotation


class StreamClosed(ReceiverError):
    """A sink spoke about a stream after it had returned."""


class StreamFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a stream when it starts."""

    id: str  # UUIDv7 text, ours, safe in a file name, sorted by time
    source: str  # the configured source it came in by
    dialect: str
    stream_id: str  # the peer's three ids: data, never a file name
    call_id: str | None
    account_id: str | None
    tracks: tuple[str, ...]  # as announced; others open when their audio arrives
    format: AudioFormat  # of every track
    parameters: Mapping[str, Any]  # custom parameters as received; values may be any JSON
    path_parameters: Mapping[str, str]  # the variable segments of the source's path
    peer_address: str
    token: str | None  # the name of the token that let it in
    started: datetime  # UTC


class Owner(Protocol):
    """Who takes what a sink says of a stream. Called from any thread."""

    def annotated(self, annotation: Annotation) -> None:
        """Pass an annotation to the other sinks, the records and ``stream.json``."""

    def file_added(self, path: Path, kind: str, media_type: str, sink: str) -> None:
        """Put a finished file of the stream's directory into the records and ``stream.json``."""


class Stream:
    """What a sink is given beside the events. Every sink has a Stream of its own; the facts are shared."""

    def __init__(
        self,
        facts: StreamFacts,
        directory: Path,
        owner: Owner,
        sink: str,
        *,
        closed: Callable[[], bool] = lambda: False,
    ) -> None:
        self.facts = facts
        self.directory = directory
        """Where every sink writes what it makes of this stream; it exists."""
        self.sink = sink
        """The name of the sink this Stream was given to."""
        self._owner = owner
        self._closed = closed

    @property
    def id(self) -> str:
        """Our own id of the stream: UUIDv7 text, safe in a file name."""
        return self.facts.id

    @property
    def format(self) -> AudioFormat:
        """The format on the wire; its rate is the rate of every track."""
        return self.facts.format

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Custom parameters as the peer sent them; values may be any JSON."""
        return self.facts.parameters

    @property
    def call_id(self) -> str | None:
        """The peer's id of the call."""
        return self.facts.call_id

    def annotate(
        self, kind: str, *, start: int, end: int, rate: int, track: str | None = None, data: Any = None
    ) -> None:
        """Say something about a span of audio: samples at ``rate``, on the stream's timeline; ``data`` is any JSON.

        Thread-safe; valid until the sink returns, also after the stream has ended.

        Raises StreamClosed after that.
        """
        self._check_open()
        self._owner.annotated(Annotation(kind, track, start, end, rate, data, self.sink))

    def add_file(self, path: Path, *, kind: str, media_type: str) -> None:
        """Declare a finished file below ``directory``: it is measured, listed in ``stream.json`` and told to others.

        Thread-safe; valid until the sink returns, also after the stream has ended.

        Raises StreamClosed after that, ValueError for a path outside of ``directory``.
        """
        self._check_open()
        if not Path(os.path.abspath(path)).is_relative_to(os.path.abspath(self.directory)):  # asks no disk
            raise ValueError(f"{path} is not in the stream's directory {self.directory}")
        self._owner.file_added(path, kind, media_type, self.sink)

    def _check_open(self) -> None:
        if self._closed():
            raise StreamClosed(f"sink {self.sink} has returned from stream {self.id}")
