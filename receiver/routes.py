"""The paths of sources: which are allowed, and which would get in each other's way."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import combinations

from receiver.problems import problem_at

RESERVED = ("/livez", "/readyz", "/metrics")
_SEGMENT = re.compile(r"[A-Za-z0-9._~-]+|\{[a-z][a-z0-9_]*\}")


def check_path(path: str) -> str:
    """A path of segments that are literal or ``{name}``. Raises ValueError."""
    if not path.startswith("/"):
        raise ValueError("must start with /")
    segments = _segments(path)
    for segment in segments:
        if not _SEGMENT.fullmatch(segment) or segment in (".", ".."):
            raise ValueError(
                f"has the part {segment!r}: parts are letters, digits and . _ ~ - (not . or .. alone), or {{name}} in "
                "small letters"
            )
    variables = [segment for segment in segments if segment.startswith("{")]
    if len(set(variables)) < len(variables):
        raise ValueError("has the same {name} twice")
    if "{token}" in variables:
        raise ValueError("has {token}, which is kept for tokens in paths, and they come with a later version")
    for reserved in RESERVED:
        if _overlap(path, reserved):
            raise ValueError(f"would hide {reserved}")
    return path


def check_paths(paths: Mapping[str, str]) -> None:
    """``paths`` of sources by name: no request may be meant for two of them. Raises a problem for a validator."""
    for (first, path), (second, other) in combinations(paths.items(), 2):
        if _overlap(path, other):
            raise problem_at(f"sources.{second}.path", f"one request could be for it and for sources.{first}")


def _segments(path: str) -> list[str]:
    return path[1:].split("/") if path != "/" else []


def _overlap(path: str, other: str) -> bool:
    pairs = list(zip(_segments(path), _segments(other), strict=False))
    same_length = len(_segments(path)) == len(_segments(other))
    return same_length and all(a == b or "{" in a + b for a, b in pairs)
