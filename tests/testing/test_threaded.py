from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import uvloop

from receiver import files
from receiver.errors import ConfigError
from receiver.events import Samples
from receiver.testing import NotRecorded, RunReceiver, run_receiver


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("receiver")]


@pytest.mark.parametrize(("loop", "kind"), [("uvloop", uvloop.Loop), ("asyncio", asyncio.BaseEventLoop)])
def test_it_runs_in_a_thread_with_a_loop_of_its_own(
    tmp_path: Path, tone: Samples, loop: Literal["uvloop", "asyncio"], kind: type
) -> None:
    with run_receiver(tmp_path, loop=loop) as server:
        assert isinstance(server._loop, kind)
        assert "receiver-testing" in threads()
        recorded = server.play((tone, 8000), codec="L16", rate=8000)
        assert server.url.startswith("ws://127.0.0.1:") and server.url == f"ws://{server.address}/stream"
        assert server.management != server.address and server.token
        assert server.directory == tmp_path / "recordings" == server.receiver.recordings_directory
    assert np.array_equal(recorded.audio()[0], tone)
    assert threads() == []


def test_it_may_be_used_where_a_loop_runs_already(tmp_path: Path, tone: Samples) -> None:
    async def run() -> int:
        with run_receiver(tmp_path) as server:
            return len(server.play((tone, 8000)).audio()[0])

    assert asyncio.run(run()) == len(tone)


def test_calls_one_after_the_other_and_from_threads_find_their_own_folders(run_receiver: RunReceiver) -> None:
    with run_receiver() as server, ThreadPoolExecutor(8) as pool:
        lengths = [160 * number for number in range(1, 9)]
        first = server.play((np.zeros(80, np.int16), 8000))
        at_once = list(pool.map(lambda length: server.play((np.zeros(length, np.int16), 8000)), lengths))
        last = server.play((np.zeros(40, np.int16), 8000))
    assert [len(call.audio()[0]) for call in (first, *at_once, last)] == [80, *lengths, 40]


def test_a_refusal_is_raised_where_the_call_was_made(run_receiver: RunReceiver, tone: Samples) -> None:
    with run_receiver() as server, pytest.raises(NotRecorded, match="HTTP 401"):
        server.play((tone, 8000), token="wrong")


def test_after_its_context_nothing_can_be_played(run_receiver: RunReceiver, tone: Samples) -> None:
    with run_receiver() as server:
        pass
    with pytest.raises(RuntimeError, match="play within its context"):
        server.play((tone, 8000))


def test_what_the_start_raises_is_raised_as_it_is_and_nothing_is_left(run_receiver: RunReceiver) -> None:
    with pytest.raises(ConfigError) as raised, run_receiver(sinks=["./nowhere.py"]):
        raise AssertionError("it has started")
    assert raised.value.key == "sinks.nowhere.use"
    assert threads() == []


def test_a_test_that_fails_stops_it_and_its_own_exception_is_what_is_raised(tmp_path: Path, tone: Samples) -> None:
    started = threading.Event()

    async def endless(stream: Any, events: Any) -> None:
        started.set()
        await asyncio.Event().wait()

    sinks = {"endless": {"use": endless, "finish_timeout_s": 3600}}
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(ZeroDivisionError), run_receiver(tmp_path, sinks=sinks) as server:
            playing = pool.submit(server.play, (tone, 8000))
            assert started.wait(30)
            raise ZeroDivisionError
        assert isinstance(playing.exception(30), CancelledError | asyncio.CancelledError) or playing.result()
    assert "receiver-testing" not in threads()


def test_a_live_call_is_ended_with_its_files_final(tmp_path: Path, tone: Samples) -> None:
    begun = threading.Event()

    async def listening(stream: Any, events: Any) -> None:
        async for _ in events:
            begun.set()

    with ThreadPoolExecutor(1) as pool:
        with run_receiver(tmp_path, sinks=["wav", listening]) as server:
            playing = pool.submit(server.play, (np.tile(tone, 240), 8000), speed=1)  # of two minutes
            assert begun.wait(30)
        recorded = playing.result(30)
    assert recorded.told["end"]["reason"] == "drain" and recorded.outcome.close_code == 1012
    assert 0 < len(recorded.audio()[0]) < 240 * len(tone)


def test_what_stopping_raises_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError), run_receiver(tmp_path):
        monkeypatch.setattr(files, "shutdown", lambda: 1 / 0)  # the last thing that is done
    assert "receiver-testing" not in threads()


def test_a_play_that_is_broken_off_is_given_up(tmp_path: Path, tone: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    with run_receiver(tmp_path, sinks=[]) as server:
        real = asyncio.run_coroutine_threadsafe
        given: list[Any] = []

        def interrupted(coroutine: Any, loop: Any) -> Any:
            future = real(coroutine, loop)
            given.append(future)
            monkeypatch.setattr(future, "result", lambda: 1 / 0, raising=False)  # as Ctrl-C would
            return future

        monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", interrupted)
        with pytest.raises(ZeroDivisionError):
            server.play((np.tile(tone, 240), 8000), speed=1)
        assert given[0].cancelled()
