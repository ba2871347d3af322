"""The suite as who writes a sink runs it: good sinks of every kind pass, and it says what a test of one needs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from receiver.sinks import Event, Frame, Plugin, Record, Stream, StreamEnded, blocks
from receiver.testing import SinkConformance

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
RULES = {name: getattr(SinkConformance, name) for name in dir(SinkConformance) if name.startswith("test_")}


async def bare(stream: Stream, events: AsyncIterator[Event]) -> None:
    async for block in blocks(events, rate=16000, dtype="float32", ms=100):
        stream.annotate("block", track=block.track, start=block.start, end=block.end, rate=block.rate)


def plain(stream: Stream, events: Iterator[Event]) -> None:
    path = stream.directory / "heard.txt"
    path.write_text(str(sum(len(event.samples) for event in events if isinstance(event, Frame))))
    stream.add_file(path, kind="note", media_type="text/plain")


async def leaving(stream: Stream, events: AsyncIterator[Event]) -> None:
    """Has seen enough at once."""


@asynccontextmanager
async def whole(*, word: str, count: int = 3) -> AsyncIterator[Plugin]:
    """Everything that a plugin can have."""
    ended: list[str] = []

    async def sink(stream: Stream, events: AsyncIterator[Event]) -> None:
        heard = 0
        async for block in blocks(events):
            heard += len(block.samples)
        stream.annotate(word, start=0, end=0, rate=8000, data=heard * count)

    async def records(records: AsyncIterator[Record]) -> None:
        async for record in records:
            if isinstance(record, StreamEnded):
                ended.append(record.stream.id)  # noqa: PERF401

    def recover(stream: Stream) -> None:
        stream.annotate(word, start=0, end=0, rate=8000)

    yield Plugin(sink=sink, records=records, recover=recover)


def _check(*, word: str, count: int) -> list[str]:
    return [] if count < 10 else ["count: must be below 10"]


whole.check = _check  # type: ignore[attr-defined]  # beside it would be beside the others as well


class Quick(SinkConformance):
    seconds = 0.5


class TestBare(Quick):
    use = bare


class TestBareThatStartsAgain(Quick):
    use = bare
    restarts = True


class TestPlain(Quick):
    use = plain


class TestLeaving(Quick):
    use = leaving


class TestWhole(Quick):
    use = whole
    options = {"word": "heard"}
    wrong_options = {"word": 5, "count": 10}


class TestSetByAFixture(Quick):
    """A sink in a file, with what is known only when the test runs."""

    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> None:
        file = tmp_path / "counting.py"
        file.write_text(
            "async def sink(stream, events):\n"
            "    stream.annotate(stream.parameters['word'], start=0, end=0, rate=8000)\n"
            "    (stream.directory / 'left.tmp').touch()\n"
        )
        self.use = file

    parameters = {"word": "hello"}
    undeclared = ["*.tmp"]


class TestNotRepeatable(Quick):
    repeatable = False

    @staticmethod
    async def use(stream: Stream, events: AsyncIterator[Event]) -> None:
        stream.annotate("id", start=0, end=0, rate=8000, data=str(id(stream)))


def test_every_rule_has_a_sentence_and_a_section_of_the_contract() -> None:
    page = (ROOT / "docs" / "writing-a-sink.md").read_text()
    headings = set(re.findall(r"^##+ (.*)$", page, re.MULTILINE))
    assert len(RULES) == 28
    for name, rule in RULES.items():
        told = re.fullmatch(r"([A-Z].*) \((.+)\)\.?", " ".join((rule.__doc__ or "").split()))
        assert told is not None and told[2] in headings, name


def test_importing_it_imports_no_pytest() -> None:
    program = "import sys, receiver.testing; receiver.testing.SinkConformance; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True)
    loaded = set(done.stdout.split())
    assert "receiver.testing.conformance" in loaded
    assert not {"pytest", "_pytest"} & loaded


def test_what_is_wrong_is_said_in_a_few_lines_of_words(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_failing="""
        from receiver.testing import SinkConformance

        async def mine(stream, events):
            async for event in events:
                if event.cause == "paused":
                    break

        class TestMine(SinkConformance):
            use = mine
    """,
        test_unusable="""
        from receiver.testing import SinkConformance

        class TestNobody(SinkConformance):
            pass

        class TestMissing(SinkConformance):
            use = "no_such_sink"
    """,
        test_without_a_sink="""
        from contextlib import asynccontextmanager
        from receiver.sinks import Plugin
        from receiver.testing import SinkConformance

        @asynccontextmanager
        async def mine():
            async def read(records):
                async for record in records:
                    pass
            yield Plugin(records=read)

        class TestMine(SinkConformance):
            use = mine
    """,
    )
    nodes = ["test_failing.py::TestMine", "test_unusable.py::TestNobody", "test_unusable.py::TestMissing"]
    nodes = [f"{node}::test_it_takes_a_stream_to_its_end" for node in nodes] + [
        f"test_without_a_sink.py::TestMine::test_it_takes_{what}" for what in ("records_of_every_kind", "a_real_call")
    ]
    result = pytester.runpytest_subprocess(*nodes, timeout=50)
    result.assert_outcomes(passed=1, failed=2, errors=1, skipped=1)
    result.stdout.fnmatch_lines_random(
        [
            "*TestMine.test_it_takes_a_stream_to_its_end*",
            "The sink mine raised AttributeError: 'Frame' object has no attribute 'cause': a stream of two tracks",
            "The rule: A sink returns when its events have ended, and raises nothing (What a sink is given).",
            "The contract: docs/writing-a-sink.md *",
            "*ConfigError: use: TestNobody does not say which sink it is for: use = ...",
            "*ConfigError: sinks.no_such_sink.use: there is no installed sink 'no_such_sink'*",
        ]
    )
