"""What is wrong with a configuration, said so that nobody has to guess, and without what could be a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from receiver.errors import ConfigError
from receiver.recordings.naming import check_template

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_EXPECTED = {  # by pydantic's type of error
    "missing": "is required",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "path_type": "must be a path, as text",
    "path_str": "must be a path, as text",
    "extra_forbidden": "is not a key here",
    "string_pattern_mismatch": "must match {pattern}",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "literal_error": "must be {expected}",
    "union_tag_invalid": "must be one of {expected_tags}",
    "union_tag_not_found": "is required",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
}
_SAFE_CONTEXT = {"pattern", "expected", "expected_tags", "gt", "ge", "le"}


def problem_at(key: str, problem: str) -> PydanticCustomError:
    """For a validator to raise: ``problem`` concerns ``key``, dotted, below the place that is being validated."""
    return PydanticCustomError("problem", "{problem}", {"problem": problem, "key": key})


def config_error(error: ValidationError, variables: Mapping[str, str] | None = None) -> ConfigError:
    """The first problem as a ConfigError, the keys of the others behind it.

    ``variables`` says which variable has set which key.
    """
    details = error.errors(include_url=False, include_input=True)
    keys = [_key(detail) for detail in details]
    problem = _problem(details[0])
    for key, variable in (variables or {}).items():
        if f"{keys[0]}.".startswith(f"{key}."):
            problem += f" (set by {variable})"
    others = sorted({key for key in keys[1:] if not f"{keys[0]}.".startswith(f"{key}.")})  # its own tables are no news
    return ConfigError(keys[0], problem + (f"; also wrong: {', '.join(others)}" if others else ""))


def check_name(name: str) -> str:
    """A source's or sink's name, made so that a variable can spell it. Raises ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError("names are small letters, digits and single underscores between them, and start with a letter")
    return name


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens at ``host``."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def check_network(network: str) -> str:
    """An address, or a network of them. Raises ValueError."""
    try:
        ip_network(network)
    except ValueError:
        raise ValueError("must be an address or a network, e.g. 10.0.0.1 or 10.0.0.0/8") from None
    return network


def check_recordings_path(path: str) -> str:
    """A path that every stream can fill. Raises ValueError."""
    check_template(path)
    return path


def check_scalar(value: object) -> str | int | bool:
    """A value that a parameter can be compared with. Raises ValueError."""
    if not isinstance(value, str | int):
        raise ValueError("must be text, a whole number, true or false")
    return value


def _key(detail: ErrorDetails) -> str:
    location = list(detail["loc"])
    if location[:1] == ["sources"] and location[2:3] == ["auth"]:
        del location[3:4]  # pydantic's name for the choice made by ``use``, which is no key
    if detail["type"] in ("union_tag_invalid", "union_tag_not_found"):
        location.append("use")
    parts = [str(part) for part in location if part != "[key]"]
    inner = detail.get("ctx", {}).get("key")
    return ".".join(part for part in (*parts, inner) if part)


def _problem(detail: ErrorDetails) -> str:
    context: dict[str, Any] = detail.get("ctx", {})
    if detail["type"] == "value_error":
        return str(context["error"])
    expected = _EXPECTED.get(detail["type"])
    if expected is None:
        return detail["msg"].replace("Input should", "must")
    problem = expected.format(**{name: context[name] for name in _SAFE_CONTEXT & context.keys()})
    return problem + _given(detail) if detail["type"].endswith("_type") else problem


def _given(detail: ErrorDetails) -> str:
    """What kind of value was given, never the value."""
    kinds = {
        str: "text",
        bool: "true or false",
        int: "a whole number",
        float: "a number with a point",
        list: "a list",
        dict: "a table",
    }
    kind = kinds.get(type(detail["input"]))
    return f", not {kind}" if kind else ""
