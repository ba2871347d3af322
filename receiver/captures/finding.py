"""Finds captures where a user says that there are some: files, folders, patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from receiver.captures.capture import NAME, CaptureError


def find_captures(given: Sequence[str | Path]) -> list[Path]:
    """The captures that are meant, sorted, each once.

    A file is one, whatever its name. A stream's folder has its ``capture.jsonl``, plain or ``.gz``; any other folder
    stands for all of these below it or, where there is none, for every ``.jsonl`` and ``.jsonl.gz`` in it. What is
    neither may be a pattern (``*``, ``?``, ``[…]``, ``**``) of files and folders. Blocks for the disk.

    Raises CaptureError, which names what there is no capture in.
    """
    found: dict[str, Path] = {}
    for one in given:
        for path in _meant(one):
            found.setdefault(os.path.realpath(path), path)
    return sorted(found.values())


def _meant(given: str | Path) -> list[Path]:
    if os.path.isdir(given):
        captures = list(_below(given)) or _loose(Path(given))
        if not captures:
            raise CaptureError(f"{given}: no {NAME} in this folder, nor below it")
        return captures
    if os.path.exists(given):
        return [Path(given)]
    if not glob.has_magic(str(given)):
        raise CaptureError(f"{given}: no such file or folder")
    captures = []
    for match in glob.iglob(str(given), recursive=True):
        captures += _below(match) if os.path.isdir(match) else [Path(match)]
    if not captures:
        raise CaptureError(f"{given}: matches no capture")
    return captures


def _loose(folder: Path) -> list[Path]:
    """What somebody has put into a folder under names of their own."""
    found = [path for pattern in ("*.jsonl", "*.jsonl.gz") for path in folder.glob(pattern)]
    return [path for path in found if path.is_file() and path.name != "journal.jsonl"]


def _below(folder: str | Path) -> Iterator[Path]:
    """Of a folder and those in it. Where there is one both plain and packed, that is the same one."""
    for parent, folders, names in os.walk(folder):
        for name in (NAME, f"{NAME}.gz"):
            if name in names and os.path.isfile(os.path.join(parent, name)):  # no pipe, which would be waited for
                yield Path(parent, name)
                folders.clear()  # a stream's folder: what else is in it belongs to the stream
                break
