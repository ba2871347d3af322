"""A stage: one plugin opened in a real hub, and scenes that are played to it, each with its real folder."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from receiver import files
from receiver.captures.capture import Header
from receiver.config import Captures, SinkConfig
from receiver.metrics import Metrics
from receiver.open_stream import OpenStream
from receiver.opener import Opener
from receiver.sessions.settings import SessionSettings
from receiver.simulate import Outcome
from receiver.sinks.hub import Hub
from receiver.sinks.loading import Loaded
from receiver.testing.handed import handing
from receiver.testing.observed import BEAT_S, Observed
from receiver.testing.recorded import Recorded
from receiver.testing.scene import Scene
from receiver.testing.tables import LARGE

TAKE_S = 10.0
"""How long a sink is given to take what was published, where it need not."""


class Stage:
    """What ``staged`` gives."""

    def __init__(self, hub: Hub, observed: Observed, name: str, root: Path, log: list[str]) -> None:
        self.hub = hub
        self.observed = observed
        self.name = name
        self.root = root
        self.log = log
        """The events that our own loggers have told of, with what they say of an error."""
        self._late: list[Coroutine[Any, Any, None]] = []
        self._opener = Opener(
            hub=hub,
            metrics=Metrics(sources=("conformance",), sinks=(name,)),
            root=root,
            template="{stream_id}",
            captures=Captures(),
            mask_digits=False,
            keep=lambda stream, late: self._late.append(late),
        )

    async def begin(self, scene: Scene) -> OpenStream:
        """Start the stream of a scene; its sink is let in."""
        return await self._opener.open(scene.facts, SessionSettings(), Header(version=1), None)

    async def publish(self, stream: OpenStream, scene: Scene, upto: float = 1.0, since: float = 0.0) -> None:
        """Hand on a part of a scene, batch by batch, as fast as it goes."""
        batches = list(scene.batches())
        for batch in batches[int(since * len(batches)) : int(upto * len(batches))]:
            stream.publish(batch)
            self.hub.flush()
            await asyncio.sleep(0)

    async def taken(self, stream: OpenStream) -> None:
        """Wait until the sink has taken what was published; no longer than TAKE_S, as it need not take anything."""
        with suppress(TimeoutError):
            async with asyncio.timeout(TAKE_S):
                await stream.room(LARGE)

    async def returned(self, within_s: float) -> bool:
        """Whether every call of the sink has come to its end, or does so in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self.observed.returned < self.observed.started:  # noqa: ASYNC110 - counted in another thread
                    await asyncio.sleep(BEAT_S)
        return self.observed.returned == self.observed.started

    async def end(self, stream: OpenStream, scene: Scene) -> Recorded:
        """Hand on the last event, and wait until the sink has come to its end, or was given up."""
        stream.publish([scene.ended])
        await stream.finish(scene.ended, scene.facts.started + timedelta(seconds=scene.seconds))
        while self._late:
            await self._late.pop(0)
        return await asyncio.to_thread(Recorded.read, stream.directory, Outcome())

    async def play(self, scene: Scene) -> Recorded:
        """A whole scene."""
        stream = await self.begin(scene)
        await self.publish(stream, scene)
        return await self.end(stream, scene)


@asynccontextmanager
async def staged(loaded: Loaded, root: Path, **settings: Any) -> AsyncIterator[Stage]:
    """Open a plugin as a server does, with these settings of its sink; streams' folders are made in ``root``.

    Raises ConfigError where it cannot be opened. Leaving it closes the plugin, by force where that takes too long.
    """
    observed = Observed(loaded)
    log: list[str] = []
    with handing() as hand, _listening(log):
        config = SinkConfig.model_validate({"use": hand(observed.factory()), **settings})
        async with Hub({loaded.name: config}, base=root, feeds_bytes=LARGE) as hub:
            try:
                yield Stage(hub, observed, loaded.name, root, log)
            finally:
                observed.go.set()
        await asyncio.to_thread(files.shutdown)


@contextmanager
def _listening(log: list[str]) -> Iterator[None]:
    """Take down what our loggers tell of from a warning on."""

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if isinstance(record.msg, Mapping):
                said = record.msg.get("error") or record.msg.get("problem") or ""
                log.append(f"{record.msg.get('event')}: {said}")

    ours, listening = logging.getLogger("receiver"), Listening(logging.WARNING)
    ours.addHandler(listening)
    try:
        yield
    finally:
        ours.removeHandler(listening)
