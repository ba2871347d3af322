"""Puts a call's messages on a WebSocket when they are due, and says what the server answered."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidProxy, InvalidStatus, InvalidURI, WebSocketException
from websockets.uri import parse_uri

from receiver.simulate.call import Call, messages
from receiver.simulate.side import CallError

BODY_BYTES = 2000  # of a refusal's body, what is kept
BATCH = 64  # messages made ahead: 0.64 s of two tracks, and at full speed, as many until answers are read

Progress = Callable[[float, int], None]
"""Called with the position in the call (seconds) and the messages sent so far; first with (0, 0), once connected."""


class Outcome(msgspec.Struct, kw_only=True):
    """What came of a call."""

    status: int | None = None  # the HTTP answer to the handshake: 101, or why not; None: there was no answer
    body: str = ""  # of a refusal, clipped, without control characters
    error: str = ""  # what broke, where something did
    close_code: int | None = None  # 1005: a close frame without a code; 1006: no close frame
    close_reason: str = ""
    messages: int = 0  # sent, all kinds
    characters: int = 0  # sent
    received: int = 0  # messages from the server; a one-way stream gets none
    complete: bool = False  # every message was sent
    seconds: float = 0.0  # from the first message to the last
    worst_late_s: float = 0.0  # how late the latest message left; 0 at full speed

    @property
    def ok(self) -> bool:
        """The server took the whole call and ended it in order."""
        return self.complete and self.close_code in (1000, 1001, 1005)

    @property
    def messages_per_s(self) -> float:
        """How fast they went."""
        return self.messages / self.seconds if self.seconds else 0.0


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
    if not speed > 0:
        raise CallError(f"speed {speed:g}: must be above 0")
    said = await asyncio.to_thread(messages, call)
    try:
        local = parse_uri(url).host in ("localhost", "127.0.0.1", "::1")
    except (InvalidURI, ValueError) as error:  # no text of the error: it has the URL, which may hold a token
        raise CallError("the URL must be ws://host… or wss://host…") from error
    outcome = Outcome()
    try:
        connection = await _Dialling(
            url,
            additional_headers=_headers(token, headers),
            compression=None,  # platforms offer none
            proxy=None if local else True,
            ping_interval=None,  # a server that is slow is to be seen as late, not as gone
        )
    except InvalidStatus as refusal:
        outcome.status = refusal.response.status_code
        outcome.body = _printable(bytes(refusal.response.body or b"")[:BODY_BYTES].decode("utf-8", "replace"))
    except InvalidProxy:  # its text may hold the proxy's password
        outcome.error = "the environment names a proxy whose address cannot be used"
    except (OSError, WebSocketException) as error:  # OSError: refused, unknown host, TLS, time is up
        outcome.error = _printable(str(error)) or type(error).__name__
    else:
        outcome.status = 101
        async with connection:
            await _send(connection, said, outcome, speed, progress or (lambda _position, _sent: None))
        outcome.close_code = connection.close_code
        outcome.close_reason = _printable(connection.close_reason or "")
    return outcome


async def _send(
    connection: ClientConnection,
    said: Iterator[tuple[float, str]],
    outcome: Outcome,
    speed: float,
    progress: Progress,
) -> None:
    clock = asyncio.get_running_loop().time
    reading = asyncio.create_task(_read(connection, outcome))
    making = _make(said)
    try:
        await asyncio.wait({making})
        began = clock()
        progress(0.0, 0)
        while batch := await making:
            making = _make(said)
            for position, message in batch:
                due = began + position / speed
                wait = due - clock()
                if wait > 0 and not math.isinf(speed):
                    await asyncio.sleep(wait)
                await connection.send(message)
                now = clock()
                outcome.messages += 1
                outcome.characters += len(message)
                outcome.seconds = now - began
                if not math.isinf(speed):
                    outcome.worst_late_s = max(outcome.worst_late_s, now - due)
                progress(position, outcome.messages)
        outcome.complete = True
    except ConnectionClosed as closed:
        outcome.error = _printable(
            f"the connection ended before the call did, {outcome.messages} messages in: {closed}"
        )
    finally:
        await asyncio.gather(making, return_exceptions=True)  # if the file broke as well, one of the two is enough
        await connection.close()
        await reading


def _make(said: Iterator[tuple[float, str]]) -> asyncio.Task[list[tuple[float, str]]]:
    """Read and encode the next messages in a thread, so that this does not make others late; none: the call is over."""
    return asyncio.create_task(asyncio.to_thread(lambda: list(itertools.islice(said, BATCH))))


async def _read(connection: ClientConnection, outcome: Outcome) -> None:
    """Take what a server may say, so that its pings and close frames are seen."""
    with contextlib.suppress(ConnectionClosed):
        async for _ in connection:
            outcome.received += 1


class _Dialling(connect):
    """A redirect is an answer like any other refusal: no platform says that it follows them."""

    def process_redirect(self, exc: Exception) -> Exception:
        return exc


def _headers(token: str | None, headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    given = list(headers)
    if token and not any(name.lower() == "authorization" for name, _ in given):
        given.append(("Authorization", f"Bearer {token}"))
    for name, value in given:
        if not (name.isascii() and name.replace("-", "").replace("_", "").isalnum()):
            raise CallError(f"header {name!r}: not a header's name")
        if not (value.isascii() and value.isprintable()):  # the value may be a secret: not in the error
            raise CallError(f"header {name}: only printable ASCII can be sent")
    return given


def _printable(text: str) -> str:
    """What a server said, safe to show in a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
