"""The list of commands: it needs none of them, and whoever names one gets that one."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

from receiver.cli import COMMANDS


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "receiver", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=50)


def test_every_file_is_a_command_that_is_listed() -> None:
    files = {path.stem for path in Path(inspect.getfile(run)).parents[2].glob("receiver/cli/[a-z]*.py")}
    assert {name.replace("-", "_") for name in COMMANDS} == files


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_listed_as_its_own_help_begins(name: str) -> None:
    module = name.replace("-", "_")
    command = getattr(import_module(f"receiver.cli.{module}"), module)
    assert (inspect.getdoc(command) or "").splitlines()[0] == COMMANDS[name]


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_the_list_has_all_of_them(arguments: tuple[str, ...]) -> None:
    listed = run(*arguments)
    lines = [line.split(None, 1) for line in (listed.stdout + listed.stderr).splitlines()]
    for name, summary in COMMANDS.items():
        assert [name, summary] in lines


def test_the_list_loads_no_command() -> None:
    program = "import sys, receiver.cli; receiver.cli.application(); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True)
    loaded = set(result.stdout.split())
    assert "receiver.cli" in loaded
    assert not loaded & {"numpy", "pydantic", "structlog", "rich.console", "receiver.config", "receiver.cli.serve"}


def test_a_command_is_run_also_behind_two_dashes() -> None:
    made = run("--", "token")
    assert made.returncode == 0 and len(made.stdout.strip()) >= 32


def test_a_word_that_is_no_command_is_wrong_use_whatever_follows_it() -> None:
    answer = run("srve", "token")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "No such command 'srve'" in answer.stderr


def test_the_version_is_the_installed_one() -> None:
    assert run("--version").stdout == version("media-stream-receiver") + "\n"
