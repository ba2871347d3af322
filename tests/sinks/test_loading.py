"""Loading: from ``use`` and options to what can be opened."""

from __future__ import annotations

import asyncio
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from receiver.errors import ConfigError
from receiver.sinks import finding
from receiver.sinks.loading import Loaded, describe, load
from receiver.sinks.options import Option

pytestmark = pytest.mark.usefixtures("path_as_it_was")


HEAD = """
from __future__ import annotations
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated
from pydantic import Field
from receiver.sinks import Secret, Sink, Stream

async def listen(stream, events):
    async for event in events:
        pass
"""


def write(folder: Path, text: str, name: str = "my.py") -> str:
    (folder / name).write_text(HEAD + text)
    return f"./{name}"


def problem(use: str, base: Path, **options: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load("mine", use, options, base)
    return str(caught.value)


def opened(loaded: Loaded) -> object:
    async def run() -> object:
        async with loaded.open() as value:
            return value

    return asyncio.run(run())


PLUGIN = """
@asynccontextmanager
async def plugin(*, model: Path, rate: int = 8000, names: list[Path] = [], token: Secret | None = None,
                 folders: dict[str, Path] = {}, anything=None, model_name: str = "x", gain: float = 1.0):
    "Does much. More of it."
    yield listen
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plugin = 5", "names a int, which is neither a sink nor a plugin"),
        ("async def plugin(*, a=1):\n    yield listen", "plugin yields: put @asynccontextmanager above it"),
        ("async def sink(stream):\n    pass", "sink is no sink: that must take (stream, events)"),
        ("def sink(a):\n    pass", "sink is no sink: that must take (stream, events)"),
        ("def sink():\n    pass", "sink is no sink: that must take (stream, events)"),
        ("def plugin(a, b, c):\n    pass", "plugin is no sink: that must take (stream, events)"),
        ("class sink:\n    pass", "sink is a class, which is a plugin only if it has __aenter__ and __aexit__"),
        (
            "class sink:\n    def __call__(self): pass\nplugin = sink()",
            "sink is no sink: that must take (stream, events)",
        ),
        (
            "def sink(stream, events):\n    yield",
            "sink yields: make it 'async def', with @asynccontextmanager above it",
        ),
    ],
)
def test_what_is_neither_sink_nor_plugin_is_refused_at_load(text: str, said: str, tmp_path: Path) -> None:
    assert problem(write(tmp_path, text), tmp_path) == f"sinks.mine.use: {said}"


def test_a_bare_sink_takes_no_options(tmp_path: Path) -> None:
    use = write(tmp_path, "def sink(stream, events):\n    pass")
    assert problem(use, tmp_path, ms=5) == "sinks.mine.options.ms: a bare sink takes no options"


def test_a_class_may_be_a_plugin(tmp_path: Path) -> None:
    use = write(
        tmp_path,
        "class plugin:\n"
        "    def __init__(self, ms: int = 5):\n        self.ms = ms\n"
        "    async def __aenter__(self):\n        return listen\n"
        "    async def __aexit__(self, *error):\n        pass\n",
    )
    loaded = load("mine", use, {"ms": 7}, tmp_path)
    assert loaded.options == {"ms": 7}
    assert opened(loaded).__name__ == "listen"  # type: ignore[attr-defined]


def test_a_plugin_need_not_be_a_generator(tmp_path: Path) -> None:
    use = write(tmp_path, "import contextlib\ndef plugin(*, ms: int = 5):\n    return contextlib.nullcontext(listen)")
    assert opened(load("mine", use, {"ms": 6}, tmp_path)).__name__ == "listen"  # type: ignore[attr-defined]


def check(tmp_path: Path, text: str) -> list[str]:
    plugin = "\n@asynccontextmanager\nasync def plugin(*, a: int = 1):\n    yield listen\n"
    return asyncio.run(load("mine", write(tmp_path, plugin + text), {"a": 2}, tmp_path).check())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("def check(a):\n    return [f'a is {a}']", ["a is 2"]),
        ("async def check(a):\n    return [f'a is {a}']", ["a is 2"]),
        ("def check(a):\n    pass", []),
        ("def check(a):\n    raise OSError('not reachable')", ["OSError: not reachable"]),
        ("def check(a):\n    raise SystemExit(1)", ["SystemExit: 1"]),
        ("plugin.check = lambda a: ['of the plugin']\ndef check(a):\n    return ['of the file']", ["of the plugin"]),
    ],
)
def test_a_plugin_may_check_itself(text: str, found: list[str], tmp_path: Path) -> None:
    assert check(tmp_path, text) == found


def test_installed_sinks_are_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, PLUGIN, "installed_one.py")
    write(tmp_path, "raise ValueError('on purpose')", "installed_two.py")
    monkeypatch.syspath_prepend(tmp_path)
    points = [
        EntryPoint("one", "installed_one:plugin", finding.GROUP),
        EntryPoint("bare", "installed_one:listen", finding.GROUP),
        EntryPoint("two", "installed_two:plugin", finding.GROUP),
    ]
    monkeypatch.setattr(finding, "entry_points", lambda group: points)
    bare, one, two = describe()
    assert (one.name, one.value, one.summary, one.error) == (
        "one",
        "installed_one:plugin",
        "Does much. More of it.",
        None,
    )
    assert one.options[:4] == [
        Option("model", "Path", True, None),
        Option("rate", "int", False, "8000"),
        Option("names", "list[Path]", False, "[]"),
        Option("token", "Secret | None", False, "None"),
    ]
    assert (bare.options, bare.error) == ([], None)
    assert two.error is not None and "ValueError: on purpose" in two.error


def test_the_installed_wav_sink_is_among_them() -> None:
    assert "wav" in [sink.name for sink in describe()]


def test_a_bare_sink_is_opened_as_it_is(tmp_path: Path) -> None:
    loaded = load("mine", write(tmp_path, "sink = listen"), {}, tmp_path)
    assert (loaded.name, loaded.options) == ("mine", {})
    assert opened(loaded) is loaded.module.sink
