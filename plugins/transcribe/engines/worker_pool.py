"""Worker processes for one engine: as many utterances at once, and another process for each that ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from receiver.errors import ConfigError

from ..engine import RATE, EngineFailed, Heard, Int16Array, Recognition
from .backoff import Backoff
from .messages import Drop, Feed, Finish
from .places import Places
from .placing import newest, placed
from .worker_process import WorkerProcess, worker_process

PIECE = 10 * RATE
"""Samples that a worker is given at once: an answer is waited for, and these are soon decoded."""

PART = 60 * RATE
"""Samples after which an utterance is finished and another begun, as decoders keep all of it in memory. Words at the
seam are heard badly, so this is more than anybody says in one breath."""

log = logging.getLogger("receiver_plugins.transcribe")


@asynccontextmanager
async def worker_pool(
    engine: str, module: str, settings: str, *, workers: int, timeout_s: float
) -> AsyncIterator[WorkerPool]:
    """Start ``workers`` times ``python -m module settings``, and wait until all of them have loaded.

    Raises ConfigError where one cannot. Later ones that cannot are tried again, less and less often.
    """
    pool = WorkerPool(engine, module, settings, timeout_s)
    loading: list[asyncio.Future[None]] = [asyncio.get_running_loop().create_future() for _ in range(workers)]
    keepers = [asyncio.create_task(pool.keep(loaded), name=f"keeper of a worker of {engine}") for loaded in loading]
    try:
        await asyncio.gather(*loading)
        yield pool
    finally:
        for task in (*keepers, *loading):
            task.cancel()
        await asyncio.gather(*keepers, *loading, return_exceptions=True)


class WorkerPool:
    """An Engine of worker processes."""

    def __init__(self, engine: str, module: str, settings: str, timeout_s: float) -> None:
        self._engine = engine
        self._module = module
        self._settings = settings
        self._timeout_s = timeout_s
        self._places: Places[_Place] = Places()

    @asynccontextmanager
    async def recognize(self) -> AsyncIterator[Recognition]:
        """A worker of one's own, for one utterance."""
        place = await self._take()
        try:
            yield _WorkerRecognition(place.worker)
        finally:
            place.leave()

    async def _take(self) -> _Place:
        """A place whose worker answers: one that died just now fails nobody's utterance."""
        while True:
            place = await self._places.take()
            try:
                await place.worker.ask(Drop())
            except EngineFailed:
                place.leave()
            except BaseException:
                place.leave()
                raise
            else:
                return place

    async def keep(self, loaded: asyncio.Future[None]) -> None:
        """Keep one worker running. ``loaded`` is told of the first; if that cannot load, there is no second."""
        backoff = Backoff()
        told = ""
        while True:
            try:
                async with worker_process(self._engine, self._module, self._settings, self._timeout_s) as worker:
                    await worker.loaded()
                    if told:
                        log.warning("%s works again", self._engine)
                        told = ""
                    if not loaded.done():
                        loaded.set_result(None)
                    while True:
                        await self._lend(worker)
                        backoff.reset()
            except (ConfigError, EngineFailed) as error:
                if not loaded.done():
                    loaded.set_exception(error if isinstance(error, ConfigError) else ConfigError("engine", str(error)))
                    return
                if str(error) != told:  # once, however often it is tried
                    told = str(error)
                    log.error("%s; another one is started", told)
            await backoff.pause()

    async def _lend(self, worker: WorkerProcess) -> None:
        """Offer a worker for one utterance. Raises EngineFailed once it has ended."""
        place = _Place(worker)
        self._places.give(place)
        try:
            await asyncio.wait((place.left, worker.gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._places.withdraw(place)
        await worker.ask(Drop())  # also when it is gone, to say so


class _Place:
    def __init__(self, worker: WorkerProcess) -> None:
        self.worker = worker
        self.left: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def leave(self) -> None:
        """Nobody is in it any more."""
        self.left.set_result("")


class _WorkerRecognition:
    """A Recognition by one worker."""

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker
        self._fed = 0  # samples
        self._begun = 0  # where the worker's utterance begins

    async def feed(self, samples: Int16Array) -> Sequence[Heard]:
        heard: list[Heard] = []
        while len(samples):
            size = min(len(samples), PIECE, self._begun + PART - self._fed)
            piece, samples = samples[:size], samples[size:]
            self._fed += size
            heard += await self._ask(Feed(piece.tobytes()))
            if self._fed == self._begun + PART:
                heard += await self.finish()
        return newest(heard)

    async def finish(self) -> Sequence[Heard]:
        heard = await self._ask(Finish())
        self._begun = self._fed
        return heard

    async def _ask(self, request: Feed | Finish) -> list[Heard]:
        return [placed(heard, self._begun, self._fed) for heard in await self._worker.ask(request)]
