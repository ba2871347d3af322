"""What a process does to its files: system calls, as strace writes them down, in the order in which they came back."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from outcome import CannotRun

Kind = Literal["create", "open", "write", "truncate", "rename", "unlink", "mkdir", "sync", "sync_all"]

TRACED = (
    "openat,creat,write,writev,pwrite64,pwritev,pwritev2,ftruncate,truncate,fallocate,lseek,rename,renameat,renameat2,"
    "unlink,unlinkat,rmdir,link,linkat,symlink,mkdir,mkdirat,fsync,fdatasync,sync,syncfs,sync_file_range,"
    "copy_file_range,sendfile"
)
UNKNOWN = {
    "creat", "writev", "pwritev", "pwritev2", "truncate", "fallocate", "renameat", "renameat2", "link", "linkat",
    "symlink", "sync_file_range", "copy_file_range", "sendfile",
}  # fmt: skip
"""Calls that nothing of ours makes today. One below the root ends the run: what follows would not be true."""

_LINE = re.compile(
    r"(?P<at>\d+\.\d+) (?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)(?P<rest>.*?)(?:<(?P<took>[\d.]+)>)?$"
)
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(?:\.\.\.)?')
_DESCRIPTOR = re.compile(r"(?:AT_FDCWD|(-?\d+))<([^>]*)>")


@dataclass(frozen=True)
class Call:
    """One call that succeeded. ``begun`` and ``at`` are when it was made and came back, in seconds since 1970.

    ``handle`` is what an opened file is called from then on: its name may change meanwhile, and its descriptor is used
    again when it is closed. ``path`` is where it was when it was opened.
    """

    begun: float
    at: float
    kind: Kind
    path: str
    offset: int = 0
    data: bytes = b""
    size: int = 0  # of a truncation
    to: str = ""  # of a rename
    handle: int = 0


def command(traces: Path) -> list[str]:
    """What goes before a program's command line; it writes a file per thread, named ``traces`` and its number.

    The program stays our own child (-D). Raises CannotRun.
    """
    strace = shutil.which("strace")
    if strace is None:
        raise CannotRun("strace is needed: on Debian, apt-get install strace")
    traced = ["-e", f"trace={TRACED}", "-e", "status=successful", "-e", "signal=none"]
    return [
        strace,
        "-D",
        "--seccomp-bpf",
        "-ff",
        "-o",
        str(traces),
        "-q",
        "-y",
        "-xx",
        "-s",
        "1000000",
        "-ttt",
        "-T",
        *traced,
    ]


def read(traces: Path, root: Path) -> list[Call]:
    """Every call below ``root``, by when it came back. Raises ValueError for one that this cannot account for."""
    raw = []
    for thread in traces.parent.glob(f"{traces.name}.*"):
        raw += [found for line in thread.read_text("latin-1").splitlines() if (found := _LINE.match(line))]
    raw.sort(key=lambda found: float(found["at"]) + float(found["took"] or 0))
    opened = _Opened(str(root))
    return [call for found in raw for call in opened.understood(found)]


class _Opened:
    """Descriptors, and where each of them stands."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._handles: dict[int, tuple[int, str]] = {}
        self._offsets: dict[int, int] = {}
        self._number = itertools.count(1)

    def understood(self, found: re.Match[str]) -> Iterator[Call]:
        """What a line means for the tree below the root: no call, or one or two."""
        name, arguments, result = found["name"], found["arguments"], int(found["result"])
        begun = float(found["at"])
        at = begun + float(found["took"] or 0)
        texts = [bytes.fromhex(text.replace("\\x", "")) for text in _TEXT.findall(_DESCRIPTOR.sub("", arguments))]
        places = [(int(number or -1), _plain(path)) for number, path in _DESCRIPTOR.findall(arguments)]
        if name in ("sync", "syncfs"):  # of whatever file system: there is no other that anybody would ask for
            yield Call(begun, at, "sync_all", self._root)
            return
        if name in BY_PATH:
            below = places[0][1] if places and name in BELOW else "/"
            paths = [str(Path(below) / text.decode(errors="replace")) for text in texts]
            if below == "/" and not all(text.startswith(b"/") for text in texts):
                raise ValueError(f"{name} of {paths}: of which folder is not said")
        else:
            paths = [path for _, path in places]
        if not paths or not (paths[0] == self._root or paths[0].startswith(f"{self._root}/")):
            return
        path = paths[0]
        if name in UNKNOWN:
            raise ValueError(f"{name} of {path}: nobody has taught this what that does to a disk")
        if name == "openat":
            handle = next(self._number)
            self._handles[result] = handle, path
            self._offsets[handle] = 0
            yield Call(begun, at, "create" if "O_CREAT" in arguments else "open", path, handle=handle)
            if "O_TRUNC" in arguments:
                yield Call(begun, at, "truncate", path, handle=handle)
        elif name in BY_PATH:
            kind: Kind = "rename" if name == "rename" else "mkdir" if name in ("mkdir", "mkdirat") else "unlink"
            yield Call(begun, at, kind, path, to=paths[-1])
        else:
            yield from self._of_descriptor(name, arguments, result, begun, at, places[0][0], texts)

    def _of_descriptor(
        self, name: str, arguments: str, result: int, begun: float, at: float, descriptor: int, texts: list[bytes]
    ) -> Iterator[Call]:
        handle, path = self._handles[descriptor]
        if name == "lseek":
            self._offsets[handle] = result
        elif name == "write":
            offset = self._offsets[handle]
            self._offsets[handle] = offset + result
            yield Call(begun, at, "write", path, offset, texts[-1][:result], handle=handle)
        elif name == "pwrite64":
            offset = int(arguments.rsplit(", ", 1)[1])
            yield Call(begun, at, "write", path, offset, texts[-1][:result], handle=handle)
        elif name == "ftruncate":
            yield Call(begun, at, "truncate", path, size=int(arguments.rsplit(", ", 1)[1]), handle=handle)
        else:
            yield Call(begun, at, "sync", path, handle=handle)


BY_PATH = {"openat", "rename", "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat"}
"""Calls that name files by their paths."""

BELOW = {"openat", "mkdirat", "unlinkat"}
"""Those whose paths may begin at a descriptor."""


def _plain(path: str) -> str:
    """A descriptor's path, which may be spelled out in hexadecimal."""
    return bytes.fromhex(path.replace("\\x", "")).decode(errors="replace") if path.startswith("\\x") else path
