"""Finding what ``use`` names: an installed sink, a module's attribute, or a file of one's own."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
import traceback
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from receiver.errors import ConfigError

GROUP = "receiver.sinks"
"""The entry point group of installed sinks."""


def installed_sinks() -> list[EntryPoint]:
    """The entry points of installed sinks, by name."""
    return sorted(entry_points(group=GROUP), key=lambda point: point.name)


def find_sink(use: str, base: Path, key: str) -> tuple[Any, ModuleType]:
    """The object that ``use`` names, and the module it was found in.

    Raises ConfigError that says what is missing, or where what is there is broken.
    """
    place, _, attribute = use.rpartition(":")
    if use.endswith(".py"):
        module = _load_file(base / use, key)
        for name in ("plugin", "sink"):
            if hasattr(module, name):
                return getattr(module, name), module
        raise ConfigError(key, f"{use} has neither 'plugin' nor 'sink'")
    if place.endswith(".py"):
        module = _load_file(base / place, key)
    elif place:
        module = _load_module(place, base, key)
    else:
        return _load_installed(use, key)
    return _attribute(module, attribute, place, key), module


def _load_installed(name: str, key: str) -> tuple[Any, ModuleType]:
    for point in installed_sinks():
        if point.name == name:
            module = _load_module(point.module, None, key)
            return _attribute(module, point.attr, point.module, key), module
    known = ", ".join(point.name for point in installed_sinks()) or "none"
    raise ConfigError(
        key,
        f"there is no installed sink {name!r} (there are: {known}); "
        "a file is named './file.py', a module's attribute 'package.module:name'",
    )


def _attribute(module: ModuleType, name: str, place: str, key: str) -> Any:
    value: Any = module
    for part in name.split("."):
        if not hasattr(value, part):
            raise ConfigError(key, f"{place} has no attribute {name!r}")
        value = getattr(value, part)
    return value


def _load_module(name: str, base: Path | None, key: str) -> ModuleType:
    if base is not None:
        _make_importable(base)
    try:
        return importlib.import_module(name)
    except BaseException as error:
        _let_through(error)
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise ConfigError(key, f"there is no module {error.name!r}") from None
        raise _broken(name, error, key) from error


def _load_file(path: Path, key: str) -> ModuleType:
    path = path.expanduser().resolve()
    if not path.is_file():
        raise ConfigError(key, f"there is no file {path}")
    if path.name == "receiver.py":
        raise ConfigError(key, f"{path} hides this package from whatever Python runs in its folder: rename it")
    # A name of its own: a user's wave.py must not become the wave module. The file's folder goes last for that reason.
    name = f"receiver_sink_file_{path.stem}_{abs(hash(path)):x}"
    if name in sys.modules:
        return sys.modules[name]
    _make_importable(path.parent)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # noqa: S101  # the name ends in .py: there is a loader for it
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pydantic look their own module up
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        _let_through(error)
        raise _broken(path.name, error, key) from error
    return module


def _make_importable(folder: Path) -> None:
    text = str(folder.resolve())
    if text not in sys.path:
        sys.path.append(text)


def _let_through(error: BaseException) -> None:
    """Whatever a module raises, SystemExit too, is its mistake; but for Ctrl-C, which only the main thread gets."""
    if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
        raise error


def _broken(name: str, error: BaseException, key: str) -> ConfigError:
    where = ""
    if not isinstance(error, SyntaxError):  # that one says where it is
        frames = [
            frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")
        ]
        where = f" ({frames[-1].filename}:{frames[-1].lineno})"
    return ConfigError(key, f"{name} is broken: {type(error).__name__}: {error}{where}")
