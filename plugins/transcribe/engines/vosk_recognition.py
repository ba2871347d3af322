"""One utterance, over one connection, in the protocol of vosk-server.

As the published server has it (alphacep/vosk-server, websocket/asr_server.py, read 2026-11-21): the client says
``{"config": {"sample_rate": …}}``, which nobody answers, and sends binary PCM, int16. Each binary message is answered
by ``{"partial": "…"}``, or, where the server found the end of a phrase, by ``{"text": "…", "result": [{"word", "start",
"end", "conf"}]}``, in seconds since the connection began. ``{"eof" : 1}``, letter by letter, is answered by the last
phrase, and the close. So an utterance is a connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from ..engine import RATE, EngineFailed, Heard, Int16Array, Word
from .placing import placed

PIECE = RATE // 4
"""Samples in a message: as many as the published examples send at once."""

UNANSWERED = 8
"""Messages that may be on their way: enough to hide a network's delay, and two seconds of audio at the most."""

CONFIG = '{"config": {"sample_rate": 16000, "words": true, "max_alternatives": 0}}'
EOF = '{"eof" : 1}'  # the published server compares the text, so the space belongs to it


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


class VoskRecognition:
    """A Recognition over one connection, to a server that is called ``name``."""

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
        """Send them, and wait until all of it is answered."""
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
        """Say that it is over, and wait for the last phrase."""
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
            raise EngineFailed(f"{self._name} closed the connection ({printable(str(error))})") from None

    async def _answer(self) -> _Reply:
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = _read(await self._connection.recv())
        except TimeoutError:
            self._connection.transport.abort()
            raise EngineFailed(f"{self._name} did not answer within {self._timeout_s:g} s") from None
        except ConnectionClosed as error:
            raise EngineFailed(f"{self._name} closed the connection ({printable(str(error))})") from None
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise EngineFailed(f"{self._name} sent what is no answer: {printable(str(error))}") from None
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


def printable(text: str) -> str:
    """What a server or a library said, in one line of bearable length."""
    return "".join(character for character in " ".join(text.split()) if character.isprintable())[:200]
