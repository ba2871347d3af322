"""A worker process, seen from outside: started, asked, and reaped, however it ends."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from io import BufferedReader
from typing import cast

import msgspec

from receiver.errors import ConfigError

from ..engine import EngineFailed, Heard
from .messages import HEAD_BYTES, Answer, Reply, Request, Unusable, pack, read_reply, unpack_size

LOAD_S = 120.0
"""How long loading may take: a large model comes from a slow disk."""

STOP_S = 2.0
"""How long a worker may take to end when it is told to, and again when it is killed."""

LAST_WORDS_BYTES = 4096
"""Kept of what a worker writes to standard error, for its last line, which often says why it died."""

LINE = 300
"""No more characters of that line than this."""


@asynccontextmanager
async def worker_process(engine: str, module: str, settings: str, timeout_s: float) -> AsyncIterator[WorkerProcess]:
    """Run ``python -m module settings``. It has ended, and is no zombie, when the context is left.

    ``settings`` is no place for a secret: who may list processes reads it. An answer may take ``timeout_s``.
    """
    worker = WorkerProcess(engine, timeout_s)
    worker.start(module, settings)
    try:
        await worker.connect()
        yield worker
    finally:
        await worker.end()


class WorkerProcess:
    """One worker. When it has ended, ``gone`` is done and says why, in a sentence.

    A thread starts it and waits for it. That works on every kind of event loop, in every thread; nobody's loop waits
    for a fork; and the process is reaped even if the loop is not there any more.
    """

    def __init__(self, engine: str, timeout_s: float) -> None:
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[str] = self._loop.create_future()
        self._exited: asyncio.Future[str] = self._loop.create_future()
        self._loaded: asyncio.Future[Reply] = self._loop.create_future()
        self._asked = deque([self._loaded])  # one at a time, and those that were given up before their answer came
        self._timeout_s = timeout_s
        self._killed_because: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None

    def start(self, module: str, settings: str) -> None:
        """Have it started. Does not wait for that. Raises EngineFailed where there are no files or threads left."""
        # -P: what lies in the working directory is not imported.
        command = [sys.executable, "-P", "-m", module, settings]
        name = f"waiting for {module.rpartition('.')[2]}"
        try:
            self._pipe, theirs = socket.socketpair()
            try:
                threading.Thread(target=self._run, args=(command, theirs), name=name, daemon=True).start()
            except RuntimeError:
                self._pipe.close()
                theirs.close()
                raise
        except (OSError, RuntimeError) as error:
            raise EngineFailed(self._sentence(f"could not be started: {error}")) from None

    async def connect(self) -> None:
        """Begin to listen to it."""
        reader, self._writer = await asyncio.open_unix_connection(sock=self._pipe)
        self._listening = self._loop.create_task(self._listen(reader))

    async def loaded(self) -> None:
        """Wait until it has loaded its model. Raises ConfigError where it cannot, EngineFailed where it ends."""
        reply = await self._wait_for(self._loaded, LOAD_S)
        if isinstance(reply, Unusable):
            raise ConfigError(reply.option, reply.problem)

    async def ask(self, request: Request) -> tuple[Heard, ...]:
        """What it answers. Raises EngineFailed where it ends, or takes too long, for which it is killed.

        Who is cancelled leaves the answer to come, and the next request is answered after it.
        """
        if self.gone.done():
            raise EngineFailed(self.gone.result())
        answer: asyncio.Future[Reply] = self._loop.create_future()
        self._asked.append(answer)
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(pack(request))
        reply = await self._wait_for(answer, self._timeout_s)
        return reply.heard if isinstance(reply, Answer) else ()

    async def end(self) -> None:
        """Tell it to end, and kill it if it does not."""
        try:
            if self._writer is not None and self._writer.can_write_eof() and not self._writer.is_closing():
                self._writer.write_eof()
            await asyncio.wait([self._exited], timeout=STOP_S)
        finally:
            self._kill()
            if self._writer is not None:
                self._writer.close()
        if self._listening is not None:
            await asyncio.wait([self._listening], timeout=STOP_S)
            self._listening.cancel()

    async def _wait_for(self, answer: asyncio.Future[Reply], timeout_s: float) -> Reply:
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            self._kill(f"did not answer within {timeout_s:g} s")
            raise EngineFailed(self._sentence(self._killed_because)) from None

    def _sentence(self, what: str | None) -> str:
        return f"the worker of {self._engine} {what}"

    def _kill(self, because: str | None = None) -> None:
        self._killed_because = self._killed_because or because
        if self._process is not None:
            self._process.kill()  # nothing, if it has been reaped

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                size = unpack_size(await reader.readexactly(HEAD_BYTES))
                reply = read_reply(await reader.readexactly(size))
                answer = self._asked.popleft()
                if not answer.done():
                    answer.set_result(reply)
        except (asyncio.IncompleteReadError, ConnectionError):
            await asyncio.wait([self._exited], timeout=STOP_S)
            if not self._exited.done():
                self._kill("closed its output")
        except (ValueError, IndexError, msgspec.MsgspecError):
            self._kill("sent what is no answer")
        exited = await self._exited
        self.gone.set_result(self._sentence(self._killed_because or exited))
        for answer in self._asked:
            if not answer.done():
                answer.set_exception(EngineFailed(self.gone.result()))
                answer.exception()  # who asked may be there no more, and that is no mistake
        self._asked.clear()

    def _run(self, command: list[str], theirs: socket.socket) -> None:
        """In a thread: the process, from its start to its end."""
        try:
            with theirs:
                end = theirs.fileno()
                process = subprocess.Popen(command, stdin=end, stdout=end, stderr=subprocess.PIPE)  # noqa: S603 - ours
        except OSError as error:
            exited = f"could not be started: {error.strerror}"
        else:
            self._process = process
            last_words = b""
            with cast(BufferedReader, process.stderr) as stderr:
                while said := stderr.read1(LAST_WORDS_BYTES):
                    last_words = (last_words + said)[-LAST_WORDS_BYTES:]
            exited = _describe(process.wait(), last_words)
        with suppress(RuntimeError):  # the loop has closed
            self._loop.call_soon_threadsafe(self._exited.set_result, exited)


def _describe(code: int, last_words: bytes) -> str:
    """How a process ended, and the last line that it wrote."""
    if code < 0:
        how = f"was killed by signal {-code} ({signal.strsignal(-code)})"
    else:
        how = f"ended with exit code {code}"
    lines = last_words.decode(errors="replace").split("\n")
    line = next((line for line in reversed(lines) if line.strip()), "")
    line = "".join(character for character in line.strip() if character.isprintable())[:LINE]
    return f"{how}: {line}" if line else how
