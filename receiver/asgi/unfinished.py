"""Folders of streams that are over, and that a disk kept from being finished: finished once it lets us.

The next start would do the same; but a server runs for months, and a disk is full for an hour.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from pathlib import Path

from receiver import disk
from receiver.logs import logger

DELAYS_S = (5.0, 30.0, 300.0)
"""How long it is until each attempt. What fails still is the next start's: it may not be the disk."""

MOST = 10_000
"""How many folders are remembered; of more, the next start finishes the oldest."""

LOOK_S = 1.0

log = logger("receiver.recordings")


class Unfinished:
    """What is left to be finished, and who does it: a folder at a time, away from the loop."""

    def __init__(self, finish: Callable[[Path], bool]) -> None:
        """``finish`` blocks, and says whether the folder is finished."""
        self._finish = finish
        self._waiting: deque[tuple[float, Path, int]] = deque(maxlen=MOST)  # when, what, attempts until now
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, on the running loop."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End, with the folder that is being finished."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def add(self, directory: Path) -> None:
        """A folder that could not be finished; nobody works on it any more."""
        self._later(directory, 0)

    def _later(self, directory: Path, attempts: int) -> None:
        if attempts < len(DELAYS_S):
            self._waiting.append((asyncio.get_running_loop().time() + DELAYS_S[attempts], directory, attempts))

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            now = asyncio.get_running_loop().time()
            for _ in range(len(self._waiting)):
                if disk.trouble() is not None:
                    break  # it would fail again, and count
                due, directory, attempts = self._waiting.popleft()
                if due > now:
                    self._waiting.append((due, directory, attempts))
                elif await self._attempt(directory):
                    log.info("finished_after_all", directory=str(directory))
                else:
                    self._later(directory, attempts + 1)

    async def _attempt(self, directory: Path) -> bool:
        work = asyncio.ensure_future(asyncio.to_thread(self._finish, directory))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait([work])  # it is not to go on when everything it needs is gone
            raise
