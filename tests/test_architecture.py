"""The import rules hold, and each of them can fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
Lint = Callable[[str], subprocess.CompletedProcess[str]]

# One planted line per promise: which contract it breaks, where it is planted, what it says.
PLANTS = [
    ("server", "receiver/sinks/planted.py", "from starlette.websockets import WebSocket"),
    ("server", "receiver/cli/planted.py", "import uvicorn"),
    ("server", "receiver/sessions/planted.py", "def late():\n    import starlette"),
    ("server", "receiver_plugins/planted.py", "import starlette.applications"),
    ("client", "receiver/sessions/planted.py", "import websockets"),
    ("client", "receiver/sinks/planted.py", "from websockets.asyncio.client import connect"),
    ("client", "receiver_plugins/transcribe/planted.py", "import websockets"),
    ("pure", "receiver/auth/planted.py", "import time"),
    ("pure", "receiver/dialects/planted.py", "from asyncio import sleep"),
    ("pure", "receiver/media/planted.py", "import threading"),
    ("pure", "receiver/sessions/planted.py", "import logging"),
    ("pure", "receiver/sessions/planted.py", "import socket"),
    ("pure", "receiver/sessions/planted.py", "from concurrent.futures import ThreadPoolExecutor"),
    ("pure", "receiver/media/planted.py", "import structlog"),
    ("pure", "receiver/media/planted.py", "from receiver import logs"),
    ("middle", "receiver/sessions/planted.py", "from receiver.sinks import sink"),
    ("middle", "receiver/dialects/planted.py", "import receiver.asgi"),
    ("middle", "receiver/auth/planted.py", "from receiver.metrics import Metrics"),
    ("middle", "receiver/sessions/planted.py", "import receiver.testing"),
    ("middle", "receiver/sessions/planted.py", "from receiver.captures.capture import Batch"),
    ("captures", "receiver/captures/planted.py", "import receiver.sinks.hub"),
    ("captures", "receiver/captures/planted.py", "from receiver.asgi import connection"),
    ("sinks", "receiver/sinks/planted.py", "from receiver.captures import history"),
    ("sinks", "receiver/sinks/planted.py", "from receiver.sessions import session"),
    ("sinks", "receiver/sinks/planted.py", "from receiver.media import g711"),
    ("nouns", "receiver/events.py", "import receiver.sinks"),
    ("plugins", "receiver_plugins/planted.py", "from receiver.stream import Stream"),
    ("plugins", "receiver_plugins/planted.py", "import receiver.recordings"),
    ("plugins", "receiver_plugins/planted.py", "from receiver.sessions.session import Session"),
    ("plugins", "receiver_plugins/planted.py", "import receiver"),
    ("core", "receiver/sinks/planted.py", "import receiver_plugins"),
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two packages and the contracts, where a line can be planted."""
    folder = tmp_path_factory.mktemp("architecture")
    no_caches = shutil.ignore_patterns("__pycache__", "*.flac")
    shutil.copytree(ROOT / "receiver", folder / "receiver", ignore=no_caches)
    shutil.copytree(ROOT / "plugins", folder / "receiver_plugins", ignore=no_caches)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.fixture(scope="module")
def lint(copy: Path) -> Lint:
    """Run import-linter on the copy as it is now; the empty name runs every contract."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    program = "from importlinter.cli import lint_imports_command as run; run()"

    def run(contract: str) -> subprocess.CompletedProcess[str]:
        options = ["--contract", contract] if contract else []
        return subprocess.run(
            [sys.executable, "-c", program, "--no-logo", *options],
            cwd=copy,
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def test_the_contracts_hold(lint: Lint) -> None:
    result = lint("")
    assert result.returncode == 0, result.stdout
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken." in result.stdout


@pytest.mark.parametrize(("contract", "file", "line"), PLANTS)
def test_a_planted_import_breaks_its_contract(copy: Path, lint: Lint, contract: str, file: str, line: str) -> None:
    planted = copy / file
    before = planted.read_text() if planted.exists() else None
    planted.write_text(f"{before or ''}\n{line}\n")
    try:
        result = lint(contract)
    finally:
        if before is None:
            planted.unlink()
        else:
            planted.write_text(before)
    assert result.returncode == 1, result.stdout + result.stderr
    name = next(entry["name"] for entry in CONTRACTS if entry["id"] == contract)
    assert f"{name} BROKEN" in " ".join(result.stdout.split())


def test_every_contract_is_proven_to_fail() -> None:
    assert {contract for contract, _, _ in PLANTS} == {entry["id"] for entry in CONTRACTS}


@pytest.mark.parametrize(
    "module", ["receiver", "receiver.sessions", "receiver.media", "receiver.dialects", "receiver.auth"]
)
def test_importing_the_middle_loads_no_server(module: str) -> None:
    program = f"import sys, {module}; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    loaded = set(result.stdout.split())
    assert module in loaded, result.stderr
    assert not loaded & {"starlette", "uvicorn", "uvloop", "websockets", "prometheus_client", "typer", "asyncio"}


def test_every_package_of_the_tree_is_in_the_rules() -> None:
    """A new folder is to be thought about: it gets its place in a contract, or stands here with a reason."""
    named = {
        module
        for entry in CONTRACTS
        for key in ("source_modules", "allowed_importers", "forbidden_modules")
        for module in entry.get(key, [])
    }
    packages = {f"receiver.{path.parent.name}" for path in (ROOT / "receiver").glob("*/__init__.py")}
    assert packages - named == set()
