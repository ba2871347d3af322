"""What loading sinks leaves in a process, taken back: each receiver of a test run is to find its files as they are."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from receiver.config import Config

FILE_MODULE = "receiver_sink_file_"
"""How the names of modules begin that were loaded from a file."""


@contextmanager
def imports_taken_back(config: Config) -> Iterator[None]:
    """Forget the files that sinks were loaded from, and the folders that became importable for them.

    A sink's module that is imported by its name stays, as any module does.
    """
    modules, folders = set(sys.modules), set(sys.path)
    try:
        yield
    finally:
        for name in set(sys.modules) - modules:
            if name.startswith(FILE_MODULE):
                del sys.modules[name]
        for folder in _made_importable(config) - folders:
            while folder in sys.path:
                sys.path.remove(folder)


def _made_importable(config: Config) -> set[str]:
    places = [sink.use if sink.use.endswith(".py") else sink.use.rpartition(":")[0] for sink in config.sinks.values()]
    files = [config.base / Path(place).expanduser() for place in places if place.endswith(".py")]
    return {str(folder.resolve()) for folder in (config.base, *(file.parent for file in files))}
