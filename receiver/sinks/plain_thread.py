"""A plain thread: one run of an ordinary function, away from the sink's loop."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from functools import partial

import structlog

from receiver.sinks.sink_loop import SinkLoop


class PlainThread:
    """Runs a function in a daemon thread. Made on the sink's loop, with the log's context that holds there.

    ``outcome`` is its end, to be awaited on the loop. Where nobody awaits it any more, and where the loop has closed,
    ``let_go`` is called when the thread has ended.
    """

    def __init__(self, name: str, work: Callable[[], object], loop: SinkLoop, let_go: Callable[[], None]) -> None:
        self.outcome: asyncio.Future[None] = loop.loop.create_future()
        self._work = work
        self._loop = loop
        self._let_go = let_go
        context = dict(structlog.contextvars.get_contextvars())
        threading.Thread(target=self._run, args=(context,), name=name, daemon=True).start()

    @property
    def running(self) -> bool:
        """Whether the thread has not ended, as far as the loop knows."""
        return not self.outcome.done() or self.outcome.cancelled()

    def _run(self, context: dict[str, object]) -> None:
        structlog.contextvars.bind_contextvars(**context)
        failure: BaseException | None = None
        try:
            result = self._work()
            if result is not None:
                if inspect.iscoroutine(result):
                    result.close()
                raise TypeError(f"a plain sink returns None, not {type(result).__name__}: is it to be 'async def'?")
        except BaseException as error:
            failure = error
        if not self._loop.call(partial(self._settle, failure)):  # the process is ending, and left this thread behind
            self._let_go()

    def _settle(self, failure: BaseException | None) -> None:
        if self.outcome.done():  # who awaited it was cancelled, and the outcome with it
            self._let_go()
        elif failure is None:
            self.outcome.set_result(None)
        elif isinstance(failure, StopIteration):  # a future refuses it
            self.outcome.set_exception(RuntimeError(f"the sink raised {failure!r}"))
        else:
            self.outcome.set_exception(failure)
