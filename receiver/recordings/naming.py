"""Where a stream's folder goes, so that nothing a peer says can name a place outside of the root."""

from __future__ import annotations

import contextlib
import os
import re
from datetime import UTC
from pathlib import Path
from string import Formatter
from typing import Any

import msgspec

from receiver.stream import StreamFacts

MAX_COMPONENT = 100  # file systems allow 255 bytes; what follows a cut name, and a shell, should fit as well
ERASED = ".erased"  # below the root, for folders that are being erased: no stream's own name begins with a dot
ATTEMPTS = 100  # how often the way is made anew where a folder on it was empty, and was removed in that moment
SUFFIXES = 99  # how many names are tried before the stream's own id is put behind the name

_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")
_EDGE_DOTS = re.compile(r"^\.+|\.+$")  # "." and ".." are places, ".x" is hidden, and Windows drops a dot at the end
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)  # Windows opens these as devices
_FIELDS = {"date", "stream_id", "source", "call_id"}


def safe(value: Any) -> str:
    """One component of a path made from any JSON value: 1 to 100 characters of ``A-Z a-z 0-9 _ . -``."""
    if value is None:
        return "_"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    text = _UNSAFE.sub("_", text)[:MAX_COMPONENT]
    text = _EDGE_DOTS.sub(lambda dots: "_" * len(dots[0]), text) or "_"
    return f"_{text}"[:MAX_COMPONENT] if _DEVICE.fullmatch(text) else text


def check_template(template: str) -> None:
    """Raise ValueError, naming the problem, for a template that ``components`` could not fill."""
    for component in template.split("/"):
        if component in ("", ".", ".."):
            raise ValueError(f"{template!r} must be a relative path without empty, '.' or '..' parts")
        for _, field, format_spec, conversion in Formatter().parse(component):
            if field is None:
                continue
            if format_spec or conversion:
                raise ValueError(f"{{{field}}} takes no format")
            if field not in _FIELDS and not re.fullmatch(r"parameters\.[^.]+", field):
                known = "{date} {stream_id} {source} {call_id} {parameters.x}"
                raise ValueError(f"{{{field}}} is not one of {known}")


def components(template: str, facts: StreamFacts) -> list[str]:
    """The parts of a stream's path below the root, each of them safe. Raises ValueError as ``check_template``."""
    check_template(template)
    values = {
        "date": f"{facts.started.astimezone(UTC):%Y-%m-%d}",
        "stream_id": facts.id,  # ours: the peer's is data
        "source": facts.source,
        "call_id": facts.call_id,
    }
    parts = []
    for component in template.split("/"):
        text = ""
        for literal, field, _, _ in Formatter().parse(component):
            text += literal
            if field is not None:
                text += safe(values[field] if field in values else facts.parameters.get(field.partition(".")[2]))
        parts.append(safe(text))
    return parts


def make_directory(root: Path, parts: list[str], unique: str) -> Path:
    """Make a new folder, mode 0700, below ``root``: where it exists already, the name gets -2, -3 … behind it.

    The way there is walked by descriptors, so that no symbolic link leads out of the root: such a link raises OSError.
    ``root`` itself may be one. ``unique`` ends the search where too many names are taken.
    """
    for _ in range(ATTEMPTS - 1):
        with contextlib.suppress(FileNotFoundError):  # its last stream was erased, and the folder with that
            return _make_directory(root, parts, unique)
    return _make_directory(root, parts, unique)


def _make_directory(root: Path, parts: list[str], unique: str) -> Path:
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    here = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            try:
                os.mkdir(part, 0o700, dir_fd=here)
            except FileExistsError:
                pass
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = below
        for name in _names(parts[-1], unique):
            try:
                os.mkdir(name, 0o700, dir_fd=here)
            except FileExistsError:
                continue
            return root.absolute().joinpath(*parts[:-1], name)
    finally:
        os.close(here)
    raise FileExistsError(f"{root.joinpath(*parts)} exists, and so does every name like it")


def _names(name: str, unique: str) -> list[str]:
    suffixes = ["", *(f"-{number}" for number in range(2, SUFFIXES + 1)), f"-{safe(unique)}"]
    return [name[: MAX_COMPONENT - len(suffix)] + suffix for suffix in suffixes]
