"""What may be on a disk after the power has failed: a model of a file system that keeps no promise but that of a sync.

What a sync covered is there. Of the rest, names and contents each may or may not have come to the disk; ``Luck`` says
which of them did. A file whose size came to the disk, and whose contents did not, reads as zeros.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from enum import Enum
from pathlib import Path, PurePath

from calls import Call


class Luck(Enum):
    """What came to the disk beside what was synced."""

    ALL = "all"  # everything, as when the process is killed and the machine goes on
    NONE = "none"  # nothing
    NAMES = "names"  # all names; contents and sizes only as they were synced
    ZEROS = "zeros"  # all names and sizes; where contents were not synced, zeros
    SOME = "some"  # dice: of each folder its old or its new names, of each file some of its writes, in their order


class File:
    """Contents, as the kernel has them and as they are on the disk for certain."""

    def __init__(self) -> None:
        self.now = bytearray()
        self.synced = b""
        self.pending: list[Call] = []

    def do(self, call: Call) -> None:
        """A write or a truncation."""
        _apply(self.now, call)
        self.pending.append(call)

    def sync(self, before: float) -> None:
        """What was done before that time is on the disk."""
        if not self.pending:
            return
        if self.pending[-1].at <= before:
            self.synced, self.pending = bytes(self.now), []
            return
        content = bytearray(self.synced)
        while self.pending[0].at <= before:
            _apply(content, self.pending.pop(0))
        self.synced = bytes(content)

    def after(self, luck: Luck, dice: random.Random) -> bytes:
        """What is read after the power has come back."""
        if luck is Luck.ALL:
            return bytes(self.now)
        if luck is Luck.ZEROS:
            return self.synced[: len(self.now)].ljust(len(self.now), b"\0")
        if luck is Luck.SOME:
            content = bytearray(self.synced)
            for call in self.pending[: dice.randint(0, len(self.pending))]:
                _apply(content, call)
            return bytes(content)
        return self.synced


class Folder:
    """Names, as the kernel has them and as they are on the disk for certain."""

    def __init__(self) -> None:
        self.now: dict[str, Folder | File] = {}
        self.synced: dict[str, Folder | File] = {}


class Disk:
    """The tree below one folder, which is there and empty."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._top = Folder()
        self._opened: dict[int, Folder | File] = {}
        self._syncing: dict[Call, list[tuple[Folder, dict[str, Folder | File]]]] = {}

    def begin(self, call: Call) -> None:
        """A sync begins: names that come later are none of its business."""
        if call.kind == "sync_all":
            folders = list(self._folders(self._top))
        else:
            node = self._opened[call.handle]
            folders = [node] if isinstance(node, Folder) else []
        self._syncing[call] = [(each, dict(each.now)) for each in folders]

    def do(self, call: Call) -> None:
        """Take one more call."""
        if call.kind in ("sync", "sync_all"):
            self._sync(call)
        elif call.kind in ("write", "truncate"):
            file = self._opened[call.handle]
            assert isinstance(file, File), call
            file.do(call)
        elif (place := self._find(call.path)) is None:
            if call.kind == "open":
                self._opened[call.handle] = self._top
        else:
            folder, name = place
            if call.kind in ("create", "open"):
                self._opened[call.handle] = folder.now.setdefault(name, File())
            elif call.kind == "mkdir":
                folder.now[name] = Folder()
            elif call.kind == "unlink":
                del folder.now[name]
            elif there := self._find(call.to):
                there[0].now[there[1]] = folder.now.pop(name)

    def _sync(self, call: Call) -> None:
        for folder, names in self._syncing.pop(call):
            folder.synced = names
        if call.kind == "sync_all":
            nodes = [node for folder in self._folders(self._top) for node in folder.now.values()]
        else:
            nodes = [self._opened[call.handle]]
        for node in nodes:
            if isinstance(node, File):
                node.sync(call.begun)

    def left(self, luck: Luck, dice: random.Random) -> list[tuple[str, bytes | None]]:
        """Paths and contents of what is left, folders first and without contents."""
        return list(self._left(self._top, PurePath(), luck, dice))

    def _left(
        self, folder: Folder, path: PurePath, luck: Luck, dice: random.Random
    ) -> Iterator[tuple[str, bytes | None]]:
        old = luck is Luck.NONE or (luck is Luck.SOME and dice.random() < 0.5)
        for name, node in (folder.synced if old else folder.now).items():
            if isinstance(node, File):
                yield str(path / name), node.after(luck, dice)
            else:
                yield str(path / name), None
                yield from self._left(node, path / name, luck, dice)

    def _folders(self, folder: Folder) -> Iterator[Folder]:
        yield folder
        for node in folder.now.values():
            if isinstance(node, Folder):
                yield from self._folders(node)

    def _find(self, path: str) -> tuple[Folder, str] | None:
        """The folder and the name in it; None for the root itself."""
        parts = PurePath(path).relative_to(self._root).parts
        folder = self._top
        for part in parts[:-1]:
            below = folder.now[part]
            assert isinstance(below, Folder), path
            folder = below
        return (folder, parts[-1]) if parts else None


def _apply(content: bytearray, call: Call) -> None:
    if call.kind == "truncate":
        del content[call.size :]
        content.extend(bytes(call.size - len(content)))
    else:
        end = call.offset + len(call.data)
        content.extend(bytes(max(0, end - len(content))))
        content[call.offset : end] = call.data
