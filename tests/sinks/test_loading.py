from __future__ import annotations

import asyncio
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from receiver.errors import ConfigError
from receiver.secret import Secret
from receiver.sinks import finding
from receiver.sinks.loading import Loaded, describe, load
from receiver.sinks.options import Option

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


@pytest.fixture(autouse=True)
def path_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import sys

    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


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


def test_a_file_has_a_plugin_or_a_sink(tmp_path: Path) -> None:
    use = write(tmp_path, "sink = listen")
    assert opened(load("mine", use, {}, tmp_path)).__name__ == "listen"  # type: ignore[attr-defined]
    both = write(tmp_path, "sink = None\n@asynccontextmanager\nasync def plugin():\n    yield listen\n", "both.py")
    assert opened(load("mine", both, {}, tmp_path)).__name__ == "listen"  # type: ignore[attr-defined]
    assert "has neither 'plugin' nor 'sink'" in problem(write(tmp_path, "", "empty.py"), tmp_path)


def test_an_attribute_of_a_file_or_a_module_can_be_named(tmp_path: Path) -> None:
    write(tmp_path, "class place:\n    listen = staticmethod(listen)\n", "my_module.py")
    for use in ("./my_module.py:listen", "my_module:listen", "my_module:place.listen"):
        assert opened(load("mine", use, {}, tmp_path)).__name__ == "listen"  # type: ignore[attr-defined]
    assert problem("my_module:absent", tmp_path) == "sinks.mine.use: my_module has no attribute 'absent'"


def test_a_file_finds_its_neighbours_and_shadows_nothing(tmp_path: Path) -> None:
    write(tmp_path, "raise ValueError('the wrong one')", "json.py")
    write(tmp_path, "", "neighbour_of_mine.py")
    use = write(tmp_path, "import json, neighbour_of_mine\njson.dumps(1)\nsink = listen", "wave.py")
    first = load("mine", use, {}, tmp_path)
    assert load("again", use, {}, tmp_path).module is first.module


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    assert problem("./absent.py", tmp_path) == f"sinks.mine.use: there is no file {tmp_path / 'absent.py'}"
    assert problem("absent_module:sink", tmp_path) == "sinks.mine.use: there is no module 'absent_module'"
    assert problem("json.absent:sink", tmp_path) == "sinks.mine.use: there is no module 'json.absent'"
    said = problem("wva", tmp_path)
    assert said.startswith("sinks.mine.use: there is no installed sink 'wva' (there are:")
    assert "wav" in said


def test_what_is_broken_shows_the_original_error_and_its_place(tmp_path: Path) -> None:
    broken = write(tmp_path, "\nraise ValueError('on purpose')\n", "broken_module.py")
    said = problem(broken, tmp_path)
    assert "broken_module.py is broken: ValueError: on purpose (" in said
    assert f"broken_module.py:{HEAD.count(chr(10)) + 2})" in said
    assert "broken_module is broken: ValueError: on purpose" in problem("broken_module:sink", tmp_path)
    needs = write(tmp_path, "import no_such_library\n", "needy.py")
    assert "needy.py is broken: ModuleNotFoundError: No module named 'no_such_library'" in problem(needs, tmp_path)
    write(tmp_path, "import no_such_library\n", "needy_module.py")
    assert "needy_module is broken: ModuleNotFoundError" in problem("needy_module:sink", tmp_path)
    syntax = write(tmp_path, "def f(:\n", "syntax.py")
    assert "syntax.py is broken: SyntaxError" in problem(syntax, tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plugin = 5", "names a int, which is neither a sink nor a plugin"),
        ("async def plugin(*, a=1):\n    yield listen", "plugin yields: put @asynccontextmanager above it"),
        ("async def sink(stream):\n    pass", "sink is no sink: that takes (stream, events)"),
    ],
)
def test_what_is_neither_sink_nor_plugin_is_refused_at_load(text: str, said: str, tmp_path: Path) -> None:
    assert problem(write(tmp_path, text), tmp_path) == f"sinks.mine.use: {said}"


def test_a_bare_sink_takes_no_options(tmp_path: Path) -> None:
    use = write(tmp_path, "def sink(stream, events):\n    pass")
    assert problem(use, tmp_path, ms=5) == "sinks.mine.options.ms: a bare sink takes no options"


PLUGIN = """
@asynccontextmanager
async def plugin(*, model: Path, rate: int = 8000, names: list[Path] = [], token: Secret | None = None,
                 folders: dict[str, Path] = {}, anything=None, model_name: str = "x", gain: float = 1.0):
    "Does much. More of it."
    yield listen
"""


def test_options_are_validated_by_their_hints(tmp_path: Path) -> None:
    (tmp_path / "token.txt").write_text("hush\n")
    options = {
        "model": "m.bin",
        "names": ["a", "/b"],
        "folders": {"x": "c"},
        "token": {"file": "token.txt"},
        "gain": 2,
        "anything": [1],
    }
    loaded = load("mine", write(tmp_path, PLUGIN), options, tmp_path)
    assert loaded.options["model"] == tmp_path / "m.bin"
    assert loaded.options["rate"] == 8000
    assert loaded.options["names"] == [tmp_path / "a", Path("/b")]
    assert loaded.options["folders"] == {"x": tmp_path / "c"}
    assert loaded.options["model_name"] == "x"
    assert isinstance(loaded.options["token"], Secret) and loaded.options["token"].value() == "hush"
    assert opened(loaded).__name__ == "listen"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("options", "key", "said"),
    [
        ({}, "model", "is required"),
        ({"model": "m", "rate": "fast"}, "rate", "input should be a valid integer"),
        ({"model": "m", "rates": 5}, "rates", "there is no such option; there are: anything, folders, gain, model"),
        ({"model": "m", "names": ["a", 5]}, "names.1", "is not a valid path"),
        ({"model": "m", "token": "in-the-open"}, "token", "never the secret itself"),
    ],
)
def test_wrong_options_are_named_and_their_values_not_shown(
    options: dict[str, object], key: str, said: str, tmp_path: Path
) -> None:
    shown = problem(write(tmp_path, PLUGIN), tmp_path, **options)
    assert shown.startswith(f"sinks.mine.options.{key}")
    assert said in shown
    assert "in-the-open" not in shown


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


def test_hints_that_cannot_be_used_are_the_authors_mistake_and_said_so(tmp_path: Path) -> None:
    nameless = "@asynccontextmanager\nasync def plugin(*, a: Nowhere = 1):\n    yield listen"
    assert "a type hint cannot be read: name 'Nowhere'" in problem(write(tmp_path, nameless), tmp_path)
    odd = (
        "@asynccontextmanager\nasync def plugin(*, a: Annotated[int, Field(discriminator='x')] = 1):\n    yield listen"
    )
    assert "type hint cannot be used" in problem(write(tmp_path, odd, "odd.py"), tmp_path)
    stars = "@asynccontextmanager\nasync def plugin(**more):\n    yield listen"
    assert "must be keyword arguments" in problem(write(tmp_path, stars, "stars.py"), tmp_path)


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
