"""A receiver that can be asked what became of one connection among many: the real one, watched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

from receiver.asgi.receiver import Receiver
from receiver.captures.capture import Header
from receiver.captures.writer import CaptureWriter
from receiver.config import Config
from receiver.open_stream import OpenStream
from receiver.opener import Opener
from receiver.sessions.settings import SessionSettings
from receiver.stream import StreamFacts

HEADER = "x-receiver-testing"
"""A header of the handshake that tells one call from another, also where both say the same words."""

Keep = Callable[[OpenStream, Coroutine[Any, Any, None]], None]


class Watch:
    """One connection, seen from the server."""

    def __init__(self) -> None:
        self.key = uuid4().hex
        """What the connection is to send as ``HEADER``."""
        self.stream: OpenStream | None = None
        """What it became; None where no stream has started."""
        self._left = asyncio.Event()
        self._late: asyncio.Event | None = None

    async def over(self) -> None:
        """Wait until the server is through with it, and so are the sinks: whatever they wrote is final."""
        await self._left.wait()
        if self._late is not None:
            await self._late.wait()

    def leave(self) -> None:
        """The connection is served no longer, and only late sinks may still have to do with it."""
        self._left.set()

    def follow(self, late: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None]:
        """The same coroutine, which waits for late sinks, with its end noted."""
        self._late = over = asyncio.Event()

        async def followed() -> None:
            try:
                await late
            finally:
                over.set()

        return followed()


class WatchedReceiver(Receiver):
    """A Receiver that lets connections be watched."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._watches: dict[str, Watch] = {}
        opener = self.opener
        shared = {**vars(opener), "keep": partial(self._keep_watched, opener.keep)}
        self.opener = _WatchedOpener(**shared, opened=self._opened)

    @contextmanager
    def watching(self) -> Iterator[Watch]:
        """Watch the connection that sends the watch's key."""
        watch = Watch()
        self._watches[watch.key] = watch
        try:
            yield watch
        finally:
            del self._watches[watch.key]

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Serve as the Receiver does, and note when it is through."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            for name, value in scope["headers"]:
                if name.decode("latin-1") == HEADER and (watch := self._watches.get(value.decode("latin-1"))):
                    watch.leave()

    def _opened(self, header: Header, stream: OpenStream) -> None:
        watch = self._watches.get(dict(header.headers).get(HEADER, ""))
        if watch is not None:
            watch.stream = stream

    def _keep_watched(self, keep: Keep, stream: OpenStream, late: Coroutine[Any, Any, None]) -> None:
        for watch in self._watches.values():
            if watch.stream is stream:
                late = watch.follow(late)
        keep(stream, late)


@dataclass(frozen=True, kw_only=True)
class _WatchedOpener(Opener):
    opened: Callable[[Header, OpenStream], None]

    async def open(
        self, facts: StreamFacts, settings: SessionSettings, header: Header, capture: CaptureWriter | None
    ) -> OpenStream:
        stream = await super().open(facts, settings, header, capture)
        self.opened(header, stream)
        return stream
