"""Workers: a few threads for what would block a loop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

from receiver.logs import logger
from receiver.sinks.failure import describe_failure

log = logger("receiver.sinks")


class Workers:
    """Up to ``count`` daemon threads, begun when there is work. One that hangs for good does not keep the process.

    They are few because what they do is mostly computing: many would take the interpreter away from the main thread.
    """

    def __init__(self, name: str, count: int) -> None:
        self._name = name
        self._count = count
        self._jobs: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._begun = 0
        self._lock = threading.Lock()  # held while a thread is begun, for the first jobs alone

    def submit(self, job: Callable[[], object]) -> None:
        """Have a job done, soon, behind those that wait. On any thread; waits at most for a thread to begin."""
        self._jobs.put(job)
        if self._begun < self._count:
            self._begin()

    def close(self) -> None:
        """Have the threads end behind the jobs that wait, and wait for none of them."""
        for _ in range(self._count):
            self._jobs.put(None)

    def _begin(self) -> None:
        with self._lock:
            if self._begun < self._count:
                self._begun += 1
                threading.Thread(target=self._run, name=f"{self._name} {self._begun}", daemon=True).start()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception as error:
                log.error("job_failed", **describe_failure(error))
            del job  # what it holds is not kept while the next one is waited for
