"""The engine ``vosk_server``: one that runs elsewhere, behind a WebSocket, and speaks the protocol of vosk-server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidProxy, InvalidStatus, InvalidURI, WebSocketException
from websockets.uri import parse_uri

from receiver.errors import ConfigError
from receiver.sinks import Secret

from ..engine import Engine, Recognition
from .backoff import Backoff
from .places import Places
from .vosk_recognition import VoskRecognition, printable

OPEN_S = 5.0
"""How long a connection may take, TLS and handshake included."""

CLOSE_S = 1.0
"""How long a server may take to agree to the end of a connection."""

MESSAGE_BYTES = 2**20
"""Of one answer. An hour of words is less."""

LOCAL = ("localhost", "127.0.0.1", "::1")

log = logging.getLogger("receiver_plugins.transcribe")


@asynccontextmanager
async def vosk_server_engine(
    *, url: str, token: Secret | None = None, places: int = 8, timeout_s: float = 60
) -> AsyncIterator[Engine]:
    """Open it: connects once, to see that the server is there.

    ``url`` is ws or wss; ``token`` is sent as ``Authorization: Bearer``. So many utterances at once as ``places``. A
    message that is not taken or answered within ``timeout_s`` ends its utterance. Raises ConfigError with the option's
    name as its key.
    """
    server = VoskServer(url, token, places, timeout_s)
    await (await server.dial()).close()
    yield server


async def check(*, url: str, token: Secret | None = None) -> list[str]:
    """What is wrong with these options, one line each. Connects, and says nothing."""
    try:
        await (await VoskServer(url, token).dial()).close()
    except ConfigError as error:
        return [str(error)]
    return []


class VoskServer:
    """An Engine behind a WebSocket. Raises ConfigError for a URL that is none."""

    def __init__(self, url: str, token: Secret | None, places: int = 1, timeout_s: float = 60) -> None:
        try:
            parsed = parse_uri(url)
        except (InvalidURI, ValueError):  # no text of the error: it has the URL, which may hold a secret
            raise ConfigError("url", "must be ws://host… or wss://host…") from None
        self._url = url
        self._name = f"the server at {parsed.host}:{parsed.port}"
        self._proxy: Literal[True] | None = None if parsed.host in LOCAL else True
        self._token = token
        self._timeout_s = timeout_s
        self._told = ""
        self._places: Places[Backoff] = Places()
        for _ in range(places):
            self._places.give(Backoff())

    @asynccontextmanager
    async def recognize(self) -> AsyncIterator[Recognition]:
        """A connection of one's own, for one utterance. Waits while the server cannot be reached."""
        place = await self._places.take()
        try:
            connection = await self._reach(place)
            try:
                recognition = VoskRecognition(connection, self._name, self._timeout_s)
                await recognition.begin()
                yield recognition
            finally:
                await connection.close()
        finally:
            self._places.give(place)

    async def dial(self) -> ClientConnection:
        """Connect. Raises ConfigError with the key ``url`` or ``token``, and no secret in it."""
        headers = {} if self._token is None else {"Authorization": f"Bearer {await self._value_of(self._token)}"}
        try:
            return await _Dialling(
                self._url,
                additional_headers=headers,
                compression=None,  # audio does not shrink
                open_timeout=OPEN_S,
                close_timeout=CLOSE_S,
                ping_interval=None,  # a server that decodes is slow to answer; how slow it may be is told
                max_size=MESSAGE_BYTES,
                proxy=self._proxy,
            )
        except InvalidStatus as refusal:
            status = refusal.response.status_code
            if status in (401, 403):
                wants = "wants one" if self._token is None else "refuses it"
                raise ConfigError("token", f"{self._name} {wants} (HTTP {status})") from None
            raise ConfigError("url", f"{self._name} answers HTTP {status}") from None
        except InvalidProxy:  # its text may hold the proxy's password
            raise ConfigError("url", "the environment names a proxy whose address cannot be used") from None
        except (OSError, WebSocketException) as error:  # OSError: nobody listens, unknown host, TLS, time is up
            raise ConfigError("url", f"{self._name} cannot be reached: {printable(str(error))}") from None

    async def _value_of(self, token: Secret) -> str:
        try:
            value = await asyncio.to_thread(token.value)  # it may be in a file
        except ConfigError as error:
            raise ConfigError("token", error.problem) from None
        if not (value.isascii() and value.isprintable()):
            raise ConfigError("token", "only printable ASCII can be sent in a header")
        return value

    async def _reach(self, place: Backoff) -> ClientConnection:
        while True:
            try:
                connection = await self.dial()
            except ConfigError as error:
                if not self._told:  # once, however often it is tried
                    log.error("%s; it is tried again", error)
                self._told = str(error)
                await place.pause()
            else:
                if self._told:
                    log.warning("%s is back", self._name)
                self._told = ""
                place.reset()
                return connection


class _Dialling(connect):
    """A redirect is a refusal: the token is for nobody else."""

    def process_redirect(self, exc: Exception) -> Exception:
        return exc
