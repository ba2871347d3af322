"""A stream: the audio of one call as everyone who listens knows it, and what they may say about it."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, SupportsIndex

import msgspec

from receiver.audio import AudioFormat
from receiver.errors import ReceiverError
from receiver.events import Annotation, Passing

MAX_NAME = 100
"""How many characters the kind of an annotation or a file may have, and a file's media type."""

PENDING = ".pending"
"""What the name of a file ends in that keeps a stream's folder from being erased; before it is the sink's name."""


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
    """Who takes what a sink says of a stream. Called from any thread; what it raises, the sink gets."""

    def annotated(self, annotation: Annotation) -> None:
        """Pass an annotation to the other sinks, the records and ``stream.json``; a Passing one to the sinks alone."""

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
        self,
        kind: str,
        *,
        start: SupportsIndex,
        end: SupportsIndex,
        rate: SupportsIndex,
        track: str | None = None,
        data: Any = None,
        kept: bool = True,
    ) -> None:
        """Say something about a span of audio: samples at ``rate``, on the stream's timeline; ``data`` is any JSON.

        Any whole number will do, numpy's as well. ``data`` is copied before this returns. What a stream's annotations
        may hold is bounded: what exceeds that is counted in ``stream.json`` (``omitted``), and nobody is told of it.

        What is not ``kept`` reaches the other sinks alone, counts towards no bound, and is left out where they do not
        keep up: for what will soon be said better.

        Thread-safe; valid until the sink returns, also after the stream has ended.

        Raises StreamClosed after that, TypeError or ValueError for what is no span, no name or no JSON.
        """
        self._check_open()
        _check_name("an annotation's kind", kind)
        if track is not None and not isinstance(track, str):
            raise TypeError(f"annotation {kind!r}: the track is text or None, not {type(track).__name__}")
        first, last, hertz = _whole(kind, "start", start), _whole(kind, "end", end), _whole(kind, "rate", rate)
        if hertz <= 0 or not 0 <= first <= last:
            raise ValueError(
                f"annotation {kind!r}: start={first}, end={last}, rate={hertz}: must be 0 <= start <= end and rate > 0"
            )
        said = Annotation if kept else Passing
        self._owner.annotated(said(kind, track, first, last, hertz, data, self.sink))

    def add_file(self, path: Path | str, *, kind: str, media_type: str) -> None:
        """Declare a finished file below ``directory``: it is measured, listed in ``stream.json`` and told to others.

        Thread-safe; valid until the sink returns, also after the stream has ended.

        Raises StreamClosed after that, ValueError for a path outside of ``directory``, TypeError or ValueError for what
        is no path or no name.
        """
        self._check_open()
        path = Path(path)
        _check_name("a file's kind", kind)
        _check_name("a file's media type", media_type)
        if "\0" in str(path):
            raise ValueError(f"{path} cannot be a file: it holds a null character")
        if not Path(os.path.abspath(path)).is_relative_to(os.path.abspath(self.directory)):  # asks no disk
            raise ValueError(f"{path} is not in the stream's directory {self.directory}")
        self._owner.file_added(path, kind, media_type, self.sink)

    def hold(self) -> Path:
        """Keep the folder from retention, and from being erased on request, until somebody removes the file returned.

        For who delivers something after the sink has returned. The file, ``<sink>.pending``, is empty and survives
        restarts; removing it is all that it takes to let go. Holding twice is holding once. While the sink runs the
        folder is safe anyway.

        Blocks for a moment. Thread-safe; valid until the sink returns. Raises StreamClosed after that, OSError where
        the file cannot be made.
        """
        self._check_open()
        path = self.directory / f"{self.sink}{PENDING}"
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        return path

    def _check_open(self) -> None:
        if self._closed():
            raise StreamClosed(f"sink {self.sink} has returned from stream {self.id}")


def _check_name(what: str, name: str) -> None:
    if not isinstance(name, str):
        raise TypeError(f"{what} is text, not {type(name).__name__}")
    if not 0 < len(name) <= MAX_NAME:
        raise ValueError(f"{what} has 1 to {MAX_NAME} characters, not {len(name)}")


def _whole(kind: str, name: str, value: SupportsIndex) -> int:
    try:
        return operator.index(value)
    except TypeError:
        given = type(value).__name__
        raise TypeError(f"annotation {kind!r}: {name} is a {given}, and samples are whole numbers") from None
