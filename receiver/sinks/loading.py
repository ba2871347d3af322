"""Loading a sink: from ``use`` and ``options`` to something that can be opened."""

from __future__ import annotations

import inspect
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from receiver.errors import ConfigError
from receiver.sinks.failure import failure_text
from receiver.sinks.finding import find_sink, installed_sinks
from receiver.sinks.options import Option, describe_options, validate_options
from receiver.sinks.sink import PlainSink, Plugin, PluginFactory, Sink


@dataclass(frozen=True)
class Loaded:
    """A plugin and its options, valid, nothing opened yet."""

    name: str
    factory: PluginFactory
    options: dict[str, Any]
    module: ModuleType

    def open(self) -> AbstractAsyncContextManager[Sink | PlainSink | Plugin]:
        """The plugin's context, to be entered on the sink's loop."""
        return self.factory(**self.options)

    async def check(self) -> list[str]:
        """What the plugin's own ``check(**options)`` finds wrong, one line each; nothing if it has none.

        It may be a function or a coroutine function, beside the factory or an attribute of it, and returns lines, or
        None. It never serves, recovers or delivers.
        """
        check = getattr(self.factory, "check", None) or getattr(self.module, "check", None)
        if check is None:
            return []
        try:
            found = check(**self.options)
            if inspect.isawaitable(found):
                found = await found
            return [str(line) for line in found or ()]
        except (Exception, SystemExit) as error:
            return [failure_text(error)]


class InstalledSink(msgspec.Struct, frozen=True):
    """An installed sink, as ``receiver sinks`` shows it."""

    name: str
    value: str  # where it is: package.module:attribute
    distribution: str
    summary: str  # the first line of its docstring
    options: list[Option]
    error: str | None  # why it cannot be loaded


def load(name: str, use: str, options: Mapping[str, Any], base: Path) -> Loaded:
    """Find what ``use`` names and validate its options; ``base`` is the folder of relative paths.

    Raises ConfigError with the key ``sinks.<name>.use`` or ``sinks.<name>.options.<option>``.
    """
    key = f"sinks.{name}.use"
    found, module = find_sink(use, base, key)
    if _is_sink(found, key):
        if options:
            raise ConfigError(f"sinks.{name}.options.{next(iter(options))}", "a bare sink takes no options")
        return Loaded(name, _opener(found), {}, module)
    return Loaded(name, found, validate_options(found, options, f"sinks.{name}.options", base), module)


def load_apart(name: str, use: str, options: Mapping[str, Any], base: Path) -> Future[Loaded]:
    """The same in a thread that nobody has to wait for: an import runs a file, which may never come to its end."""
    loading: Future[Loaded] = Future()
    loading.set_running_or_notify_cancel()  # from here on whoever waits may give up, and the thread does not care

    def run() -> None:
        try:
            loading.set_result(load(name, use, options, base))
        except BaseException as error:
            loading.set_exception(error)

    threading.Thread(target=run, name=f"loading sink {name}", daemon=True).start()
    return loading


def describe() -> list[InstalledSink]:
    """All installed sinks with their options; one that is broken says why."""
    described = []
    for point in installed_sinks():
        distribution = point.dist.name if point.dist is not None else ""
        options: list[Option] = []
        summary, error = "", None
        try:
            found, module = find_sink(point.name, Path(), f"sinks.{point.name}.use")
            if not _is_sink(found, point.name):
                options = describe_options(found)
            summary = (inspect.getdoc(found) or inspect.getdoc(module) or "").partition("\n")[0]
        except ConfigError as problem:
            error = problem.problem
        described.append(InstalledSink(point.name, point.value, distribution, summary, options, error))
    return described


def _is_sink(found: Any, key: str) -> bool:
    """Whether it is a sink itself: callable with a stream and events. Otherwise it is a factory.

    Raises ConfigError for what can be neither.
    """
    if not callable(found):
        raise ConfigError(key, f"names a {type(found).__name__}, which is neither a sink nor a plugin")
    name = getattr(found, "__name__", type(found).__name__)
    inner = inspect.unwrap(found)
    if inspect.isclass(found):
        if hasattr(found, "__aenter__") and hasattr(found, "__aexit__"):
            return False
        raise ConfigError(key, f"{name} is a class, which is a plugin only if it has __aenter__ and __aexit__")
    if inspect.isasyncgenfunction(found):
        raise ConfigError(key, f"{name} yields: put @asynccontextmanager above it")
    if inspect.isasyncgenfunction(inner):
        return False
    if inspect.isgeneratorfunction(inner):
        raise ConfigError(key, f"{name} yields: make it 'async def', with @asynccontextmanager above it")
    try:
        inspect.signature(found).bind(None, None)
    except TypeError:
        if inspect.iscoroutinefunction(inner) or name == "sink" or not inspect.isroutine(inner) or _positional(inner):
            raise ConfigError(key, f"{name} is no sink: that must take (stream, events)") from None
        return False
    return True


def _positional(function: Callable[..., Any]) -> bool:
    """Whether it cannot be called with keywords and defaults alone, in the way in which plugins are written."""
    return any(
        parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        for parameter in inspect.signature(function).parameters.values()
    )


def _opener(sink: Sink | PlainSink) -> Callable[[], AbstractAsyncContextManager[Sink | PlainSink | Plugin]]:
    @asynccontextmanager
    async def plugin() -> AsyncIterator[Sink | PlainSink | Plugin]:
        yield sink

    return plugin
