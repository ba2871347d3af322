"""The configuration of a receiver in a test: what a test says, over what suits tests."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from receiver.config import DEFAULT_TOKEN, Config, default_sinks
from receiver.errors import ConfigError
from receiver.problems import config_error

Sinks = Mapping[str, Any] | Sequence[Any]
"""By name, or only one after the other: each a table, a ``use``, or the sink or plugin itself."""

LARGE = 2**30

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "server": {"host": "127.0.0.1", "port": 0, "shutdown_delay_s": 0},
    "management": {"port": 0},
    # Calls come as fast as they can be sent, and nothing is to be lost for that.
    "limits": {"burst_s": 0, "feeds_bytes": LARGE, "writer_bytes": LARGE, "free_bytes": 0},
}
"""What differs from the defaults of the server. A test's own tables come over it, key by key."""

SINK_DEFAULTS: Mapping[str, Any] = {"buffer_s": 3600, "finish_timeout_s": 300}
"""The same for each sink: a call of an hour comes in a second, and all the work on it is done after its end."""


def configuration(
    tables: Mapping[str, Any],
    *,
    sinks: Sinks | None,
    hand: Callable[[Any], str],
    directory: Path,
    base: Path,
    token: str,
) -> Config:
    """Put a test's tables over the defaults; ``hand`` makes a ``use`` of a sink that is an object.

    Recordings go below ``directory``; a source without ``auth`` is given ``token``. Raises ConfigError.
    """
    table: dict[str, Any] = {name: dict(keys) for name, keys in DEFAULTS.items()}
    table["recordings"] = {"directory": str(directory / "recordings")}
    for name, keys in {"sources": {"default": {}}, **tables}.items():
        table[name] = {**table.get(name, {}), **keys} if isinstance(keys, Mapping) else keys
    if isinstance(table["sources"], Mapping):
        table["sources"] = {name: _with_auth(source) for name, source in table["sources"].items()}
    given = default_sinks() if sinks is None else sinks
    named = given if isinstance(given, Mapping) else _named(given)
    table["sinks"] = {name: _sink_table(sink, hand) for name, sink in named.items()}
    context = {"environ": {**os.environ, DEFAULT_TOKEN: token}, "base": base, "default_sources": False}
    try:
        return Config.model_validate(table, context=context)
    except ValidationError as error:
        raise config_error(error) from None


def _with_auth(source: Any) -> Any:
    if not isinstance(source, Mapping):
        return source  # the validation says what it thinks of it
    return {"auth": {"use": "bearer", "tokens": [{"name": "test", "env": DEFAULT_TOKEN}]}, **source}


def _named(sinks: Sequence[Any]) -> dict[str, Any]:
    """Give each sink a name: that of its function, its file or its entry point, and a number if it is taken."""
    if isinstance(sinks, str):
        raise ConfigError("sinks", f"must be a list or a table, not text: [{sinks!r}]")
    named: dict[str, Any] = {}
    for sink in sinks:
        name = first = _name_of(sink)
        number = 1
        while name in named:
            number += 1
            name = f"{first}_{number}"
        named[name] = sink
    return named


def _name_of(sink: Any) -> str:
    use = sink.get("use") if isinstance(sink, Mapping) else sink
    if isinstance(use, str | Path):
        text = re.sub(r"\.py$", "", str(use).rpartition(":")[2])
        text = text.rpartition("/")[2]
    else:
        text = getattr(use, "__name__", type(use).__name__)
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    return name if name[:1].isalpha() else f"sink_{name}".rstrip("_")


def _sink_table(sink: Any, hand: Callable[[Any], str]) -> dict[str, Any]:
    table: dict[str, Any] = {**SINK_DEFAULTS, **(sink if isinstance(sink, Mapping) else {"use": sink})}
    if "use" in table:
        use = table["use"]
        table["use"] = str(use) if isinstance(use, str | Path) else hand(use)
    return table
