"""A receiver that runs in this event loop, and calls to it."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Unpack

from receiver.asgi.server import Addresses, listening
from receiver.config import Config
from receiver.errors import ReceiverError
from receiver.simulate import Call, Outcome, speak
from receiver.simulate.connection import dial, target
from receiver.simulate.sending import send
from receiver.simulate.tape import Tape
from receiver.testing.handed import handing
from receiver.testing.imports import imports_taken_back
from receiver.testing.material import Audio, PlayOptions, as_call, speed_of
from receiver.testing.recorded import Recorded
from receiver.testing.tables import Sinks, configuration
from receiver.testing.watched import HEADER, Watch, WatchedReceiver

GRACE_S = 30.0
"""Beyond the time that sinks have after the end of a call: how long ``play`` waits for a recording to be final."""


class NotRecorded(ReceiverError):
    """A call left no recording: it was refused, or no stream has started. ``outcome`` is what the client saw."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome

    def __str__(self) -> str:
        seen = self.outcome
        if seen.status is None:
            return f"the call did not come through: {seen.error}"
        if seen.status != 101:
            return f"the call was refused with HTTP {seen.status}: {seen.body.strip()}"
        closed = f"{seen.close_code} {seen.close_reason}".rstrip()
        return (
            f"no stream has started; the connection was closed with {closed}, and the line 'connection_ended' of the "
            "log (INFO) says why"
        )


class RunningReceiver:
    """What ``running_receiver`` gives: where the receiver is, and ``play``."""

    def __init__(self, receiver: WatchedReceiver, addresses: Addresses, token: str) -> None:
        self.receiver = receiver
        """The Receiver itself. It belongs to the loop that it runs in."""
        self.address = reachable(addresses.public)
        """Host and port of the public listener."""
        self.management = reachable(addresses.management)
        """Host and port of the private one: metrics and health."""
        self.token = token
        self.directory = receiver.recordings_directory
        """Below it are the recordings."""

    @property
    def url(self) -> str:
        """Where calls to the first source go: ``ws://127.0.0.1:…/stream``."""
        return self._url({})

    async def play(self, what: Audio, **options: Unpack[PlayOptions]) -> Recorded:
        """Make a call of an audio file, of samples with their rate, or of a capture, and wait for its recording.

        Late sinks are waited for as well, for as long as their ``finish_timeout_s`` allows. Several calls may be made
        at once. Raises CallError or CaptureError for what cannot be played, and NotRecorded where the server made no
        recording of it.
        """
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="receiver-testing-"))
        try:
            said = await asyncio.to_thread(as_call, what, options, self._dialect(options), folder)
            with self.receiver.watching() as watch:
                outcome = await self._say(said, options, watch.key)
                if outcome.status == 101:
                    await self._final(watch)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        if watch.stream is None:
            raise NotRecorded(outcome)
        return await asyncio.to_thread(Recorded.read, watch.stream.directory, outcome)

    async def _final(self, watch: Watch) -> None:
        patience_s = GRACE_S + max((sink.finish_timeout_s for sink in self.receiver.config.sinks.values()), default=0.0)
        try:
            async with asyncio.timeout(patience_s):
                await watch.over()
        except TimeoutError:
            where = "" if watch.stream is None else f" in {watch.stream.directory}"
            raise TimeoutError(f"the recording{where} is not final {patience_s:g} s after the call") from None

    async def _say(self, said: Call | Path, options: PlayOptions, key: str) -> Outcome:
        url, token, headers = self._url(options), options.get("token", self.token), [(HEADER, key)]
        speed = speed_of(options)
        if isinstance(said, Call):
            return await speak(said, url=url, token=token, headers=headers, speed=speed)
        tape, outcome = await asyncio.to_thread(Tape, said), Outcome()
        connection = await dial(target(url, token, headers), outcome)
        if connection is not None:
            await send(connection, tape.said(), outcome, speed=speed, threaded=not tape.held)
        return outcome

    def _source(self, options: PlayOptions) -> str:
        sources = self.receiver.config.sources
        name = options.get("source", next(iter(sources)))
        if name not in sources:
            raise ValueError(f"there is no source {name!r}, but {', '.join(sources)}")
        return name

    def _url(self, options: PlayOptions) -> str:
        path = options.get("path") or self.receiver.config.sources[self._source(options)].path
        return f"ws://{self.address}{path}"

    def _dialect(self, options: PlayOptions) -> str:
        dialect = self.receiver.config.sources[self._source(options)].dialect
        return "signalwire" if dialect == "auto" else dialect


def reachable(address: tuple[str, int]) -> str:
    """Host and port to connect to, for a listener that is bound to ``address``."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address[0], address[0])  # noqa: S104 - what may be bound
    return f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"


@contextmanager
def prepared(
    directory: Path | None, sinks: Sinks | None, base: Path | None, tables: Mapping[str, Any]
) -> Iterator[tuple[Config, str]]:
    """The configuration and its token; what it needs in the process is taken back afterwards. Blocks."""
    token = secrets.token_urlsafe(16)
    with ExitStack() as stack:
        if directory is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="receiver-testing-")))
        config = configuration(
            tables,
            sinks=sinks,
            hand=stack.enter_context(handing()),
            directory=directory.absolute(),
            base=(base or Path.cwd()).absolute(),
            token=token,
        )
        stack.enter_context(imports_taken_back(config))
        yield config, token


@asynccontextmanager
async def running_receiver(
    directory: Path | None = None, *, sinks: Sinks | None = None, base: Path | None = None, **tables: Any
) -> AsyncIterator[RunningReceiver]:
    """``async with running_receiver(sinks=[my_sink]) as server:`` runs a receiver on free ports of the loopback.

    ``sinks``: by name or as a list, each the object itself, a ``use`` or a table; None: ``wav``. The other keywords
    are tables of the configuration, e.g. ``limits={"idle_timeout_s": 5}``. Recordings go below ``directory``, a
    temporary one otherwise; relative paths start from ``base``, else from the working directory.

    Leaving it ends what is live; where an exception leaves it, late sinks are not waited for. Raises ConfigError as
    the server does.
    """
    stack = ExitStack()
    try:
        config, token = await asyncio.to_thread(stack.enter_context, prepared(directory, sinks, base, tables))
        receiver = WatchedReceiver(config)
        async with listening(receiver) as addresses:
            try:
                yield RunningReceiver(receiver, addresses, token)
            except BaseException:
                receiver.hurry()
                raise
    finally:
        await asyncio.to_thread(stack.close)
