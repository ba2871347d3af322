"""The machine that was measured on: its cores, what runs there, and what a process takes of it."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("media-stream-receiver", "uvicorn", "websockets", "starlette", "msgspec", "numpy", "uvloop", "pydantic")


def cores() -> tuple[int, int] | None:
    """The core of the server and that of the load; None where there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], allowed[1]) if len(allowed) > 1 else None


def server_core(number: int) -> int | None:
    """The core of one of several servers: the first, and those behind the load's where there are any."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        return None
    return allowed[number + 1] if 0 < number < len(allowed) - 1 else allowed[0]


def described() -> dict[str, object]:
    """Machine, versions and date, as they stand beside every figure."""
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": f"{cpu_model()}, {os.cpu_count()} cores, {platform.machine()}",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def cpu_model() -> str:
    """As the kernel calls it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown processor"


def load_average() -> float:
    """How many programs ran in the last minute."""
    return os.getloadavg()[0]


def rss_bytes(pid: int) -> int:
    """Memory that is really there."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def descriptors(pid: int) -> int:
    """How many files, sockets and the like are open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid: int) -> int:
    """How many threads there are."""
    return len(os.listdir(f"/proc/{pid}/task"))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
