"""A receiver as it is deployed: a process with a configuration file, and the programs that stand around it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the project."""
    return Path(__file__).parents[2]


@pytest.fixture(scope="session")
def program() -> Callable[..., str]:
    """``program("caddy")``: where it is. ``make test-system`` puts what wheels and Debian have into the environment."""

    def find(name: str, *, debian: bool = False) -> str:
        places = [Path(sys.prefix, "debian/usr", folder) for folder in ("bin", "sbin")]
        if not debian:
            places.insert(0, Path(sys.prefix, "bin"))
        found = shutil.which(name, path=":".join(map(str, [*places, os.environ["PATH"], "/usr/sbin"])))
        assert found is not None, f"{name} is not here: make test-system gets it"
        return found

    return find


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """A port that nobody listens at now."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port

    return find


@pytest.fixture(scope="session")
def until() -> Callable[..., None]:
    """``until(condition)``: wait for it; what it was last is in the error."""

    def wait(condition: Callable[[], Any], seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not (last := condition()):
            assert time.monotonic() < deadline, f"never so: {last!r}"
            time.sleep(0.02)

    return wait


@pytest.fixture(scope="session")
def running_program() -> Callable[..., Any]:
    """``with running_program([…], log) as process``: killed, with what it started, if it does not end by itself."""

    @contextlib.contextmanager
    def run(command: list[Any], log: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
        with log.open("ab") as output:
            process = subprocess.Popen(
                list(map(str, command)), stdout=output, stderr=output, start_new_session=True, **options
            )
            try:
                yield process
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait(30)

    return run


class Receiver:
    """A process that serves, and what it says."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, said: Path) -> None:
        self.process = process
        self.recordings = folder / "recordings"
        self._said = said

    def lines(self, event: str) -> list[dict[str, Any]]:
        """What it has said of an event so far."""
        told = [json.loads(line) for line in self._said.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in told if line["event"] == event]

    def told(self) -> list[dict[str, Any]]:
        """The contents of every ``stream.json``, the oldest first."""
        return [json.loads(path.read_text()) for path in sorted(self.recordings.glob("*/*/stream.json"))]


@pytest.fixture
def serving(
    tmp_path: Path, running_program: Callable[..., Any], until: Callable[..., None]
) -> Callable[..., contextlib.AbstractContextManager[Receiver]]:
    """``with serving(text, port=…) as receiver``: with this as its configuration; listeners are on the loopback."""

    @contextlib.contextmanager
    def serve(config: str = "", *, port: int = 0, management: int = 0, name: str = "") -> Iterator[Receiver]:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "config.toml").write_text(config)
        said = folder / "receiver.log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RECEIVER")}
        environment |= {
            "RECEIVER_TOKEN": TOKEN,
            "RECEIVER__SERVER__HOST": "127.0.0.1",
            "RECEIVER__SERVER__PORT": str(port),
            "RECEIVER__MANAGEMENT__PORT": str(management),
        }
        command = [sys.executable, "-P", "-m", "receiver", "serve"]
        with running_program(command, said, cwd=folder, env=environment) as process:
            receiver = Receiver(process, folder, said)
            until(lambda: process.poll() is not None or receiver.lines("listening"))
            assert process.poll() is None, said.read_text()
            yield receiver

    return serve
