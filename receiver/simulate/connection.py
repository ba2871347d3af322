"""A connection as a platform makes it: dialled, and hung up in any of the ways in which connections end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import re
import socket
import struct
import sys
import termios
from collections.abc import Callable, Sequence
from typing import cast

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidProxy, InvalidStatus, InvalidURI, WebSocketException
from websockets.frames import DATA_OPCODES, Frame
from websockets.protocol import Event
from websockets.uri import parse_uri

from receiver.simulate.script import Ending, Way
from receiver.simulate.side import CallError

BODY_BYTES = 2000  # of a refusal's body, what is kept
UNREAD_S = 5.0  # how long a server may read nothing, at the end, of what was sent before the close frame
CUT_WAIT_S = 2.0  # how long what was sent may take to arrive before a connection is cut behind it

_ERRNO = re.compile(r"\[Errno (\d+)\]")

Progress = Callable[[float, int], None]
"""Called with the position in the call (seconds) and the messages sent so far; first with (0, 0), once connected."""


class Target(msgspec.Struct, frozen=True):
    """Where to call, checked; the URL and the headers may hold secrets."""

    url: str
    headers: tuple[tuple[str, str], ...]
    local: bool
    address: str = ""  # host and port


class Outcome(msgspec.Struct, kw_only=True):
    """What came of a call."""

    status: int | None = None  # the HTTP answer to the handshake: 101, or why not; None: there was no answer
    body: str = ""  # of a refusal, clipped, without control characters
    error: str = ""  # what broke, where something did
    close_code: int | None = None  # 1005: a close frame without a code; 1006: no close frame
    close_reason: str = ""
    messages: int = 0  # sent, all kinds
    characters: int = 0  # sent; of a binary message, bytes
    received: int = 0  # messages from the server; a one-way stream gets none
    complete: bool = False  # every message was sent
    ending: Ending = Ending()  # how we ended it, if it was complete
    seconds: float = 0.0  # from the first message to the last
    worst_late_s: float = 0.0  # how late the latest message left; 0 at full speed

    @property
    def ok(self) -> bool:
        """The server took the whole call and ended it in order, or we ended it otherwise on purpose."""
        in_order = (1000, 1001, 1005, self.ending.code)
        return self.complete and (self.ending.way is not Way.CLOSE or self.close_code in in_order)

    @property
    def messages_per_s(self) -> float:
        """How fast they went."""
        return self.messages / self.seconds if self.seconds else 0.0


class Connection(ClientConnection):
    """Counts what a server says, and keeps nothing of it: pings and close frames are seen whoever reads."""

    received = 0

    def process_event(self, event: Event) -> None:
        """Take a frame, or the answer to the handshake."""
        if isinstance(event, Frame) and event.opcode in DATA_OPCODES:
            self.received += event.fin
        else:
            super().process_event(event)


def target(url: str, token: str | None = None, headers: Sequence[tuple[str, str]] = ()) -> Target:
    """Check where to call: ``url`` is ws or wss, ``token`` goes as ``Authorization: Bearer``. Raises CallError."""
    try:
        parsed = parse_uri(url)
    except (InvalidURI, ValueError) as error:  # no text of the error: it has the URL, which may hold a token
        raise CallError("the URL must be ws://host… or wss://host…") from error
    given = list(headers)
    if token and not any(name.lower() == "authorization" for name, _ in given):
        given.append(("Authorization", f"Bearer {token}"))
    for name, value in given:
        if not (name.isascii() and name.replace("-", "").replace("_", "").isalnum()):
            raise CallError(f"header {name!r}: not a header's name")
        if not (value.isascii() and value.isprintable()):  # the value may be a secret: not in the error
            raise CallError(f"header {name}: only printable ASCII can be sent")
    local = parsed.host in ("localhost", "127.0.0.1", "::1")
    return Target(url, tuple(given), local, f"{parsed.host}:{parsed.port}")


def parse_header(text: str) -> tuple[str, str]:
    """A header as it is written on a command line, ``NAME: VALUE``. Raises CallError, without the text."""
    name, found, value = text.partition(":")
    if not found or not name.strip():  # not the text itself: it may be a secret
        raise CallError("--header: must be NAME:VALUE")
    return name.strip(), value.strip()


async def dial(to: Target, outcome: Outcome) -> Connection | None:
    """Connect. What the server or the network answered is in the outcome; None: there is no connection."""
    try:
        connection = await _Dialling(
            to.url,
            additional_headers=to.headers,
            compression=None,  # platforms offer none
            proxy=None if to.local else True,
            ping_interval=None,  # a server that is slow is to be seen as late, not as gone
            create_connection=Connection,
        )
    except InvalidStatus as refusal:
        outcome.status = refusal.response.status_code
        outcome.body = printable(bytes(refusal.response.body or b"")[:BODY_BYTES].decode("utf-8", "replace"))
        return None
    except InvalidProxy:  # its text may hold the proxy's password
        outcome.error = "the environment names a proxy whose address cannot be used"
        return None
    except (OSError, WebSocketException) as error:  # OSError: refused, unknown host, TLS, time is up
        outcome.error = printable(str(error)) or type(error).__name__
        if set(_ERRNO.findall(str(error))) == {str(errno.ECONNREFUSED)}:  # by every address that the name has
            outcome.error = f"nobody listens at {to.address}"
        return None
    outcome.status = 101
    return cast(Connection, connection)


async def hang_up(connection: Connection, ending: Ending) -> None:
    """End a connection as told, and wait until it is gone. What was sent before a FIN or a reset arrives first."""
    if ending.way is Way.CLOSE:
        await _close(connection, ending)
        return
    transport = connection.transport
    if ending.way is Way.RESET:
        await _delivered(transport)
        with contextlib.suppress(OSError):
            linger = struct.pack("ii", 1, 0)  # on, for no time: closing is a reset
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()
    elif transport.can_write_eof():
        transport.write_eof()
        await asyncio.wait({asyncio.ensure_future(connection.wait_closed())}, timeout=CUT_WAIT_S)
        transport.abort()
    else:  # TLS: its own end, then the FIN
        transport.close()
    await connection.wait_closed()


async def _close(connection: Connection, ending: Ending) -> None:
    """With a close frame, unless the server has stopped reading: then it never comes to that, and is not waited for."""
    closing = asyncio.ensure_future(connection.close(ending.code, ending.text))
    unsent = 0
    while not (await asyncio.wait({closing}, timeout=UNREAD_S))[0]:
        before, unsent = unsent, connection.transport.get_write_buffer_size()
        if unsent >= before > 0:
            connection.transport.abort()
    await closing


async def _delivered(transport: asyncio.Transport) -> None:
    """Wait, within limits, until the other side's kernel has all that was written, as a reset would throw it away."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + CUT_WAIT_S
    while clock() < deadline and (transport.get_write_buffer_size() or _unacknowledged(transport)):  # noqa: ASYNC110 - a kernel tells nobody
        await asyncio.sleep(0.002)


def _unacknowledged(transport: asyncio.Transport) -> int:
    """Bytes that the kernel has sent, or is to send, and of which the other side has not said that they came."""
    answer = bytearray(4)
    try:
        fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, answer)
    except (OSError, ValueError):  # gone meanwhile, or a system that does not say
        return 0
    return int.from_bytes(answer, sys.byteorder)


class _Dialling(connect):
    """A redirect is an answer like any other refusal: no platform says that it follows them."""

    def process_redirect(self, exc: Exception) -> Exception:
        return exc


def printable(text: str) -> str:
    """What a server said, safe to show in a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
