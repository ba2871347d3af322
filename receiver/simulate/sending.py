"""Puts what is to be said on a WebSocket when it is due."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence

from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from receiver.simulate.call import Call, messages
from receiver.simulate.connection import Connection, Outcome, Progress, dial, hang_up, printable, target
from receiver.simulate.script import Ending, Said, Way
from receiver.simulate.side import CallError

BATCH = 64  # messages made ahead: 0.64 s of two tracks, and at full speed, as many until answers are read

LONG_S = 0.5  # a pause in which it is worth looking whether the server is still there


async def speak(
    call: Call,
    *,
    url: str,
    token: str | None = None,
    headers: Sequence[tuple[str, str]] = (),
    speed: float = 1.0,
    progress: Progress | None = None,
) -> Outcome:
    """Make the call to ``url`` (ws or wss). ``token`` goes as ``Authorization: Bearer``; ``speed`` inf does not wait.

    Raises CallError for a call that cannot be made as asked; whatever the server or the network do is in the Outcome.
    """
    check_speed(speed)
    said = await asyncio.to_thread(messages, call)
    to = target(url, token, headers)
    outcome = Outcome()
    connection = await dial(to, outcome)
    if connection is not None:
        await send(connection, iter(said), outcome, speed=speed, progress=progress)
    return outcome


async def send(
    connection: Connection,
    said: Iterator[Said],
    outcome: Outcome,
    *,
    speed: float = 1.0,
    progress: Progress | None = None,
    threaded: bool = True,
) -> None:
    """Say all of it, end the connection as told, in order if nothing is told, and note what came of it.

    ``threaded`` takes from ``said`` in a thread, as what reads files or encodes audio must. What ``said`` raises is
    raised once the connection is closed; so is a cancellation.
    """
    clock = asyncio.get_running_loop().time
    paced = not math.isinf(speed)
    making = _make(said, threaded)
    try:
        await asyncio.wait({making})
        began = clock()
        if progress is not None:
            progress(0.0, 0)
        while batch := await making:
            making = _make(said, threaded)
            for position, data in batch:
                due = began + position / speed
                if paced and (wait := due - clock()) > 0:
                    await _wait(connection, wait)
                if isinstance(data, Ending):
                    outcome.ending = data
                    if data.way is not Way.CLOSE and connection.state is not State.OPEN:
                        outcome.error = "the connection ended before we could break it off"
                        return
                    break
                await connection.send(data)
                now = clock()
                outcome.messages += 1
                outcome.characters += len(data)
                outcome.seconds = now - began
                if paced:
                    outcome.worst_late_s = max(outcome.worst_late_s, now - due)
                if progress is not None:
                    progress(position, outcome.messages)
        outcome.complete = True
    except ConnectionClosed as closed:
        outcome.error = printable(f"the connection ended before the call did, {outcome.messages} messages in: {closed}")
    finally:
        await asyncio.gather(making, return_exceptions=True)  # if the file broke as well, one of the two is enough
        try:
            await hang_up(connection, outcome.ending if outcome.complete else Ending())
        except asyncio.CancelledError:
            connection.transport.abort()
            raise
        outcome.received = connection.received
        outcome.close_code = connection.close_code
        outcome.close_reason = printable(connection.close_reason or "")


async def _wait(connection: Connection, seconds: float) -> None:
    """Until a message is due; a server that closes in a long pause is noticed then."""
    if seconds < LONG_S:
        await asyncio.sleep(seconds)
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await connection.wait_closed()


def check_speed(speed: float) -> None:
    """Raise CallError for no speed at all."""
    if not speed > 0:
        raise CallError(f"speed {speed:g}: must be above 0")


def parse_speed(text: str) -> float:
    """A speed as it is written on a command line: a number, or max. Raises CallError."""
    try:
        speed = math.inf if text == "max" else float(text)
    except ValueError:
        speed = math.nan
    if not speed > 0:
        raise CallError(f"--speed {text}: must be a number above 0, or max")
    return speed


def _make(said: Iterator[Said], threaded: bool) -> asyncio.Future[list[Said]]:
    """Take the next messages, in a thread if that may take long; none: it is over."""
    if threaded:
        return asyncio.create_task(asyncio.to_thread(lambda: list(itertools.islice(said, BATCH))))
    made: asyncio.Future[list[Said]] = asyncio.get_running_loop().create_future()
    try:
        made.set_result(list(itertools.islice(said, BATCH)))
    except Exception as error:
        made.set_exception(error)
    return made
