"""The servers that are compared, each a process of its own on the server's core."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from machine import server_core
from programs import HERE, CannotMeasure

START_S = 30.0


@dataclass
class Server:
    """One that listens, in one process or several."""

    name: str
    pids: list[int]
    port: int
    folder: Path
    token: str
    management: list[int] = field(default_factory=list)
    started_s: float = 0.0  # of CLOCK_MONOTONIC, just before the process was made

    def metrics(self) -> dict[str, float]:
        """All samples by their line without the value, added up over the processes."""
        found: dict[str, float] = {}
        for port in self.management:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                for line in answer.read().decode().splitlines():
                    if line and line[0] != "#":
                        key, value = line.rsplit(" ", 1)
                        found[key] = found.get(key, 0.0) + float(value)
        return found

    def lag_p99_s(self, before: Mapping[str, float]) -> float:
        """How late the sockets' loop woke since ``before``, as the bound of a bucket, in seconds."""
        prefix = "receiver_event_loop_lag_seconds_bucket{le="
        grown = {
            float(key.split('"')[1]): value - before.get(key, 0.0)
            for key, value in self.metrics().items()
            if key.startswith(prefix)
        }
        return min((bound for bound, count in grown.items() if count >= 0.99 * max(grown.values())), default=0.0)

    def alone(self, number: int) -> Server:
        """One of its processes."""
        return Server(self.name, [self.pids[number]], self.port, self.folder, self.token, [self.management[number]])

    def metric(self, prefix: str) -> float:
        """The sum of all samples whose line begins so."""
        return sum(value for key, value in self.metrics().items() if key.startswith(prefix))


@contextmanager
def floor(programs: Mapping[str, Path], folder: Path) -> Iterator[Server]:
    """Reads and unmasks; nothing else."""
    with _process("floor", [programs["floor"], "0"], folder) as process:
        yield Server("floor", [process.pid], _said_port(process), folder, "")


@contextmanager
def job(programs: Mapping[str, Path], folder: Path) -> Iterator[Server]:
    """The same job in C, the obvious way."""
    token = secrets.token_hex(16)
    with _process("job", [programs["job"], "0", token, folder], folder) as process:
        yield Server("job", [process.pid], _said_port(process), folder, token)


@contextmanager
def obvious(folder: Path) -> Iterator[Server]:
    """The same job in Python, the obvious way."""
    with _script("obvious", [sys.executable, HERE / "obvious.py"], folder) as server:
        yield server


@contextmanager
def pipecat(python: Path, folder: Path) -> Iterator[Server]:
    """pipecat's own WebSocket transport and audio buffer, run by the interpreter of an environment that has it."""
    with _script("pipecat", [python, HERE / "pipecat_calls.py"], folder) as server:
        yield server


@contextmanager
def receiver(
    folder: Path,
    settings: Mapping[str, Mapping[str, object]] | None = None,
    *,
    processes: int = 1,
    sinks: Mapping[str, Path] | None = None,
    wait: bool = True,
) -> Iterator[Server]:
    """This server with its default settings, except where ``settings`` has tables of other ones.

    Several processes share one port, and the server's core as well where there is no third one for the next of them.
    """
    token = secrets.token_hex(16)
    port = free_port()
    server = Server("receiver", [], port, folder, token)
    with contextlib.ExitStack() as stack:
        for number in range(processes):
            management = free_port(besides={port, *server.management})
            tables: dict[str, dict[str, object]] = {
                "server": {"host": "127.0.0.1", "port": port, "shutdown_delay_s": 0},
                "management": {"port": management},
                "recordings": {"directory": str(folder / "recordings")},
            }
            for name, table in (settings or {}).items():
                tables.setdefault(name, {}).update(table)
            if sinks:
                tables["sinks.wav"] = {"use": "wav"}
                tables |= {f"sinks.{name}": {"use": str(path)} for name, path in sinks.items()}
            config = folder / f"config-{number}.toml"
            config.write_text(_toml(tables))
            server.started_s = server.started_s or time.monotonic()
            command = [sys.executable, "-m", "receiver", "serve", "-c", config]
            process = stack.enter_context(
                _process(f"receiver-{number}", command, folder, {"RECEIVER_TOKEN": token}, number)
            )
            server.pids.append(process.pid)
            server.management.append(management)
            if wait:
                _wait_ready(process, folder / f"receiver-{number}.log", f"http://127.0.0.1:{management}/readyz")
        yield server


def free_port(besides: Container[int] = ()) -> int:
    """One that nobody listens on just now, and none of ``besides``, which somebody will."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = int(server.getsockname()[1])
        if port not in besides:
            return port


@contextmanager
def _script(name: str, command: list[object], folder: Path) -> Iterator[Server]:
    token = secrets.token_hex(16)
    port = free_port()
    with _process(name, [*command, port, folder], folder, {"TOKEN": token}) as process:
        _wait_ready(process, folder / f"{name}.log", f"http://127.0.0.1:{port}/")
        yield Server(name, [process.pid], port, folder, token)


@contextmanager
def _process(
    name: str, command: list[object], folder: Path, environ: Mapping[str, str] | None = None, number: int = 0
) -> Iterator[subprocess.Popen[bytes]]:
    """A program on its core, its output in a log of the folder; ended when the block is left."""
    core = server_core(number)
    where = None if core is None else {core}
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=subprocess.PIPE if name in ("floor", "job") else log,
            stderr=log,
            cwd=folder,  # no package of the working directory is imported by mistake
            env={**os.environ, **(environ or {})},
            preexec_fn=(lambda: os.sched_setaffinity(0, where)) if where else None,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def _said_port(process: subprocess.Popen[bytes]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def _wait_ready(process: subprocess.Popen[bytes], log: Path, url: str) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except urllib.error.HTTPError as error:
            if error.code < 500:  # it answers: what it says does not matter
                return
        except OSError:
            pass
        time.sleep(0.02)
    raise CannotMeasure(f"{log.stem} does not start:\n{log.read_text(errors='replace')[-2000:]}")


def _toml(tables: Mapping[str, Mapping[str, object]]) -> str:
    """Tables of plain values: JSON writes those as TOML does."""
    return "".join(
        f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
        for name, table in tables.items()
    )
