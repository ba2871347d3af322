"""Options: a plugin's keyword arguments, validated by their type hints."""

from __future__ import annotations

import inspect
import os
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pydantic
from pydantic_core import ErrorDetails, core_schema

from receiver.errors import ConfigError

_FIRST = "option_"
"""Put before every name, because pydantic keeps some names (``model_…``, ``copy``, ``_x``) to itself."""

_SAFE = set(typing.get_args(core_schema.ErrorType)) - {
    "value_error",
    "assertion_error",
    "get_attribute_error",
    "iteration_error",
    "mapping_type",
    "union_tag_invalid",
} | {"path_type", "secret"}
"""Problems whose text is pydantic's own, or ours, and holds no value. Other texts are by the plugin's author."""


class Option(msgspec.Struct, frozen=True):
    """One option, as ``receiver sinks`` shows it."""

    name: str
    type: str
    required: bool
    default: str | None  # as Python writes it


def validate_options(
    factory: Callable[..., Any],
    given: Mapping[str, Any],
    key: str,
    base: Path,
    environ: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The keyword arguments to call the factory with: as its hints say, defaults filled in, paths below ``base``.

    Raises ConfigError for the first that is unknown, missing or wrong. Values are never in it: where the plugin's own
    validator speaks, what was given is cut out of its text.
    """
    parameters = _parameters(factory, key)
    known = ", ".join(sorted(parameters)) or "none"
    for name in given:
        if name not in parameters:
            raise ConfigError(f"{key}.{name}", f"there is no such option; there are: {known}")
    hints = _hints(factory, key)
    fields: dict[str, Any] = {
        _FIRST + name: (hints.get(name, Any), ... if parameter.default is parameter.empty else parameter.default)
        for name, parameter in parameters.items()
    }
    config = pydantic.ConfigDict(arbitrary_types_allowed=True, hide_input_in_errors=True)
    context = {"base": base, "environ": os.environ if environ is None else environ}
    try:
        model = pydantic.create_model("Options", __config__=config, **fields)
    except (pydantic.PydanticUserError, TypeError) as error:
        raise ConfigError(key, f"a type hint cannot be used: {error}") from error
    try:
        values = model.model_validate({_FIRST + name: value for name, value in given.items()}, context=context)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join([key, *(str(part).removeprefix(_FIRST) for part in first["loc"])])
        raise ConfigError(place, _problem(first, given)) from None
    except Exception as error:  # pydantic lets pass whatever a validator raises beside ValueError and AssertionError
        raise ConfigError(key, f"a validator of the plugin failed with {type(error).__name__}") from None
    return {name: _below(base, getattr(values, _FIRST + name)) for name in parameters}


def describe_options(factory: Callable[..., Any]) -> list[Option]:
    """A factory's options, in its own order.

    Raises ConfigError if it cannot be called with keyword arguments.
    """
    hints = _hints(factory, "", bounds=False)
    described = []
    for name, parameter in _parameters(factory, "").items():
        required = parameter.default is parameter.empty
        hint = re.sub(r"[\w.]+\.(\w+)", r"\1", inspect.formatannotation(hints.get(name, Any)))  # names without modules
        described.append(Option(name, hint, required, None if required else repr(parameter.default)))
    return described


def _problem(error: ErrorDetails, given: Mapping[str, Any]) -> str:
    if error["type"] == "missing":
        return "is required"
    problem = error["msg"]
    if error["type"] not in _SAFE:
        option = str(error["loc"][0]).removeprefix(_FIRST)
        for text in sorted(set(_texts(given.get(option))), key=len, reverse=True):
            end = r"\b" if len(text) < 4 else ""  # "a" is in many a word
            problem = re.sub(end + re.escape(text) + end, "…", problem, flags=re.IGNORECASE)
    return problem[:1].lower() + problem[1:]


def _texts(value: Any) -> Iterator[str]:
    """Everything in a value, as it would be written; not the names of options and keys."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from _texts(item)
    elif value not in (None, "", True, False):
        yield str(value)


def _parameters(factory: Callable[..., Any], key: str) -> dict[str, inspect.Parameter]:
    parameters = dict(inspect.signature(factory).parameters)
    for name, parameter in parameters.items():
        if parameter.kind not in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            raise ConfigError(
                key, f"the plugin's options must be keyword arguments, and {parameter} ({name}) is not one"
            )
    return parameters


def _hints(factory: Callable[..., Any], key: str, *, bounds: bool = True) -> dict[str, Any]:
    function = factory.__init__ if inspect.isclass(factory) else inspect.unwrap(factory)
    try:
        return typing.get_type_hints(function, include_extras=bounds)
    except (NameError, SyntaxError, TypeError) as error:
        raise ConfigError(key, f"a type hint cannot be read: {error}") from error


def _below(base: Path, value: Any) -> Any:
    """The same value, with relative paths below ``base``."""
    if isinstance(value, Path):
        return base / value.expanduser()
    if type(value) in (list, tuple, set):
        return type(value)(_below(base, item) for item in value)
    if type(value) is dict:
        return {name: _below(base, item) for name, item in value.items()}
    return value
