"""JSON text as peers write it: an object out of any text, and fields of odd types as what they were meant to be.

Python's own parser, not msgspec: this is where a text comes that msgspec refused, and it may have refused it for a
field that nobody reads (a lone surrogate, NaN). What no message of ours may hold is kept apart here instead: numbers
beyond JSON and text that has no UTF-8.
"""

from __future__ import annotations

import json
import math
import re
from typing import Final

import msgspec

from receiver.errors import ProtocolError

Fields = dict[str, object]

LARGEST_INTEGER: Final = 2**63 - 1

_BEYOND: Final = object()  # stands for NaN, Infinity, 1e400 or an integer of as many digits: no double holds them
_LONGEST_INTEGER = 308  # digits: the largest double has 309

# Written as a string, a number may have spaces around it and zeros before it. Bounded, for int() takes long digits ill.
_NUMERAL = re.compile(r"\s{0,99}(-?[0-9]{1,99})(\.[0-9]{1,99})?([eE][+-]?[0-9]{1,99})?\s{0,99}", re.ASCII)


def _integer(digits: str) -> object:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else _BEYOND


def _float(digits: str) -> object:
    value = float(digits)
    return value if math.isfinite(value) else _BEYOND


_decode = json.JSONDecoder(parse_int=_integer, parse_float=_float, parse_constant=lambda _: _BEYOND).decode


def read_object(data: str) -> Fields:
    """Read a JSON object; of duplicate keys the last wins. Raises ProtocolError 1007 for anything else."""
    try:
        value = _decode(data)
    except json.JSONDecodeError as error:
        raise ProtocolError(1007, f"not JSON (character {error.pos})") from None
    except RecursionError:
        raise ProtocolError(1007, "nested too deeply") from None
    if not isinstance(value, dict):
        raise ProtocolError(1007, "not a JSON object")
    return value


def member(message: Fields, name: str, code: int = 1007) -> Fields:
    """Return the object that a message must hold under ``name``. Raises ProtocolError ``code`` if it does not."""
    value = message.get(name)
    if not isinstance(value, dict):
        raise ProtocolError(code, f"{name} is missing or not an object")
    return value


def integer(value: object, name: str) -> int | None:
    """Read an integer from 0 to 2**63 - 1, written as a number or as a string; None for what is not one.

    Raises ProtocolError 1007 for a number that JSON cannot carry (NaN, 1e400): its writer is broken.
    """
    if value is _BEYOND:
        raise ProtocolError(1007, f"{name} is not a JSON number")
    if isinstance(value, str):
        numeral = _NUMERAL.fullmatch(value)
        if numeral is None:
            return None
        value = float(value) if numeral[2] or numeral[3] else int(numeral[1])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= LARGEST_INTEGER else None


def text(value: object, limit: int) -> str | None:
    """Return a string that has at most ``limit`` bytes of UTF-8; None for anything else (a lone surrogate has none)."""
    if not isinstance(value, str) or len(value) > limit:
        return None
    try:
        return value if len(value.encode()) <= limit else None
    except UnicodeEncodeError:
        return None


def audio(value: object) -> bytes | None:
    """Decode base64 (RFC 4648 section 4) and nothing like it: no spaces, no other alphabet, padding as it must be.

    By msgspec, so that it judges as the fast path does; a2b_base64 of Python 3.11, though strict, takes "QUJD====".
    """
    if not isinstance(value, str):
        return None
    try:
        return msgspec.convert(value, bytes) or None
    except (msgspec.ValidationError, UnicodeEncodeError):
        return None
