from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from receiver.config import Config
from receiver.sinks.loading import load
from receiver.testing.imports import FILE_MODULE, imports_taken_back

SINK = "async def sink(stream, events): ...\nvalue = {value}\n"


def config(base: Path, **sinks: str) -> Config:
    table = {"sources": {"default": {"auth": {"use": "none"}}}, "sinks": {k: {"use": use} for k, use in sinks.items()}}
    return Config.model_validate(table, context={"base": base})


def loaded(use: str, base: Path) -> Any:
    return load("mine", use, {}, base).module


def test_a_file_is_read_anew_by_the_next_receiver(tmp_path: Path) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    path_before, modules_before, use = list(sys.path), set(sys.modules), "./there/mine.py:sink"
    for value in (1, 2):
        (folder / "mine.py").write_text(SINK.format(value=value) + "#" * value)  # of another size: no old bytecode
        with imports_taken_back(config(tmp_path, mine=use)):
            assert loaded(use, tmp_path).value == value
            assert str(folder) in sys.path
        assert sys.path == path_before
        assert not [name for name in set(sys.modules) - modules_before if name.startswith(f"{FILE_MODULE}mine")]


def test_what_was_there_before_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(SINK.format(value=1))
    monkeypatch.syspath_prepend(str(tmp_path))
    before = loaded("./mine.py", tmp_path)
    try:
        with imports_taken_back(config(tmp_path, mine="./mine.py")):
            assert loaded("./mine.py", tmp_path) is before
        assert sys.modules[before.__name__] is before and str(tmp_path) in sys.path
    finally:
        del sys.modules[before.__name__]


def test_a_module_is_imported_by_its_name_and_stays(tmp_path: Path) -> None:
    (tmp_path / "module_of_this_test.py").write_text(SINK.format(value=1))
    use = "module_of_this_test:sink"
    with imports_taken_back(config(tmp_path, mine=use)):
        module = loaded(use, tmp_path)
    assert sys.modules.pop("module_of_this_test") is module
    assert str(tmp_path) not in sys.path
