"""Which files there are in a folder."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from pathlib import Path


def matching(directory: Path, pattern: str) -> list[Path]:
    """Those whose names match, in order. Raises OSError, which ``Path.glob`` keeps to itself.

    A folder that cannot be read is not one without files: what is in it is still to be finished.
    """
    return [directory / name for name in sorted(os.listdir(directory)) if fnmatchcase(name, pattern)]
