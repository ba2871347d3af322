"""What is shipped, and that everything has its test."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Modules without a test module of their own, and why.
NOT_MIRRORED = {
    "receiver/__main__.py": "one line; run by every subprocess test",
    "receiver/errors.py": "types, raised and caught in every other test",
    "receiver/events.py": "types, made and compared in every other test",
    "receiver/open_stream.py": "driven by real connections in tests/asgi, and without any in tests/test_offline.py",
    "receiver/opener.py": "as open_stream.py",
    "receiver/reading.py": "the settings of every session of the tests of tests/asgi",
    "receiver/records.py": "types, made by the hub's and the recordings' tests",
    "receiver/asgi/wire.py": "everything that a WebSocket can do is done to it in tests/asgi/test_protocol.py",
    "receiver/auth/authenticator.py": "an interface",
    "receiver/dialects/dialect.py": "an interface",
    "receiver/dialects/messages.py": "types, compared in every dialect's test",
    "receiver/media/decoder.py": "an interface",
    "receiver/sessions/settings.py": "types, given to every session of the other tests",
    "receiver/simulate/speaker.py": "an interface, spoken by the tests of both dialects",
    "receiver/testing/harness.py": "every rule's test works with it, and so does every failure of tests/testing/broken",
    "receiver/testing/observed.py": "the same",
    "receiver/testing/profile.py": "attributes, set by the suites of the other tests",
    "receiver/testing/stage.py": "as harness.py",
    "receiver/sinks/history.py": "an interface",
    "receiver/sinks/sink.py": "an interface",
    "plugins/transcribe/engine.py": "an interface",
    "plugins/transcribe/settings.py": "types, compared with the options in the tests of the plugin",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built from a copy of what a source distribution is made of."""
    folder = tmp_path_factory.mktemp("packaging")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("receiver", "plugins"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder / "dist"), str(folder)],
        check=True,
        timeout=55,
        capture_output=True,
    )
    (built,) = (folder / "dist").iterdir()
    return built


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_every_module_and_every_file_that_is_read_at_run_time_is_in_the_wheel(wheel: Path) -> None:
    shipped = contents(wheel)
    wanted = {
        path.relative_to(ROOT).as_posix()
        for pattern in ("*.py", "py.typed", "*.schema.json", "*.flac", "*.md", "*.txt")
        for path in (ROOT / "receiver").rglob(pattern)
    }
    wanted |= {f"receiver_plugins/{path.relative_to(ROOT / 'plugins')}" for path in (ROOT / "plugins").rglob("*.py")}
    wanted.add("receiver_plugins/py.typed")
    assert wanted <= shipped
    assert {"receiver/stream.schema.json", "receiver/simulate/speech/inbound.flac"} <= wanted


def test_nothing_else_is_in_the_wheel(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in contents(wheel)}
    assert tops == {"receiver", "receiver_plugins", f"media_stream_receiver-{PROJECT['version']}.dist-info"}


def test_the_commands_and_the_sinks_are_entry_points(wheel: Path) -> None:
    points = configparser.ConfigParser()
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/entry_points.txt")]
        points.read_string(archive.read(name).decode())
        assert any(name.endswith("/licenses/LICENSE") for name in archive.namelist())
    commands = dict(points["console_scripts"])
    assert commands == {"receiver": "receiver.cli:main", "media-stream-receiver": "receiver.cli:main"}
    assert dict(points["receiver.sinks"]) == {
        "transcribe": "receiver_plugins.transcribe.plugin:plugin",
        "wav": "receiver_plugins.wav:plugin",
    }


def test_the_version_is_the_changelogs_and_the_installed_one() -> None:
    headings = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == PROJECT["version"] == version("media-stream-receiver")


@pytest.mark.parametrize("name", ["dev", "image", "build", "system", "tools"])
def test_every_lock_pins_everything_by_hash_and_names_no_index(name: str) -> None:
    lock = (ROOT / "requirements" / f"{name}.txt").read_text()
    assert not re.search(r"https?://|file:|--(extra-)?index|--find-links", lock)
    pins = [line for line in lock.splitlines() if line and not line.startswith((" ", "#"))]
    assert pins and all("==" in line and line.endswith("\\") for line in pins)
    locked = {line.partition("==")[0] for line in pins}
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    extras = PROJECT["optional-dependencies"]
    direct = {
        "dev": [*PROJECT["dependencies"], *extras["opus"], *groups["dev"]],
        "image": [*PROJECT["dependencies"], *extras["g722"], *extras["transcribe"]],
        "build": groups["build"],
        "system": groups["system"],
        "tools": groups["tools"],
    }
    for requirement in direct[name]:
        found = re.match(r"[A-Za-z0-9_.-]+", requirement)
        assert found is not None and found[0].lower() in locked


@pytest.mark.parametrize("folder", ["receiver", "plugins"])
def test_every_module_has_its_test_module(folder: str) -> None:
    missing = []
    for module in sorted((ROOT / folder).rglob("*.py")):
        name = module.relative_to(ROOT).as_posix()
        if module.name == "__init__.py" or name in NOT_MIRRORED:
            continue
        inside = module.relative_to(ROOT / folder).parent if folder == "receiver" else module.relative_to(ROOT).parent
        if not (ROOT / "tests" / inside / f"test_{module.stem}.py").exists():
            missing.append(name)
    assert missing == []


def test_what_has_to_be_covered_whole_is_there() -> None:
    """A name that is none would be passed over in silence."""
    recipe = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    named, kept, edge, opus = (
        re.findall(rf"^{name} = (.*)$", recipe, re.MULTILINE)[0].split()
        for name in ("COVERED", "KEPT", "EDGE", "WITH_OPUS")
    )
    assert named[-2:] == ["$(KEPT:%=receiver/recordings/%.py)", "$(EDGE:%=receiver/asgi/%.py)"]
    named[-2:] = [*(f"receiver/recordings/{name}.py" for name in kept), *(f"receiver/asgi/{name}.py" for name in edge)]
    for pattern in (*named, *opus):
        assert list(ROOT.glob(pattern)), pattern


def test_an_exception_from_that_rule_is_still_one() -> None:
    for name in NOT_MIRRORED:
        path = Path(name)
        assert (ROOT / path).exists(), name
        inside = path.relative_to("receiver") if path.is_relative_to("receiver") else path
        assert not (ROOT / "tests" / inside.parent / f"test_{path.stem}.py").exists(), name
