"""The package that ``receiver new-sink`` writes: installed for real, as the documentation says."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
import typer

from receiver.cli.new_sink import FILES, name_problem, new_sink

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "writing-a-sink.md").read_text()
SHELL = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def run(*command: str | Path, cwd: Path, expected: int = 0, **environ: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert done.returncode == expected, done.stdout
    return done.stdout


def receiver(*arguments: str, cwd: Path, expected: int = 0) -> str:
    return run(sys.executable, "-P", "-m", "receiver", *arguments, cwd=cwd, expected=expected)


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """A new environment's, which has nothing of its own, and sees what is installed here."""
    home = tmp_path / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", home, cwd=tmp_path)
    python = home / "bin" / "python"
    theirs = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip()
    ours = sysconfig.get_path("purelib")
    (Path(theirs) / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    return python


@pytest.mark.timeout(240)  # a new environment, an installation and a run of pytest
def test_the_package_installs_passes_its_tests_and_is_listed(tmp_path: Path, python: Path) -> None:
    (commands,) = (text for text in SHELL if "new-sink" in text)
    home = python.parent
    offline = "--no-build-isolation --no-deps --no-index --quiet"
    for name, command in {
        "receiver": f'{python} -P -m receiver "$@"',
        "pip": f'{sys.executable} -m pip --python {python} "$@" {offline}',
        "pytest": f'{python} -m pytest -q -W error --basetemp {tmp_path / "temporary"} "$@"',
    }.items():
        (home / name).unlink(missing_ok=True)
        (home / name).write_text(f"#!/bin/sh\nexec {command}\n")
        (home / name).chmod(0o755)
    listed = run("sh", "-ec", commands, cwd=tmp_path, PATH=f"{home}:{os.environ['PATH']}")
    folder = tmp_path / "loud_moments"
    assert "loud_moments/loud_moments.py" in listed and "receiver serve --sink loud_moments" in listed
    assert "26 passed, 3 skipped" in listed
    assert 'loud_moments  (receiver-sink-loud-moments)  use = "loud_moments"\n    Measure how loud' in listed
    assert " ".join(listed.split()).count("loud_db float default -20.0 block_ms int default 500") == 1
    for command in ("check", "format --check"):
        run(sys.executable, "-m", "ruff", *command.split(), "--no-cache", ".", cwd=folder)
    (tmp_path / "config.toml").write_text('[sinks.mine]\nuse = "loud_moments"\noptions = { block_ms = 5 }\n')
    checked = run(python, "-P", "-m", "receiver", "check", cwd=tmp_path, expected=2, RECEIVER_TOKEN="secret")
    assert checked == "receiver check: sinks.mine: block_ms: must be at least 20\n"


def test_what_is_written_has_every_type(tmp_path: Path) -> None:
    receiver("new-sink", "loud_moments", cwd=tmp_path)
    options = ("--cache-dir", os.devnull, "--follow-imports", "silent")  # what is wrong with ours is not asked here
    run(sys.executable, "-m", "mypy", *options, cwd=tmp_path / "loud_moments", MYPYPATH=str(ROOT))


def test_nothing_of_the_template_is_left_over(tmp_path: Path) -> None:
    receiver("new-sink", "vu", "--directory", "deep/down/here", cwd=tmp_path)
    folder = tmp_path / "deep" / "down" / "here"
    written = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    assert written.keys() == {path.replace("my_sink", "vu") for path in FILES}
    text = "".join(path.read_text() for path in written.values())
    assert "my_sink" not in text and "my-sink" not in text
    project = tomllib.loads(written["pyproject.toml"].read_text())["project"]
    assert project["name"] == "receiver-sink-vu"
    assert project["entry-points"] == {"receiver.sinks": {"vu": "vu:plugin"}}
    assert stat.S_IMODE(written["vu.py"].stat().st_mode) & 0o111 == 0


def test_a_folder_that_is_there_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "vu").mkdir()
    said = receiver("new-sink", "vu", cwd=tmp_path, expected=1)
    assert said == "receiver new-sink: vu is there already, and nothing of it is touched\n"
    assert list((tmp_path / "vu").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = receiver("new-sink", "vu", "--directory", "file/vu", cwd=tmp_path, expected=1)
    assert said == "receiver new-sink: file/vu cannot be made: Not a directory\n"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("Vu", "names are small letters, digits and single underscores between them, and start with a letter"),
        ("vu-meter", "names are small letters"),
        ("3vu", "names are small letters"),
        ("a__b", "names are small letters"),
        ("../vu", "names are small letters"),
        ("", "names are small letters"),
        ("class", "is a word of Python's own"),
        ("match", "is a word of Python's own"),
        ("wav", "there is an installed sink of this name (receiver_plugins.wav"),
        ("receiver", "there is a Python module of this name, which it would hide"),
        ("receiver_plugins", "there is a Python module of this name"),
        ("json", "there is a Python module of this name"),
        ("numpy", "there is a Python module of this name"),
        ("tests", "there is a Python module of this name"),
    ],
)
def test_a_name_that_no_sink_can_have_is_wrong_use(
    name: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(typer.Exit) as raised:
        new_sink(name)
    assert raised.value.exit_code == 2
    assert capsys.readouterr().err.startswith(f"receiver new-sink: {name!r}: {problem}")
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_one_can_have_is_none() -> None:
    assert name_problem("vu_meter_2") is None
