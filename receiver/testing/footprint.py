"""A footprint: the threads, descriptors and processes that this process has, compared before and after."""

from __future__ import annotations

import gc
import multiprocessing
import os
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

DESCRIPTORS = Path("/proc/self/fd") if Path("/proc/self/fd").is_dir() else Path("/dev/fd")
LOOK_S = 0.02


@dataclass(frozen=True)
class Footprint:
    """What there is at one moment."""

    threads: frozenset[threading.Thread]
    descriptors: Counter[str]
    """By what they lead to."""
    processes: frozenset[int]

    @classmethod
    def now(cls) -> Self:
        """Look. What nobody refers to any more is collected first."""
        gc.collect()
        return cls(frozenset(threading.enumerate()), _descriptors(), _processes())

    def grown(self, before: Footprint) -> list[str]:
        """What is here and was not there before, one line each."""
        return [
            *sorted(f"the thread {thread.name!r}" for thread in self.threads - before.threads),
            *sorted(f"an open descriptor of {target}" for target in self.descriptors - before.descriptors),
            *sorted(f"the process {pid}" for pid in self.processes - before.processes),
        ]


def grown_since(before: Footprint, within_s: float) -> list[str]:
    """What is still there beyond ``before`` when so much time has passed; as soon as nothing is, nothing."""
    deadline = time.monotonic() + within_s
    while (grown := Footprint.now().grown(before)) and time.monotonic() < deadline:
        time.sleep(LOOK_S)
    return grown


def _descriptors() -> Counter[str]:
    targets: Counter[str] = Counter()
    for name in os.listdir(DESCRIPTORS):
        with suppress(OSError):  # that of the listing itself
            target = os.readlink(DESCRIPTORS / name)
            targets[target if target.startswith("/") else target.partition(":")[0]] += 1
    return targets


def _processes() -> frozenset[int]:
    children = {process.pid for process in multiprocessing.active_children() if process.pid is not None}
    for task in Path("/proc/self/task").glob("*/children"):  # also those that are not multiprocessing's
        with suppress(OSError):
            children |= {int(pid) for pid in task.read_text().split()}
    return frozenset(children)
