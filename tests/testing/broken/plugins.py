"""Plugins that break a rule. ``breaks`` is the rule, ``says`` what its test says."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import pydantic
import pytest

from receiver.sinks import ConfigError, Plugin, Refused, Sink, Stream
from receiver.testing import SinkConformance, plugin_rules

plugin_rules.SETTLE_S = 0.3  # what stays here, stays for good

left: list[Any] = []
opened = 0


async def taking(stream: Stream, events: Any) -> None:
    async for _ in events:
        pass


def with_check(check: Callable[..., Any]) -> Callable[..., AbstractAsyncContextManager[Sink]]:
    @asynccontextmanager
    async def plugin(*, where: Path = Path()) -> AsyncIterator[Sink]:
        yield taking

    plugin.check = check  # type: ignore[attr-defined]
    return plugin


class Quick(SinkConformance):
    seconds = 0.5


class TestItsCheckFindsFault(Quick):
    breaks = "test_its_check_finds_nothing_and_does_nothing"
    says = "has a check that finds fault with the options of this test: where: is nowhere"
    use = staticmethod(with_check(lambda where: ["where: is nowhere"]))


class TestItsCheckMakesAFile(Quick):
    breaks = "test_its_check_finds_nothing_and_does_nothing"
    says = "has a check that leaves something behind: made"
    use = staticmethod(with_check(lambda where: (where / "made").write_text(os.urandom(8).hex()) and None))

    @pytest.fixture(autouse=True)
    def _options(self, tmp_path: Path) -> None:
        self.options = {"where": str(tmp_path)}


class TestItsCheckStartsAThread(Quick):
    breaks = "test_its_check_finds_nothing_and_does_nothing"
    says = "has a check that leaves something behind: the thread 'of the check'"
    use = staticmethod(with_check(lambda where: start_a_thread("of the check")))


def start_a_thread(name: str) -> None:
    threading.Thread(target=threading.Event().wait, name=name, daemon=True).start()


class TestItsOptionHasNoType(Quick):
    breaks = "test_every_option_has_a_type_that_is_checked"
    says = "has an option level without a type: nothing checks what is given"

    @staticmethod
    @asynccontextmanager
    async def use(*, level=1) -> AsyncIterator[Sink]:  # type: ignore[no-untyped-def]
        yield taking


class TestItsOptionTakesAnything(Quick):
    breaks = "test_every_option_has_a_type_that_is_checked"
    says = "takes anything as its option level: the type "

    @staticmethod
    @asynccontextmanager
    async def use(*, level: Annotated[str, pydantic.BeforeValidator(str)] = "1") -> AsyncIterator[Sink]:
        yield taking


class TestItStartsWithAWrongOption(Quick):
    wrong_options = {"level": 100}
    breaks = "test_wrong_options_are_refused_by_their_names"
    says = "starts with a wrong value of its option level, and its check does not tell either"

    @staticmethod
    @asynccontextmanager
    async def use(*, level: int = 1) -> AsyncIterator[Sink]:
        yield taking


class TestItDoesNotNameAWrongOption(Quick):
    wrong_options = {"level": 100}
    breaks = "test_wrong_options_are_refused_by_their_names"
    says = "refuses a wrong value of its option level without naming it: sinks.use: this will not do"

    @staticmethod
    @asynccontextmanager
    async def use(*, level: int = 1) -> AsyncIterator[Sink]:
        if level == 100:
            raise ConfigError("", "this will not do")
        yield taking


class TestItsCheckDoesNotNameAWrongOption(Quick):
    wrong_options = {"where": "nowhere"}
    breaks = "test_wrong_options_are_refused_by_their_names"
    says = "refuses a wrong value of its option where without naming it: this will not do"
    use = staticmethod(with_check(lambda where: ["this will not do"]))


class TestItIsOneForAll(Quick):
    breaks = "test_it_can_be_opened_twice_at_once"
    says = "works no longer where another one of it was closed: it raised RuntimeError: closed"

    @staticmethod
    @asynccontextmanager
    async def use() -> AsyncIterator[Sink]:
        global opened
        opened = 1

        async def sink(stream: Stream, events: Any) -> None:
            if not opened:
                raise RuntimeError("closed")

        yield sink
        opened = 0


class TestItRaisesWhenItIsClosed(Quick):
    breaks = "test_it_closes_in_time"
    says = "did not close as it should: sink_close_failed: ZeroDivisionError: division by zero"

    @staticmethod
    @asynccontextmanager
    async def use() -> AsyncIterator[Sink]:
        yield taking
        1 / 0  # noqa: B018


class TestItLeavesAThread(Quick):
    breaks = "test_it_leaves_nothing_behind"
    says = "left behind when it was closed: the thread 'of mine'"

    @staticmethod
    @asynccontextmanager
    async def use() -> AsyncIterator[Sink]:
        start_a_thread("of mine")
        yield taking


class TestItLeavesADescriptor(Quick):
    breaks = "test_it_leaves_nothing_behind"
    says = "left behind when it was closed: an open descriptor of /dev/zero"

    @staticmethod
    async def use(stream: Stream, events: Any) -> None:
        left.append(os.open("/dev/zero", os.O_RDONLY))


class TestItLeavesATask(Quick):
    breaks = "test_it_leaves_nothing_behind"
    says = "left behind when it was closed: the task <coroutine object sleep at"

    @staticmethod
    async def use(stream: Stream, events: Any) -> None:
        left.append(asyncio.create_task(asyncio.sleep(600)))


class TestItLeavesAProcess(Quick):
    breaks = "test_it_leaves_nothing_behind"
    says = "left behind when it was closed: the process "

    @pytest.fixture(autouse=True)
    def _ended(self) -> Any:
        yield
        for process in left:
            if isinstance(process, subprocess.Popen):
                process.kill()
                process.wait()

    @staticmethod
    @asynccontextmanager
    async def use() -> AsyncIterator[Sink]:
        left.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]))
        yield taking


def recovering(recover: Callable[[Stream], None]) -> Callable[[], AbstractAsyncContextManager[Plugin]]:
    @asynccontextmanager
    async def plugin() -> AsyncIterator[Plugin]:
        yield Plugin(sink=taking, recover=recover)

    return plugin


def appending(stream: Stream) -> None:
    with (stream.directory / "mine.txt").open("a") as file:
        file.write("once more")
    stream.add_file(stream.directory / "mine.txt", kind="note", media_type="text/plain")


class TestItDoesNotRecover(Quick):
    breaks = "test_it_recovers_what_a_crash_has_left"
    says = "raised in recover: sink_not_recovered: integer division or modulo by zero"
    use = staticmethod(recovering(lambda stream: divmod(1, 0)))  # type: ignore[arg-type]


class TestItDoesNotDeclareWhatItRecovers(Quick):
    breaks = "test_it_recovers_what_a_crash_has_left"
    says = "left mine.txt in the stream's folder, and has not declared it with stream.add_file"
    use = staticmethod(recovering(lambda stream: (stream.directory / "mine.txt").touch()))


class TestItRecoversTwice(Quick):
    breaks = "test_it_recovers_what_a_crash_has_left"
    says = "made something else when recover was called again: mine.txt"
    use = staticmethod(recovering(appending))


class TestItsRecoverHangs(Quick):
    finish_s = 2.0
    breaks = "test_it_recovers_what_a_crash_has_left"
    says = "has a recover that does not come back within 2 s"
    use = staticmethod(recovering(lambda stream: threading.Event().wait() and None))


class TestItKnowsEveryRecord(Quick):
    breaks = "test_it_takes_records_of_every_kind"
    says = "failed on a record: records_failed: AttributeError: "

    @staticmethod
    @asynccontextmanager
    async def use() -> AsyncIterator[Plugin]:
        async def records(records: Any) -> None:
            async for record in records:
                if not isinstance(record, Refused):
                    record.stream  # noqa: B018

        yield Plugin(sink=taking, records=records)
