"""Finding what ``use`` names, and saying what is not there or broken."""

from __future__ import annotations

import asyncio
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from receiver.errors import ConfigError
from receiver.sinks import finding
from receiver.sinks.finding import GROUP, find_sink
from receiver.sinks.loading import Loaded, load, load_apart

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


@pytest.mark.parametrize("ending", ["import sys; sys.exit(3)", "raise KeyboardInterrupt", "raise GeneratorExit"])
def test_a_file_that_would_end_the_process_is_only_broken(tmp_path: Path, ending: str) -> None:
    write(tmp_path, ending, "ending_module.py")
    for use, name in (("./ending_module.py", "ending_module.py"), ("ending_module:sink", "ending_module")):
        with pytest.raises(ConfigError, match=rf"^sinks.mine.use: {name} is broken: \w+: "):
            load_apart("mine", use, {}, tmp_path).result(20)  # as the server does, in a thread


def test_ctrl_c_while_a_file_is_imported_is_no_mistake_of_the_file(tmp_path: Path) -> None:
    use = write(tmp_path, "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):  # here is the main thread, which it reaches
        load("mine", use, {}, tmp_path)


def test_an_installed_sink_is_found_by_its_name_and_not_among_the_files_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "installed"
    installed.mkdir()
    write(installed, "raise ValueError('on purpose')", "installed_broken.py")
    write(installed, "", "installed_whole.py")
    points = [
        EntryPoint("zebra", "installed_whole:listen", GROUP),
        EntryPoint("broken", "installed_broken:listen", GROUP),
        EntryPoint("gone", "installed_nowhere:listen", GROUP),
    ]
    monkeypatch.setattr(finding, "entry_points", lambda group: points)
    monkeypatch.syspath_prepend(installed)
    before = list(sys.path)
    found, module = find_sink("zebra", tmp_path, "key")
    assert (found.__name__, module.__name__) == ("listen", "installed_whole")
    assert sys.path == before
    for name, said in (
        ("broken", "key: installed_broken is broken: ValueError: on purpose"),
        ("gone", "key: there is no module 'installed_nowhere'"),
        ("other", r"key: there is no installed sink 'other' \(there are: broken, gone, zebra\)"),
    ):
        with pytest.raises(ConfigError, match=said):
            find_sink(name, tmp_path, "key")


def test_without_any_installed_sink_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "entry_points", lambda group: [])
    with pytest.raises(ConfigError, match=r"there are: none"):
        find_sink("wav", tmp_path, "key")


def test_a_file_that_two_sinks_name_is_loaded_once(tmp_path: Path) -> None:
    use = write(tmp_path, "first = second = listen", "shared.py")
    modules = [find_sink(f"{use}:{name}", tmp_path, "key")[1] for name in ("first", "second")]
    assert modules[0] is modules[1]
