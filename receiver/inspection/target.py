"""Where a picture goes: written whole or not at all, and never over anything but a picture."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from receiver.inspection.folder import InspectionError


def check_target(target: Path, suffixes: Sequence[str], inspected: Path) -> None:
    """Raise InspectionError for a file whose name is no picture's, or that is what is inspected."""
    if target.suffix.lower() not in suffixes:
        raise InspectionError(f"{target}: the name must end in {' or '.join(suffixes)}")
    if target.is_dir():
        raise InspectionError(f"{target}: is a folder")
    if target.exists() and inspected.exists() and target.samefile(inspected):
        raise InspectionError(f"{target}: is what is to be inspected")


def write(target: Path, content: bytes) -> None:
    """Write a file, mode 0600, in place of one that is there. Raises InspectionError."""
    try:
        descriptor, part = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.absolute().parent)
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
            os.replace(part, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise
    except OSError as error:
        raise InspectionError(f"{target}: {error.strerror}") from None
