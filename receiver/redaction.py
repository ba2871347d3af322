"""What nobody is to read in a log: credentials, audio, and pressed keys, wherever in a line they stand.

The last line of defence. The first is not to hand them to the log.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

MASK = "***"
TEXT = 4_000
"""Characters of a value that are kept; a traceback keeps four times as many, its end."""
ITEMS = 100
DEPTH = 6

_NAME = r"(?:authorization|cookie|credentials?|digits?|passw(?:or)?d|payload|secret|signature|token|api[_-]?key)s?"
_KEY = re.compile(rf"(?:.*[_-])?{_NAME}", re.IGNORECASE)
_QUOTED = r"""b?(?P<quote>\\*["'])(?:(?!(?P=quote))(?:\\.|.))*(?:(?P=quote)|$)"""
_PATTERNS = (
    # Bearer abc, Basic abc==
    re.compile(r"(?P<keep>\b(?:bearer|basic)(?:\s|%20|\+)+)[\w.~+/=%-]{4,}", re.IGNORECASE),
    # "payload": "…", 'token', b'…', Media(payload=b'…'): quoted after a name that says so
    re.compile(rf"""(?P<keep>\b[\w-]{{0,40}}{_NAME}\\*["']?\s*[:=,]\s*){_QUOTED}""", re.IGNORECASE | re.DOTALL),
    # Authorization: abc, to the end of its line
    re.compile(
        r"(?P<keep>\b(?:proxy-)?(?:authorization|cookie|x-[\w-]{0,40}signature)\s*[:=]\s*)(?!\s)[^\r\n\"'*]+",
        re.IGNORECASE,
    ),
    # ?token=abc&access_key=abc, also percent-encoded
    re.compile(
        rf"(?P<keep>(?<![a-z0-9])(?:[\w-]{{0,40}}{_NAME}|[\w-]{{0,40}}key|sig|auth)(?:=|%3D))[^&\s\"'#;,)\]}}*]+",
        re.IGNORECASE,
    ),
)


def is_secret(key: str) -> bool:
    """Whether what stands under this key is not for reading: ``token``, ``api-key``, ``x_auth_token``, ``digits``."""
    return _KEY.fullmatch(key) is not None


def redact_text(text: str) -> str:
    """The text with every recognisable secret in it masked."""
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\g<keep>{MASK}", text)
    return text


def redact(value: Any, depth: int = DEPTH) -> Any:
    """A copy of the value that JSON can say, bounded in size and depth, with every secret in it masked."""
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, Mapping) and depth:
        return {
            clean(str(key)): MASK if is_secret(str(key)) else redact(item, depth - 1)
            for key, item in list(value.items())[:ITEMS]
        }
    if isinstance(value, list | tuple | set | frozenset) and depth:
        return [redact(item, depth - 1) for item in list(value)[:ITEMS]]
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value)} bytes"
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return "…"  # too deep; its repr could be of any size
    return clean(value if isinstance(value, str) else _described(value))


def clean(text: str, limit: int = TEXT) -> str:
    """The text redacted, cut to ``limit`` characters, and without lone surrogates, which strict readers refuse."""
    if len(text) > 2 * limit:
        text = text[: 2 * limit]
    text = redact_text(text).encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit} more)"


def clean_traceback(text: str) -> str:
    """The same for a traceback, of which the end says the most."""
    if len(text) > 16 * TEXT:
        text = text[-16 * TEXT :].partition("\n")[2]  # a line without its beginning may not look like the secret it is
    return redact_text(text)[-4 * TEXT :].encode("utf-8", "backslashreplace").decode("utf-8")


def _described(value: object) -> str:
    try:
        return repr(value) if not isinstance(value, BaseException) else f"{type(value).__name__}: {value}"
    except Exception:  # a repr that raises must not cost the line
        return f"<{type(value).__name__}>"
