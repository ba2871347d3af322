"""Where the configuration comes from: a file, the variables over it, and what is there by itself."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from receiver.config import Config, default_sinks, default_sources
from receiver.environment import override
from receiver.errors import ConfigError
from receiver.problems import config_error

WORKING_DIRECTORY_FILE = Path("config.toml")


def load_config(path: Path | None, environ: Mapping[str, str]) -> Config:
    """The configuration of ``path``, else of ``$RECEIVER_CONFIG``, else of ``./config.toml``, else the default one.

    Variables ``RECEIVER__…`` override it. A variable that is set to nothing counts as unset.

    Raises ConfigError, with the key that is wrong, or the file and line where it is not TOML; no value is ever in it.
    """
    origin = find_config(path, environ)
    table: dict[str, Any] = {} if origin is None else _read(origin)
    default = "sources" not in table
    if default:
        if environ.get("RECEIVER_TOKEN") and environ.get("RECEIVER_TOKEN_FILE"):
            raise ConfigError(
                "RECEIVER_TOKEN_FILE", "RECEIVER_TOKEN is set as well: only one of them can hold the token"
            )
        table["sources"] = default_sources(environ)
    table.setdefault("sinks", default_sinks())
    variables = override(table, Config, environ)
    context = {
        "origin": origin,
        "base": Path.cwd() if origin is None else origin.absolute().parent,
        "environ": environ,
        "default_sources": default,
    }
    try:
        return Config.model_validate(table, context=context)
    except ValidationError as error:
        raise config_error(error, variables) from None


def find_config(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file that load_config reads, or None. Raises ConfigError for one that was asked for and is not there."""
    named = environ.get("RECEIVER_CONFIG")
    if path is None and not named:
        return WORKING_DIRECTORY_FILE if WORKING_DIRECTORY_FILE.exists() else None
    wanted = path or Path(str(named))
    if not os.path.exists(wanted):
        by = "" if path else ", which RECEIVER_CONFIG names,"
        raise ConfigError("", f"the configuration file {wanted}{by} is not there")
    return wanted


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("", f"{path}: {error}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError("", f"{path}: not UTF-8 text (at line {line})") from None
    except OSError as error:
        raise ConfigError("", f"the configuration file {path} cannot be read: {error.strerror}") from None
