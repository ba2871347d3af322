"""``receiver serve`` as a child, with its output in a file, to be killed at any moment."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

START_S = 60.0
END_S = 30.0

Tables = Mapping[str, Mapping[str, object]]

_running: set[subprocess.Popen[bytes]] = set()


class NotStarted(Exception):
    """The server ended, or did not listen in time; its log says why."""


@dataclass(frozen=True)
class Scheduled:
    """A thread: how long it ran, how long it was ready to and another one had the processor, and its state now.

    States are the kernel's: R is running or ready to, D is waiting for a disk.
    """

    ran_s: float = 0.0
    waited_s: float = 0.0
    state: str = "S"


class Served:
    """One server process. It is started here; ``wait`` until it listens."""

    def __init__(
        self,
        folder: Path,
        tables: Tables | None = None,
        *,
        name: str = "server",
        before: Sequence[str] = (),
        program: Sequence[str] = ("-m", "receiver"),
        environ: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> None:
        """``tables`` go over those of a test; ``before`` is a program that runs it, e.g. strace.

        ``program`` is what Python runs.
        """
        self.root = folder / "recordings"
        self.token = token or secrets.token_hex(16)
        self.log = folder / f"{name}.log"
        config = folder / f"{name}.toml"
        merged: dict[str, dict[str, object]] = {
            "server": {"host": "127.0.0.1", "port": 0, "shutdown_delay_s": 0, "drain_timeout_s": 2},
            "management": {"port": 0},
            "recordings": {"directory": str(self.root)},
        }
        for table, changes in (tables or {}).items():
            merged.setdefault(table, {}).update(changes)
        config.write_text(_toml(merged))
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("RECEIVER")}
        command = [*before, sys.executable, "-P", *program, "serve", "-c", str(config)]
        with self.log.open("ab") as log:
            self._said_from = log.tell()
            self.started_at = time.monotonic()
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=folder,  # no package of the working directory is imported by mistake
                env={**inherited, "RECEIVER_TOKEN": self.token, **(environ or {})},
            )
        _running.add(self.process)
        self.address = ("", 0)
        self.management = ""

    def wait(self) -> Self:
        """Until it listens. Raises NotStarted."""
        deadline = self.started_at + START_S
        while not (listening := [line for line in self.said() if line.get("event") == "listening"]):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise NotStarted(f"{self.log}:\n{self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.005)
        self.listening_at = time.monotonic()
        host, port = re.fullmatch(r"https?://\[?(.*?)\]?:(\d+)", listening[0]["public"]).groups()  # type: ignore[union-attr]  # ours
        self.address = ("127.0.0.1" if host == "0.0.0.0" else host, int(port))
        self.management = listening[0]["management"]
        return self

    def said(self) -> list[dict[str, Any]]:
        """The lines of its log that are whole."""
        with self.log.open("rb") as log:
            log.seek(self._said_from)
            lines = log.read().split(b"\n")[:-1]
        return [json.loads(line) for line in lines if line.startswith(b"{")]

    def scheduled(self) -> dict[str, Scheduled]:
        """How its threads have fared until now, by their numbers."""
        found = {}
        for path in Path(f"/proc/{self.process.pid}/task").iterdir():
            with contextlib.suppress(OSError, IndexError):  # it has ended meanwhile
                ran, waited, _ = (path / "schedstat").read_text().split()
                state = (path / "stat").read_text().rpartition(")")[2].split()[0]
                found[path.name] = Scheduled(int(ran) / 1e9, int(waited) / 1e9, state)
        return found

    def kill(self) -> float:
        """SIGKILL; when that was (CLOCK_MONOTONIC)."""
        self.process.send_signal(signal.SIGKILL)
        at = time.monotonic()
        self.process.wait()
        _running.discard(self.process)
        return at

    def stop(self, within_s: float = END_S) -> int:
        """SIGTERM, and wait; the exit code. Then SIGKILL, which shows in it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(within_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
        _running.discard(self.process)
        return self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


@atexit.register
def _kill_running() -> None:
    """Leave no server behind, wherever this was broken off."""
    for process in _running:
        process.kill()
        process.wait()


def _toml(tables: Tables) -> str:
    return "".join(
        f"[{name}]\n" + "".join(f"{key} = {_value(value)}\n" for key, value in table.items())
        for name, table in tables.items()
    )


def _value(value: object) -> str:
    """A value of TOML; JSON writes plain ones in the same way."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value)
