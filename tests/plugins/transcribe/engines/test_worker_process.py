"""One worker process, in the ways in which it can end."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from receiver_plugins.transcribe.engine import EngineFailed
from receiver_plugins.transcribe.engines import worker_process as processes
from receiver_plugins.transcribe.engines.messages import Feed, Finish
from receiver_plugins.transcribe.engines.worker_process import worker_process

from receiver.errors import ConfigError

QUIET = Feed(bytes(3200))

pytestmark = pytest.mark.usefixtures("nothing_left")


async def pid_of(worker: Any) -> int:
    await worker.ask(QUIET)
    (heard,) = await worker.ask(Finish())
    return int(heard.text)


def test_a_worker_is_loaded_asked_and_has_ended_afterwards(toy: Path, kit: Any) -> None:
    async def main() -> None:
        async with worker_process("toy", "toy_worker", str(toy), 20) as worker:
            await worker.loaded()
            assert [heard.text for heard in await worker.ask(QUIET)] == ["1600"]
            (heard,) = await worker.ask(Finish())
            assert os.getpriority(os.PRIO_PROCESS, int(heard.text)) == os.getpriority(os.PRIO_PROCESS, 0) + 5
        assert worker.gone.result() == "the worker of toy ended with exit code 0"
        assert not kit.alive(int(heard.text))
        with pytest.raises(EngineFailed, match="ended with exit code 0"):
            await worker.ask(QUIET)

    kit.run(main())


def test_a_worker_that_does_not_end_when_it_is_told_to_is_killed(
    toy: Path, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "STOP_S", 0.5)

    async def main() -> None:
        async with worker_process("toy", "toy_worker", str(toy), 20) as worker:
            await worker.loaded()
            pid = await pid_of(worker)
            os.kill(pid, signal.SIGSTOP)
        assert worker.gone.result() == "the worker of toy was killed by signal 9 (Killed)"
        assert not kit.alive(pid)

    kit.run(main())


def test_a_worker_that_nobody_can_hear_is_killed(toy: Path, kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STOP_S", 0.5)
    toy.write_text("deaf")

    async def main() -> None:
        async with worker_process("toy", "toy_worker", str(toy), 20) as worker:
            with pytest.raises(EngineFailed, match=r"^the worker of toy closed its output$"):
                await worker.loaded()

    kit.run(main())


def test_a_worker_that_takes_too_long_to_load_is_killed(toy: Path, kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LOAD_S", 0.01)

    async def main() -> None:
        async with worker_process("toy", "toy_worker", str(toy), 20) as worker:
            with pytest.raises(EngineFailed, match=r"did not answer within 0.01 s"):
                await worker.loaded()

    kit.run(main())


def test_a_worker_that_refuses_says_which_option_is_the_reason(toy: Path, kit: Any) -> None:
    toy.write_text("refuse device")

    async def main() -> None:
        async with worker_process("toy", "toy_worker", str(toy), 20) as worker:
            with pytest.raises(ConfigError, match=r"^device: there is no such model$"):
                await worker.loaded()

    kit.run(main())


def test_an_interpreter_that_cannot_be_started_is_a_worker_that_ended(
    toy: Path, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(toy.with_name("nothing")))

    async def main() -> None:
        async with worker_process("toy", "toy_worker", str(toy), 20) as worker:
            with pytest.raises(EngineFailed, match="could not be started: No such file or directory"):
                await worker.loaded()

    kit.run(main())


def test_a_process_that_may_open_no_more_files_starts_no_worker(toy: Path, kit: Any) -> None:
    async def main() -> None:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
        try:
            with pytest.raises(EngineFailed, match=r"the worker of toy could not be started: .* Too many open files"):
                async with worker_process("toy", "toy_worker", str(toy), 20):
                    raise AssertionError("is open")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)

    kit.run(main())


def test_a_process_that_may_start_no_more_threads_starts_no_worker(
    toy: Path, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(EngineFailed, match="the worker of toy could not be started: can't start new thread"):
            async with worker_process("toy", "toy_worker", str(toy), 20):
                raise AssertionError("is open")

    kit.run(main())


def test_what_lies_in_the_working_directory_is_not_imported(
    toy: Path, kit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "msgspec.py").write_text("raise SystemExit('planted')")
    monkeypatch.chdir(tmp_path / "elsewhere")

    async def main() -> None:
        async with worker_process("toy", "toy_worker", str(toy), 20) as worker:
            await worker.loaded()

    kit.run(main())


def test_who_leaves_in_a_hurry_leaves_no_process(toy: Path, kit: Any) -> None:
    async def main() -> None:
        pids = []

        async def use() -> None:
            async with worker_process("toy", "toy_worker", str(toy), 20) as worker:
                await worker.loaded()
                pids.append(await pid_of(worker))
                os.kill(pids[0], signal.SIGSTOP)
                opened.set()
                await asyncio.Event().wait()

        opened = asyncio.Event()
        using = asyncio.create_task(use())
        await opened.wait()
        using.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        using.cancel()  # while it waits for the worker to end
        with pytest.raises(asyncio.CancelledError):
            await using
        await kit.until(lambda: not kit.alive(pids[0]))

    kit.run(main())
