"""The protocol of vosk-server, against a server that speaks it on a real socket, and some that do not."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest
from receiver_plugins.transcribe.engine import RATE, EngineFailed, Heard, Word
from receiver_plugins.transcribe.engines import vosk_recognition
from receiver_plugins.transcribe.engines.vosk_recognition import EOF, PIECE, UNANSWERED
from receiver_plugins.transcribe.engines.vosk_server import MESSAGE_BYTES, vosk_server_engine
from websockets.asyncio.server import ServerConnection

QUIET = np.zeros(PIECE, np.int16)


def test_phrases_are_finals_with_positions_in_the_utterance(kit: Any) -> None:
    server = kit.VoskServer()

    async def main() -> None:
        async with kit.serving(server) as url, vosk_server_engine(url=url) as engine, engine.recognize() as recognition:
            assert await recognition.feed(QUIET[:0]) == []
            assert await recognition.feed(QUIET) == [Heard("so far", False, 0, PIECE)]
            assert await recognition.feed(QUIET) == []  # nothing new
            first = Heard("second", True, 0, RATE // 2, (Word("second", 0, RATE // 2, 0.25),))
            assert await recognition.feed(np.zeros(RATE, np.int16)) == [
                first,
                Heard("so far", False, RATE // 2, RATE * 3 // 2),
            ]
            assert await recognition.finish() == [
                Heard("second", True, RATE, RATE * 3 // 2, (Word("second", RATE, RATE * 3 // 2, 0.25),))
            ]

    kit.run(main())
    assert server.configs == [{"sample_rate": 16000, "words": True, "max_alternatives": 0}]
    assert server.headers == [None, None]


def test_nothing_said_is_nothing_heard(kit: Any) -> None:
    async def main() -> None:
        async with (
            kit.serving(kit.VoskServer()) as url,
            vosk_server_engine(url=url) as engine,
            engine.recognize() as recognition,
        ):
            heard = await recognition.feed(np.zeros(3 * RATE, np.int16))  # more than may be on its way at once
            assert 3 * RATE > UNANSWERED * PIECE
            assert [one.final for one in heard] == [True, True]
            assert await recognition.finish() == []

    kit.run(main())


@pytest.mark.parametrize(
    ("answer", "heard"),
    [
        ({"text": " no words "}, Heard("no words", True, 0, PIECE)),
        (
            {"text": "wild", "result": [{"word": "wild", "start": -1e300, "end": 1e300, "conf": 7}]},
            Heard("wild", True, 0, PIECE, (Word("wild", 0, PIECE, None),)),
        ),
        (
            {"text": "bare", "result": [{"word": "bare", "start": 0, "end": 0.1}], "spk": [1.0]},
            Heard("bare", True, 0, 1600, (Word("bare", 0, 1600, None),)),
        ),
    ],
)
def test_answers_are_taken_as_they_are_within_bounds(kit: Any, answer: dict[str, Any], heard: Heard) -> None:
    async def behave(connection: ServerConnection, message: bytes) -> None:
        await connection.send(json.dumps(answer))

    async def main() -> None:
        async with kit.serving(kit.VoskServer(behave)) as url, vosk_server_engine(url=url) as engine:
            async with engine.recognize() as recognition:
                assert await recognition.feed(QUIET) == [heard]

    kit.run(main())


@pytest.mark.parametrize(
    "garbage",
    ["gibberish", b"\xff\xfe", "[]", "{}", '{"partial": 5}', '{"text": "a", "result": [{"word": "a"}]}', "NaN"],
)
def test_what_is_no_answer_ends_the_utterance(kit: Any, garbage: str | bytes) -> None:
    async def behave(connection: ServerConnection, message: bytes) -> None:
        await connection.send(garbage)

    async def main() -> None:
        async with kit.serving(kit.VoskServer(behave)) as url, vosk_server_engine(url=url) as engine:
            async with engine.recognize() as recognition:
                with pytest.raises(EngineFailed, match=r"the server at 127.0.0.1:\d+ sent what is no answer") as raised:
                    await recognition.feed(QUIET)
                assert "hidden" not in str(raised.value)

    kit.run(main())


def test_an_answer_that_is_too_long_ends_the_utterance(kit: Any) -> None:
    async def behave(connection: ServerConnection, message: bytes) -> None:
        await connection.send(json.dumps({"partial": "a" * MESSAGE_BYTES}))

    async def main() -> None:
        async with kit.serving(kit.VoskServer(behave)) as url, vosk_server_engine(url=url) as engine:
            async with engine.recognize() as recognition:
                with pytest.raises(EngineFailed, match="closed the connection"):
                    await recognition.feed(QUIET)

    kit.run(main())


def test_a_server_that_answers_the_end_with_a_partial_is_none(kit: Any) -> None:
    async def handler(connection: ServerConnection) -> None:
        async for message in connection:
            if message == EOF:
                await connection.send('{"partial": "more"}')

    async def main() -> None:
        async with (
            kit.serving(handler) as url,
            vosk_server_engine(url=url) as engine,
            engine.recognize() as recognition,
        ):
            with pytest.raises(EngineFailed, match="answered the end with a partial"):
                await recognition.finish()

    kit.run(main())


def test_a_server_that_closes_early_ends_the_utterance(kit: Any) -> None:
    async def behave(connection: ServerConnection, message: bytes) -> None:
        await connection.close(1011, "out of memory")

    async def main() -> None:
        async with kit.serving(kit.VoskServer(behave)) as url, vosk_server_engine(url=url) as engine:
            async with engine.recognize() as recognition:
                with pytest.raises(EngineFailed, match=r"closed the connection \(.*1011.*out of memory"):
                    await recognition.feed(QUIET)
                with pytest.raises(EngineFailed, match="closed the connection"):
                    await recognition.finish()

    kit.run(main())


def test_a_server_that_does_not_answer_ends_the_utterance_in_time(kit: Any) -> None:
    async def behave(connection: ServerConnection, message: bytes) -> None:
        pass

    async def main() -> None:
        async with kit.serving(kit.VoskServer(behave)) as url, vosk_server_engine(url=url, timeout_s=0.2) as engine:
            async with engine.recognize() as recognition:
                with pytest.raises(EngineFailed, match=r"did not answer within 0.2 s"):
                    await recognition.feed(QUIET)

    kit.run(main())


def test_a_server_that_stops_reading_holds_no_more_than_is_allowed(kit: Any) -> None:
    over = asyncio.Event()

    async def behave(connection: ServerConnection, message: bytes) -> None:
        connection.transport.pause_reading()
        await over.wait()

    async def main() -> None:
        async with (
            kit.serving(kit.VoskServer(behave), close_timeout=0.1) as url,
            vosk_server_engine(url=url, timeout_s=0.5) as engine,
        ):
            async with engine.recognize() as recognition:
                with pytest.raises(EngineFailed, match="did not answer within"):
                    await recognition.feed(np.zeros(600 * RATE, np.int16))
            over.set()

    kit.run(main())


def test_a_socket_that_takes_nothing_ends_the_utterance(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vosk_recognition, "PIECE", 4_000_000)  # more than both kernels take

    over = asyncio.Event()

    async def handler(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await over.wait()

    async def main() -> None:
        async with kit.serving(handler, close_timeout=0.1) as url, vosk_server_engine(url=url, timeout_s=0.5) as engine:
            async with engine.recognize() as recognition:
                with pytest.raises(EngineFailed, match=r"took nothing for 0.5 s"):
                    await recognition.feed(np.zeros(8_000_000, np.int16))
            over.set()

    kit.run(main())
