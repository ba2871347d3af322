"""The engine ``vosk_server``: one that runs elsewhere, behind a WebSocket, and speaks the protocol of vosk-server.

As the published server has it (alphacep/vosk-server, websocket/asr_server.py, read 2026-11-21): the client says
``{"config": {"sample_rate": …}}``, which nobody answers, and sends binary PCM, int16. Each binary message is answered
by ``{"partial": "…"}``, or, where the server found the end of a phrase, by ``{"text": "…", "result": [{"word", "start",
"end", "conf"}]}``, in seconds since the connection began. ``{"eof" : 1}``, letter by letter, is answered by the last
phrase, and the close. So an utterance is a connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Literal

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidProxy, InvalidStatus, InvalidURI, WebSocketException
from websockets.uri import parse_uri

from receiver.errors import ConfigError
from receiver.sinks import Secret

from ..engine import RATE, Engine, EngineFailed, Heard, Int16Array, Recognition, Word
from .backoff import Backoff
from .places import Places
from .placing import placed

OPEN_S = 5.0
"""How long a connection may take, TLS and handshake included."""

CLOSE_S = 1.0
"""How long a server may take to agree to the end of a connection."""

MESSAGE_BYTES = 2**20
"""Of one answer. An hour of words is less."""

PIECE = RATE // 4
"""Samples in a message: as many as the published examples send at once."""

UNANSWERED = 8
"""Messages that may be on their way: enough to hide a network's delay, and two seconds of audio at the most."""

CONFIG = '{"config": {"sample_rate": 16000, "words": true, "max_alternatives": 0}}'
EOF = '{"eof" : 1}'  # the published server compares the text, so the space belongs to it

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
                recognition = _VoskRecognition(connection, self._name, self._timeout_s)
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
            raise ConfigError("url", f"{self._name} cannot be reached: {_printable(str(error))}") from None

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


class _Word(msgspec.Struct):
    word: str
    start: float
    end: float
    conf: float | None = None


class _Reply(msgspec.Struct):
    partial: str | None = None
    text: str | None = None
    result: tuple[_Word, ...] = ()


_read = msgspec.json.Decoder(_Reply).decode


class _VoskRecognition:
    """A Recognition over one connection."""

    def __init__(self, connection: ClientConnection, name: str, timeout_s: float) -> None:
        self._connection = connection
        self._name = name
        self._timeout_s = timeout_s
        self._fed = 0  # samples
        self._final = 0  # where the last final ends
        self._unanswered = 0  # messages
        self._told = ""

    async def begin(self) -> None:
        """Say what will be sent."""
        await self._send(CONFIG)

    async def feed(self, samples: Int16Array) -> Sequence[Heard]:
        heard: list[Heard] = []
        for at in range(0, len(samples), PIECE):
            piece = samples[at : at + PIECE]
            await self._send(piece.tobytes())
            self._fed += len(piece)
            self._unanswered += 1
            if self._unanswered == UNANSWERED:
                heard = self._after(heard, await self._answer())
        while self._unanswered:
            heard = self._after(heard, await self._answer())
        return heard

    async def finish(self) -> Sequence[Heard]:
        await self._send(EOF)
        answer = await self._answer()
        if answer.text is None:
            raise EngineFailed(f"{self._name} answered the end with a partial")
        return self._after([], answer)

    async def _send(self, message: str | bytes) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._connection.send(message)
        except TimeoutError:
            self._connection.transport.abort()  # what it does not read, it would not read before a close either
            raise EngineFailed(f"{self._name} took nothing for {self._timeout_s:g} s") from None
        except ConnectionClosed as error:
            raise EngineFailed(f"{self._name} closed the connection ({_printable(str(error))})") from None

    async def _answer(self) -> _Reply:
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = _read(await self._connection.recv())
        except TimeoutError:
            self._connection.transport.abort()
            raise EngineFailed(f"{self._name} did not answer within {self._timeout_s:g} s") from None
        except ConnectionClosed as error:
            raise EngineFailed(f"{self._name} closed the connection ({_printable(str(error))})") from None
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise EngineFailed(f"{self._name} sent what is no answer: {_printable(str(error))}") from None
        if answer.partial is None and answer.text is None:
            raise EngineFailed(f"{self._name} sent what is no answer: it has neither a partial nor a text")
        self._unanswered -= 1
        return answer

    def _after(self, heard: list[Heard], answer: _Reply) -> list[Heard]:
        """What is to be told after one more answer: it may have something new, and takes the place of a partial."""
        finals = [one for one in heard if one.final]
        if answer.text is None:
            text = (answer.partial or "").strip()
            if text == self._told:
                return heard
            self._told = text
            return [*finals, Heard(text, False, self._final, self._fed)] if text else finals
        self._told = ""
        words = tuple(
            Word(word.word, self._at(word.start), self._at(word.end), _confidence(word.conf)) for word in answer.result
        )
        start, end = (words[0].start, words[-1].end) if words else (self._final, self._fed)
        self._final = end
        text = answer.text.strip()
        return [*finals, placed(Heard(text, True, start, end, words), 0, self._fed)] if text else finals

    def _at(self, seconds: float) -> int:
        return round(min(max(seconds, 0.0), self._fed / RATE) * RATE)


def _confidence(value: float | None) -> float | None:
    return value if value is not None and 0 <= value <= 1 else None


def _printable(text: str) -> str:
    """What a server or a library said, in one line of bearable length."""
    return "".join(character for character in " ".join(text.split()) if character.isprintable())[:200]
