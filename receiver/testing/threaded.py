"""The same receiver in a thread with an event loop of its own, for tests that are not asynchronous."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Unpack

import uvloop

from receiver.testing.material import Audio, PlayOptions
from receiver.testing.recorded import Recorded
from receiver.testing.running import RunningReceiver, running_receiver
from receiver.testing.tables import Sinks

Loop = Literal["uvloop", "asyncio"]

PLAYS_END_S = 5.0
"""What a play may take to read what was recorded of its call, once the receiver has ended that call and itself."""


class ThreadedReceiver:
    """What ``run_receiver`` gives: where the receiver is, and ``play``, which any thread may call."""

    def __init__(self, running: RunningReceiver, loop: asyncio.AbstractEventLoop) -> None:
        self._running = running
        self._loop = loop
        self.receiver = running.receiver
        """The Receiver itself. It belongs to another thread: read what it says, and change nothing."""
        self.url = running.url
        """Where calls to the first source go: ``ws://127.0.0.1:…/stream``."""
        self.address = running.address
        self.management = running.management
        self.token = running.token
        self.directory = running.directory

    def play(self, what: Audio, **options: Unpack[PlayOptions]) -> Recorded:
        """Make a call of an audio file, of samples with their rate, or of a capture, and wait for its recording.

        As ``RunningReceiver.play``; blocks until then. Raises RuntimeError when the receiver's context was left.
        """
        call = self._running.play(what, **options)
        try:
            playing = asyncio.run_coroutine_threadsafe(call, self._loop)
        except RuntimeError:  # the loop has closed
            call.close()
            raise RuntimeError("this receiver runs no longer: play within its context") from None
        try:
            return playing.result()
        except BaseException:
            playing.cancel()  # Ctrl-C, or a test that took too long: nobody waits for the call any more
            raise


RunReceiver = Callable[..., AbstractContextManager[ThreadedReceiver]]
"""What the fixture ``run_receiver`` is: the function below, with its folders filled in."""


@contextmanager
def run_receiver(
    directory: Path | None = None,
    *,
    sinks: Sinks | None = None,
    base: Path | None = None,
    loop: Loop = "uvloop",
    **tables: Any,
) -> Iterator[ThreadedReceiver]:
    """``with run_receiver(sinks=[my_sink]) as server:`` runs a receiver on free ports of the loopback, in a thread.

    As ``running_receiver``; ``loop`` is the kind of event loop that it runs in.
    """
    thread = _Thread(running_receiver(directory, sinks=sinks, base=base, **tables), loop)
    server = thread.begin()
    try:
        yield server
    except BaseException:
        with suppress(Exception):  # what the test says is what counts
            thread.end(failed=True)
        raise
    thread.end(failed=False)


class _TestFailed(Exception):
    """Raised inside of the receiver's context, so that it does not take its time to end."""


class _Thread:
    """Enters an asynchronous context in a thread, and leaves it there. The thread ends as soon as the receiver can."""

    def __init__(self, running: AbstractAsyncContextManager[RunningReceiver], loop: Loop) -> None:
        self._running = running
        self._new_loop = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
        self._begun: Future[ThreadedReceiver] = Future()
        self._failed: Future[bool] = Future()
        self._ended: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="receiver-testing", daemon=True)

    def begin(self) -> ThreadedReceiver:
        """Start, and wait until the receiver listens. Raises what the start raised."""
        self._thread.start()
        try:
            return self._begun.result()
        except BaseException:
            self._failed.set_result(True)  # where it was this wait that was broken off
            if self._begun.done():
                self._thread.join()
            raise

    def end(self, *, failed: bool) -> None:
        """Stop, and wait until everything is closed: the receiver bounds how long that takes. Raises what it raises."""
        self._failed.set_result(failed)
        self._ended.result()
        self._thread.join()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=self._new_loop) as runner:
                runner.run(self._serve())
        except BaseException as error:
            (self._ended if self._begun.done() else self._begun).set_exception(error)
        else:
            self._ended.set_result(None)

    async def _serve(self) -> None:
        with suppress(_TestFailed):
            async with self._running as running:
                self._begun.set_result(ThreadedReceiver(running, asyncio.get_running_loop()))
                if await asyncio.wrap_future(self._failed):
                    raise _TestFailed
            if calls := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(calls, timeout=PLAYS_END_S)
