"""A network of two, made of the kernel's own parts, whose cable can be pulled out. Needs root and iproute2."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import threading
from types import TracebackType
from typing import Self

from outcome import CannotRun

OURS, THEIRS = "10.213.77.1", "10.213.77.2"
CLONE_NEWNET = 0x40000000
PATIENCE_S = 20.0


class Network:
    """A namespace with the other end of our cable in it, for as long as the block lasts. Raises CannotRun."""

    def __init__(self) -> None:
        self.name = f"torture-{os.getpid()}"
        self._here, self._there = f"t{os.getpid()}a"[-15:], f"t{os.getpid()}b"[-15:]

    def __enter__(self) -> Self:
        if os.geteuid() != 0 or not shutil.which("ip"):
            raise CannotRun("network namespaces need root, and iproute2")
        try:
            _ip("netns", "add", self.name)
            _ip("link", "add", self._here, "type", "veth", "peer", "name", self._there, "netns", self.name)
            _ip("addr", "add", f"{OURS}/30", "dev", self._here)
            _ip("link", "set", self._here, "up")
            _ip("-n", self.name, "addr", "add", f"{THEIRS}/30", "dev", self._there)
            _ip("-n", self.name, "link", "set", self._there, "up")
        except subprocess.CalledProcessError as problem:
            self._remove()
            raise CannotRun(f"no network can be made here: {problem.stderr.decode().strip()}") from problem
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._remove()

    def connect(self, address: tuple[str, int]) -> socket.socket:
        """A connection from the other side: its socket belongs to the namespace, whoever uses it."""
        made: list[socket.socket | OSError] = []

        def enter() -> None:
            try:
                with open(f"/run/netns/{self.name}") as place:
                    if ctypes.CDLL(None, use_errno=True).setns(place.fileno(), CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), "setns")
                made.append(socket.create_connection(address, PATIENCE_S))
            except OSError as problem:
                made.append(problem)

        thread = threading.Thread(target=enter)  # which ends then: it is the thread that has moved
        thread.start()
        thread.join()
        if isinstance(made[0], OSError):
            raise made[0]
        return made[0]

    def cut(self) -> None:
        """Pull the cable out at the other end: nobody is told anything."""
        _ip("-n", self.name, "link", "set", self._there, "down")

    def mend(self) -> None:
        """Put it in again."""
        _ip("-n", self.name, "link", "set", self._there, "up")

    def _remove(self) -> None:
        for command in (("link", "del", self._here), ("netns", "del", self.name)):
            subprocess.run(["ip", *command], capture_output=True)


def _ip(*command: str) -> None:
    subprocess.run(["ip", *command], check=True, capture_output=True)
