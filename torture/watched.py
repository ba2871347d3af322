"""A server, and what can be seen of it from outside: its metrics, its memory, what it has open, what waits for it."""

from __future__ import annotations

import json
import os
import urllib.request
from pathlib import Path
from typing import Any

from served import Served, Tables

HERE = Path(__file__).parent
MIB = 2**20


class Watched(Served):
    """One that runs, or has ended. Streams' folders are called as their calls."""

    def __init__(self, folder: Path, tables: Tables, *, probed: bool = False, debug: bool = False) -> None:
        """``probed``: it also says what only it can know; ``debug``: and what holds its loop (``probed.py``)."""
        folder.mkdir(parents=True, exist_ok=True)
        self._probe = folder / "probe.json"
        self.seen_recv_q = 0
        environ = {"PROBE": str(self._probe), **({"SLOW": "1"} if debug else {})}
        program = (str(HERE / "probed.py"),) if probed else ("-m", "receiver")
        super().__init__(folder, _by_call(tables), program=program, environ=environ)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid

    def metrics(self) -> dict[str, float]:
        """All series by their lines without the value."""
        with urllib.request.urlopen(f"{self.management}/metrics", timeout=20) as answer:
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
        told: dict[str, float] = json.loads(self._probe.read_text()) if self._probe.exists() else {"tasks": 0}
        return told

    def tasks(self) -> int:
        """Of the sockets' loop, where the process is probed."""
        return int(self.probe()["tasks"])

    def recv_q(self) -> int:
        """Bytes that wait in the kernel for the public port, on the connection that has most; the worst is kept."""
        port, most = f":{self.address[1]:04X}", 0
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1].endswith(port) and fields[3] != "0A":  # 0A listens: those wait to be accepted
                most = max(most, int(fields[4].split(":")[1], 16))
        self.seen_recv_q = max(self.seen_recv_q, most)
        return most


def _by_call(tables: Tables) -> dict[str, dict[str, Any]]:
    return {"recordings": {"path": "{call_id}"}, **{name: dict(table) for name, table in tables.items()}}
