"""Workers as an engine: lent out, killed, stuck, replaced; each of them a real process."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvloop
from receiver_plugins.transcribe.engine import RATE, Engine, EngineFailed
from receiver_plugins.transcribe.engines.worker_pool import PART, worker_pool

from receiver.errors import ConfigError

QUIET = np.zeros(1600, np.int16)
PRINT, EXIT, MEET, WAIT = (np.full(1600, command, np.int16) for command in (1, 2, 3, 4))

pytestmark = pytest.mark.usefixtures("nothing_left")

Pool = Callable[..., AbstractAsyncContextManager[Engine]]


@pytest.fixture
def pool(toy: Path) -> Pool:
    """Open a pool of toy workers."""

    @asynccontextmanager
    async def open_pool(workers: int = 1, timeout_s: float = 20) -> AsyncIterator[Engine]:
        async with worker_pool("toy", "toy_worker", str(toy), workers=workers, timeout_s=timeout_s) as opened:
            yield opened

    return open_pool


async def pid_of(engine: Engine, kit: Any) -> int:
    (heard,) = kit.finals(await kit.listen(engine, QUIET))
    return int(heard)


def test_an_utterance_is_told_as_it_comes_and_stays_within_what_was_fed(pool: Pool, kit: Any) -> None:
    async def main() -> None:
        async with pool() as engine, engine.recognize() as recognition:
            assert [(one.text, one.final) for one in await recognition.feed(QUIET)] == [("1600", False)]
            assert [(one.text, one.end) for one in await recognition.feed(PRINT)] == [("3200", 3200)]
            assert await recognition.feed(QUIET[:0]) == []
            (heard,) = await recognition.finish()
            assert (heard.final, heard.start, heard.end) == (True, 0, 3200)  # the toy says five more
            assert [(word.start, word.end, word.confidence) for word in heard.words] == [(3, 3200, 0.5)]

    kit.run(main())


def test_a_long_utterance_is_finished_in_parts(pool: Pool, kit: Any) -> None:
    async def main() -> None:
        async with pool() as engine, engine.recognize() as recognition:
            heard = await recognition.feed(np.zeros(2 * PART + RATE, np.int16))
            assert [(one.final, one.start, one.end) for one in heard] == [
                (True, 0, PART),
                (True, PART, 2 * PART),
                (False, 2 * PART, 2 * PART + RATE),
            ]
            (rest,) = await recognition.finish()
            assert (rest.start, rest.end) == (2 * PART, 2 * PART + RATE)
            assert rest.words[0].start == 2 * PART + 3

    kit.run(main())


def test_a_worker_that_is_killed_is_replaced(pool: Pool, kit: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with pool() as engine:
            pid = await pid_of(engine, kit)
            async with engine.recognize() as recognition:
                await recognition.feed(QUIET)
                os.kill(pid, signal.SIGKILL)
                with pytest.raises(EngineFailed, match=r"^the worker of toy was killed by signal 9 \(Killed\)$"):
                    while True:
                        await recognition.feed(QUIET)
                with pytest.raises(EngineFailed, match="signal 9"):
                    await recognition.finish()
            assert await pid_of(engine, kit) != pid
            assert not kit.alive(pid)

    with caplog.at_level(logging.INFO):
        kit.run(main())
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "receiver_plugins.transcribe",
            "ERROR",
            "the worker of toy was killed by signal 9 (Killed); another one is started",
        ),
        ("receiver_plugins.transcribe", "WARNING", "toy works again"),
    ]


def test_a_worker_that_dies_while_nobody_needs_it_is_replaced(pool: Pool, kit: Any) -> None:
    async def main() -> None:
        async with pool() as engine:
            pid = await pid_of(engine, kit)
            os.kill(pid, signal.SIGKILL)
            await kit.until(lambda: not kit.alive(pid))
            assert await pid_of(engine, kit) != pid

    kit.run(main())


def test_workers_that_died_just_now_fail_nobody(pool: Pool, kit: Any) -> None:
    async def main() -> None:
        async with pool(workers=2) as engine:
            both = await asyncio.gather(kit.listen(engine, MEET), kit.listen(engine, MEET))
            pids = {int(*kit.finals(heard)) for heard in both}
            assert len(pids) == 2
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            assert await pid_of(engine, kit) not in pids

    kit.run(main())


def test_a_worker_that_fails_says_its_last_line(pool: Pool, kit: Any) -> None:
    async def main() -> None:
        async with pool() as engine, engine.recognize() as recognition:
            with pytest.raises(EngineFailed, match=r"^the worker of toy ended with exit code 1: it hurts$"):
                await recognition.feed(EXIT)

    kit.run(main())


def test_a_worker_that_is_stuck_is_replaced(pool: Pool, kit: Any) -> None:
    async def main() -> None:
        async with pool(timeout_s=0.5) as engine:
            pid = await pid_of(engine, kit)
            async with engine.recognize() as recognition:
                os.kill(pid, signal.SIGSTOP)
                with pytest.raises(EngineFailed, match=r"^the worker of toy did not answer within 0.5 s$"):
                    await recognition.feed(QUIET)
            await kit.until(lambda: not kit.alive(pid))
            assert await pid_of(engine, kit) != pid

    kit.run(main())


def test_ctrl_c_is_not_for_workers(pool: Pool, kit: Any) -> None:
    async def main() -> None:
        async with pool() as engine:
            pid = await pid_of(engine, kit)
            os.kill(pid, signal.SIGINT)
            assert await pid_of(engine, kit) == pid

    kit.run(main())


def test_workers_decode_at_the_same_time(pool: Pool, kit: Any) -> None:
    async def main() -> None:
        async with pool(workers=2) as engine:
            both = await asyncio.gather(kit.listen(engine, MEET), kit.listen(engine, MEET))
            assert len({tuple(kit.finals(one)) for one in both}) == 2

    kit.run(main())


def test_who_asked_first_is_first(pool: Pool, kit: Any) -> None:
    served = []

    async def ask(engine: Engine, name: str) -> None:
        async with engine.recognize() as recognition:
            served.append(name)
            await recognition.feed(QUIET)

    async def main() -> None:
        async with pool() as engine:
            async with engine.recognize():
                asking = []
                for name in "abcd":
                    asking.append(asyncio.create_task(ask(engine, name)))
                    await asyncio.sleep(0)
                asking[1].cancel()
            late = asyncio.create_task(ask(engine, "late"))
            await asyncio.gather(*asking, late, return_exceptions=True)

    kit.run(main())
    assert served == ["a", "c", "d", "late"]


def test_who_is_cancelled_half_way_gives_the_place_back(pool: Pool, kit: Any, toy: Path) -> None:
    meet = toy.with_name("meet")

    async def main() -> None:
        async with pool() as engine:
            pid = await pid_of(engine, kit)
            waiting = asyncio.create_task(kit.listen(engine, WAIT))
            await kit.until((meet / "busy").exists)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            (meet / "go").touch()
            async with engine.recognize() as recognition:
                (heard,) = await recognition.feed(QUIET)
                assert heard.text == "1600"  # nothing of before, neither audio nor answer
                (final,) = await recognition.finish()
                assert final.text == str(pid)

    kit.run(main())


def test_who_is_cancelled_before_it_begins_gives_the_place_back(pool: Any, kit: Any) -> None:
    async def main() -> None:
        async with pool() as engine:
            pid = await pid_of(engine, kit)
            free = engine._places._free
            await kit.until(lambda: len(free) == 1)
            os.kill(pid, signal.SIGSTOP)
            waiting = asyncio.create_task(pid_of(engine, kit))
            await kit.until(lambda: len(free) == 0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            os.kill(pid, signal.SIGCONT)
            assert await pid_of(engine, kit) == pid

    kit.run(main())


@pytest.mark.parametrize(
    ("model", "key", "problem"),
    [
        ("refuse model", "model", "there is no such model"),
        ("crash", "engine", r"the worker of toy ended with exit code 1: OSError: the model\[1m is broken"),
        ("gibberish", "engine", "the worker of toy sent what is no answer"),
        ("answer", "engine", "the worker of toy sent what is no answer"),
    ],
)
def test_workers_that_cannot_load_at_the_start_are_the_operators_mistake(
    pool: Pool, kit: Any, toy: Path, model: str, key: str, problem: str
) -> None:
    toy.write_text(model)

    async def main() -> None:
        with pytest.raises(ConfigError, match=problem) as raised:
            async with pool(workers=2):
                raise AssertionError("is open")
        assert raised.value.key == key

    kit.run(main())


def test_a_start_that_is_given_up_leaves_nothing(pool: Pool, kit: Any, toy: Path) -> None:
    async def main() -> None:
        async with pool():
            raise AssertionError("is open")

    async def give_up() -> None:
        opening = asyncio.create_task(main())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

    kit.run(give_up())


def test_a_later_worker_that_cannot_load_is_tried_again_and_said_once(
    pool: Pool, kit: Any, toy: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver_plugins.transcribe.engines.backoff.FIRST_S", 0.01)

    async def main() -> None:
        async with pool() as engine:
            pid = await pid_of(engine, kit)
            toy.write_text("refuse model")
            os.kill(pid, signal.SIGKILL)
            waiting = asyncio.create_task(pid_of(engine, kit))
            await kit.until(lambda: "no such model" in caplog.text)
            await asyncio.sleep(0.5)  # for a second try, which has nothing new to say
            toy.write_text("fine")
            assert await waiting != pid

    with caplog.at_level(logging.INFO):
        kit.run(main())
    assert [record.getMessage() for record in caplog.records] == [
        "the worker of toy was killed by signal 9 (Killed); another one is started",
        "model: there is no such model; another one is started",
        "toy works again",
    ]


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_any_loop_in_any_thread_will_do(
    pool: Pool, kit: Any, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    pids: list[int] = []

    async def main() -> None:
        async with pool() as engine:
            pids.append(await pid_of(engine, kit))
            os.kill(pids[0], signal.SIGKILL)
            await kit.until(lambda: not kit.alive(pids[0]))
            pids.append(await pid_of(engine, kit))

    def thread() -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(asyncio.wait_for(main(), kit.WAIT_S))

    running = threading.Thread(target=thread)
    running.start()
    running.join()
    assert len(set(pids)) == 2
    assert not any(kit.alive(pid) for pid in pids)


def test_workers_end_with_a_parent_that_is_killed(toy: Path, kit: Any) -> None:
    program = f"""
import asyncio
from receiver_plugins.transcribe.engines.worker_pool import worker_pool

async def main():
    async with worker_pool("toy", "toy_worker", {str(toy)!r}, workers=2, timeout_s=20):
        print("open", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "open\n"
        children = []
        for task in Path(f"/proc/{parent.pid}/task").iterdir():
            children += [int(pid) for pid in (task / "children").read_text().split()]
        assert len(children) == 2
        parent.kill()
        parent.wait()

    def gone(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"  # nobody's to reap
        except (FileNotFoundError, ProcessLookupError):
            return True

    kit.run(kit.until(lambda: all(gone(pid) for pid in children)))
