"""What costs something to find out, found out once a second: whether the disk takes more, and what sinks lose."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path

from receiver import disk
from receiver.metrics import Metrics
from receiver.sinks.hub import Hub, SinkFigures

WATCH_S = 1.0
"""How often it looks."""


class Watch:
    """Looks at the recordings' disk and at the hub's figures, and tells the metrics. Starts and stops on one loop."""

    def __init__(self, directory: Path, free_bytes: int, hub: Hub, metrics: Metrics) -> None:
        self.disk_short = False
        """Whether less than ``free_bytes`` are free where ``directory`` is, or will be made."""
        self._directory = directory
        self._free_bytes = free_bytes
        self._hub = hub
        self._metrics = metrics
        self._figures: dict[str, SinkFigures] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def disk_failing(self) -> bool:
        """Whether something could not be written just now, or nothing can be: others should get new streams."""
        return disk.trouble() is not None

    @property
    def disk_refuses(self) -> bool:
        """Whether a new stream could not be recorded."""
        return self.disk_short or disk.stuck()

    def start(self) -> None:
        """Begin."""
        self._metrics.watch_disk(self._directory)
        self._metrics.watch_disk_failing(lambda: self.disk_failing)
        for sink in self._hub.figures():
            self._metrics.watch_sink_queue(sink, partial(self._queued_s, sink))
        self._task = asyncio.create_task(self._look())

    def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()

    async def _look(self) -> None:
        while True:
            known, self._figures = self._figures, self._hub.figures()
            for sink, now in self._figures.items():
                before = known.get(sink, SinkFigures())
                self._metrics.sink_dropped(sink, now.dropped_s - before.dropped_s)
                for _ in range(now.failures - before.failures):
                    self._metrics.sink_failed(sink)
            self.disk_short = await asyncio.to_thread(self._is_disk_short)
            if disk.trouble() is not None:
                await asyncio.to_thread(self._try)
            await asyncio.sleep(WATCH_S)

    def _queued_s(self, sink: str) -> float:
        """Asked from the thread that renders the metrics, which may not look at the hub itself."""
        figures = self._figures.get(sink)
        return 0.0 if figures is None else figures.queued_s

    def _is_disk_short(self) -> bool:
        directory = self._directory
        try:
            while not directory.exists():  # somebody has removed it; it is made again with the next stream's folder
                directory = directory.parent
            return shutil.disk_usage(directory).free < self._free_bytes
        except OSError:
            return True

    def _try(self) -> None:
        """Write something: without a live stream nobody else would find out that the disk takes files again."""
        try:
            with tempfile.TemporaryFile(dir=self._directory) as file:  # without a name, so that nothing stays behind
                file.write(b"?")
                file.flush()
                os.fsync(file.fileno())
        except OSError as problem:
            disk.failed(problem)
        else:
            disk.worked()
