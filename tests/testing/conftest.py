"""Something to play."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import pytest

from receiver.events import Samples
from receiver.simulate import SPEECH


@pytest.fixture
def speech() -> Path:
    """Somebody who speaks for 21 s."""
    return SPEECH / "inbound.flac"


@pytest.fixture
def tone() -> Samples:
    """Half a second, at 8000 Hz."""
    return np.rint(8000 * np.sin(np.arange(4000) * 0.3)).astype(np.int16)


BROKEN = Path(__file__).parent / "broken"


class Judged(NamedTuple):
    """A sink that breaks a rule: what its test is to say, and what it has said."""

    expected: str
    said: str


@pytest.fixture(scope="session")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], dict[str, Judged]]]:
    """What the suite says of the sinks of a file in ``broken/``, by their classes: each of the one rule that it breaks.

    One run of pytest for each file, in a folder of its own, as somebody's project has it; all at once, as most of the
    time they wait for sinks that do not end.
    """
    runs = {file.name: _Run(file, tmp_path_factory.mktemp(file.stem)) for file in BROKEN.glob("*.py")}
    yield cache(lambda name: runs[name].result())
    for run in runs.values():
        run.end()


class _Run:
    def __init__(self, file: Path, folder: Path) -> None:
        self._expected = dict(_expectations(file))
        self._said = folder / "said.xml"
        (folder / file.name).write_text(file.read_text())
        nodes = [f"{file.name}::{name}::{breaks}" for name, (breaks, _) in self._expected.items()]
        options = ["-q", "--junit-xml", str(self._said), "--basetemp", str(folder / "temporary")]
        command = [sys.executable, "-m", "pytest", *options, *nodes]
        self._process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def end(self) -> None:
        """Where nobody has asked for the result."""
        self._process.kill()
        self._process.communicate()

    def result(self) -> dict[str, Judged]:
        output, _ = self._process.communicate(timeout=58)
        assert self._process.returncode == 1, output
        said = {
            case.attrib["classname"].rpartition(".")[2]: "".join(f"{said.tag}: {said.text}" for said in case)
            for case in ElementTree.parse(self._said).iter("testcase")
        }
        return {name: Judged(says, said[name]) for name, (_, says) in self._expected.items()}


def _expectations(file: Path) -> Iterator[tuple[str, tuple[str, str]]]:
    """The classes of a file, with what each breaks and what is to be said of it."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            values = {
                statement.targets[0].id: statement.value
                for statement in node.body
                if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
            }
            yield node.name, (ast.literal_eval(values["breaks"]), ast.literal_eval(values["says"]))
