"""Audio for a model in other processes: receiver serve --sink examples/pool_sink.py

Every half second of each track goes to ``pool_model.py`` as 16 kHz float32, and comes back as an annotation ``pitch``.
A stream waits for each answer before it takes more: answers keep their order, and no more than one block for each
stream waits in the pool. When the model is too slow the sink falls behind, which is told and bounded as for any sink.
"""

import asyncio
import logging
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import asynccontextmanager
from multiprocessing import get_context

import numpy as np
from pool_model import RATE, infer, load
from pydantic import PositiveInt

from receiver.sinks import Stream, blocks

log = logging.getLogger(__name__)


class Pool:
    """Worker processes; new ones in the place of those that died."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._executor = self._open()

    def _open(self) -> ProcessPoolExecutor:
        # Not forked: a server has threads, and what they hold would stay locked in a copy of it.
        return ProcessPoolExecutor(self._workers, get_context("forkserver"), initializer=load)

    async def infer(self, samples: np.ndarray) -> float:
        executor = self._executor
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, infer, samples)
        except BrokenProcessPool:  # one worker has died, and none of this pool works any more
            if executor is self._executor:  # who notices first makes the new one
                log.error("a worker has died: %d new ones", self._workers)
                self._executor = self._open()
            raise

    async def close(self) -> None:
        await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)


@asynccontextmanager
async def plugin(*, workers: PositiveInt = 2):
    """Give audio to a model in worker processes."""
    pool = Pool(workers)

    async def sink(stream: Stream, events):
        async for block in blocks(events, rate=RATE, dtype="float32", ms=500):
            where = {"track": block.track, "start": block.start, "end": block.end, "rate": block.rate}
            try:
                hertz = await pool.infer(block.samples)
            except BrokenProcessPool as error:
                stream.annotate("pitch_missing", **where, data={"error": str(error)})
            else:
                stream.annotate("pitch", **where, data={"hertz": round(hertz)})

    try:
        await pool.infer(np.zeros(RATE // 2, np.float32))  # a model that cannot be loaded stops the start
        yield sink
    finally:
        await pool.close()
