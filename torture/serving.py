"""A real server in a process of its own, and what can be seen of it from outside."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
START_S = 30.0
END_S = 90.0
MIB = 2**20


@dataclass
class Served:
    """One that runs, or has ended."""

    process: subprocess.Popen[bytes]
    folder: Path
    token: str
    public: int = 0
    management: int = 0
    seen_recv_q: int = field(default=0)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid

    @property
    def recordings(self) -> Path:
        """Where streams' folders are, each with the id of its call."""
        return self.folder / "recordings"

    def metrics(self) -> dict[str, float]:
        """All series by their lines without the value."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.management}/metrics", timeout=20) as answer:
            lines = answer.read().decode().splitlines()
        return {key: float(value) for key, value in (line.rsplit(" ", 1) for line in lines if line and line[0] != "#")}

    def live(self) -> int:
        """Streams that are open."""
        return int(sum(value for name, value in self.metrics().items() if name.startswith("receiver_streams{")))

    def rss(self) -> int:
        """Memory that is really there, in bytes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    def descriptors(self) -> int:
        """Files, sockets and the like that are open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def threads(self) -> int:
        """How many there are."""
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def probe(self) -> dict[str, float]:
        """What the process says of itself, where it is probed."""
        path = self.folder / "probe.json"
        told: dict[str, float] = json.loads(path.read_text()) if path.exists() else {"tasks": 0}
        return told

    def tasks(self) -> int:
        """Of the sockets' loop, where the process is probed."""
        return int(self.probe()["tasks"])

    def recv_q(self) -> int:
        """Bytes that wait in the kernel for the public port, on the connection that has most; the worst is kept."""
        port, most = f":{self.public:04X}", 0
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1].endswith(port) and fields[3] != "0A":  # 0A listens: those wait to be accepted
                most = max(most, int(fields[4].split(":")[1], 16))
        self.seen_recv_q = max(self.seen_recv_q, most)
        return most

    def log(self) -> list[dict[str, Any]]:
        """What it has said."""
        lines = (self.folder / "log").read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def stop(self, number: signal.Signals = signal.SIGTERM, within_s: float = END_S) -> int:
        """Have it end; its exit code. Raises TimeoutExpired."""
        self.process.send_signal(number)
        return self.process.wait(within_s)


@contextmanager
def serving(
    folder: Path, tables: Mapping[str, Mapping[str, object]], *, probed: bool = False, debug: bool = False
) -> Iterator[Served]:
    """Run with these tables of the configuration; killed in the end if it is still there."""
    token = secrets.token_hex(16)
    whole: dict[str, dict[str, object]] = {
        "server": {"host": "127.0.0.1", "port": 0, "shutdown_delay_s": 0},
        "management": {"port": 0},
        "recordings": {"directory": "recordings", "path": "{call_id}"},
        "log": {"format": "json"},
    }
    for name, table in tables.items():
        whole.setdefault(name, {}).update(table)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(_toml(whole))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RECEIVER")}
    environ |= {"RECEIVER_TOKEN": token, "PROBE": str(folder / "probe.json")}
    if debug:
        environ["SLOW"] = "1"
    command = [sys.executable, "-P", str(HERE / "probed.py")] if probed else [sys.executable, "-P", "-m", "receiver"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, "serve", "-c", "config.toml"], stderr=log, env=environ, cwd=folder)
    served = Served(process, folder, token)
    try:
        addresses = _listening(served)
        served.public, served.management = (int(addresses[name].rsplit(":", 1)[1]) for name in ("public", "management"))
        yield served
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _listening(served: Served) -> dict[str, Any]:
    until = time.monotonic() + START_S
    while time.monotonic() < until and served.process.poll() is None:
        for line in served.log():
            if line["event"] == "listening":
                return line
        time.sleep(0.05)
    raise RuntimeError("the server did not start:\n" + (served.folder / "log").read_text()[-2000:])


def _toml(tables: Mapping[str, Mapping[str, object]]) -> str:
    """Tables of plain values: JSON writes those as TOML does."""
    return "".join(
        f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
        for name, table in tables.items()
    )
