"""Variables over the configuration file: ``RECEIVER__SERVER__PORT=9000`` sets ``server.port``.

A variable sets a key that a table can have, in a table that there is; it never makes a table. What it holds is read by
what the key is: numbers and true / false as such, lists and tables as JSON, text as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from receiver.errors import ConfigError

PREFIX = "RECEIVER__"


def override(table: dict[str, Any], model: type[BaseModel], environ: Mapping[str, str]) -> dict[str, str]:
    """Change ``table``, which ``model`` describes, by the variables of ``environ``.

    The result maps each dotted key that was set to its variable, for errors to name. Shorter variables come first, so
    that one may replace a table and another change a key of the new one.

    Raises ConfigError, naming the variable and never its value, for one that matches nothing.
    """
    variables = {}
    for name in sorted(environ, key=lambda name: (name.count("__"), name)):
        if name.startswith(PREFIX):
            keys = name.removeprefix(PREFIX).lower().split("__")
            if name != name.upper() or not _set(table, model, keys, environ[name]):
                raise ConfigError(name, "this variable matches no key of the configuration")
            variables[".".join(keys)] = name
    return variables


def _set(table: object, kind: Any, keys: list[str], text: str) -> bool:
    """Whether there was a place for ``text``."""
    if not isinstance(table, dict):
        return False
    key, *rest = keys
    expected = _expected(table, kind, key)
    if expected is None:
        return False
    if not rest:
        table[key] = _read(text, expected)
        return True
    if key not in table and _always_there(expected):
        table[key] = {}
    return _set(table.get(key), expected, rest, text)


def _expected(table: dict[str, Any], kind: Any, key: str) -> Any:
    """What ``table``, which is of ``kind``, holds under ``key``; None if it can have no such key."""
    if kind is Any:
        return Any
    if get_origin(kind) is dict:
        inner = get_args(kind)[1]
        named = isinstance(inner, type) and issubclass(inner, BaseModel)  # a source or a sink: made in the file alone
        return inner if key and (key in table or not named) else None
    for model in _tables(kind):
        use = model.model_fields.get("use")
        if len(_tables(kind)) == 1 or (use and table.get("use") in get_args(use.annotation)):
            field = model.model_fields.get(key)
            return field.annotation if field else None
    return None


def _tables(kind: Any) -> list[type[BaseModel]]:
    """The models that ``kind`` is a choice of; a choice is made by the key ``use``."""
    choices = get_args(kind) or (kind,)
    return [choice for choice in choices if isinstance(choice, type) and issubclass(choice, BaseModel)]


def _always_there(kind: Any) -> bool:
    """Whether a table has a default: sections and free tables do, the choice of an authenticator does not."""
    return get_origin(kind) is dict or len(_tables(kind)) == 1


def _read(text: str, kind: Any) -> Any:
    """``text`` as ``kind``; as it is where that fails, for the validation to name the key and what was expected."""
    if kind in (int, float, bool):
        try:
            return TypeAdapter(kind).validate_python(text)
        except ValidationError:
            return text
    members = get_args(kind) if get_origin(kind) is not Literal else ()
    if kind in (str, Path) or get_origin(kind) is Literal or any(get_origin(member) is Literal for member in members):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
