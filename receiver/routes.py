"""The paths of sources: which are allowed, which would get in each other's way, and what they are called outside."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import combinations

from receiver.problems import problem_at

RESERVED = ("/livez", "/readyz", "/metrics")
_SEGMENT = re.compile(r"[A-Za-z0-9._~-]+|\{[a-z][a-z0-9_]*\}")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9.:\[\]_-]+")
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]"
_PUBLIC_URL = re.compile(
    rf"(?:wss|https)://(?:{_HOST})(?::(?P<port>[0-9]{{1,5}}))?(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*"
)


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
    for reserved in RESERVED:
        if _overlap(path, reserved):
            raise ValueError(f"would hide {reserved}")
    return path


def check_paths(paths: Mapping[str, str]) -> None:
    """``paths`` of sources by name: no request may be meant for two of them. Raises a problem for a validator."""
    for (first, path), (second, other) in combinations(paths.items(), 2):
        if _overlap(path, other):
            raise problem_at(f"sources.{second}.path", f"one request could be for it and for sources.{first}")


def check_token_part(path: str, *, use: str) -> None:
    """A path has the part ``{token}`` where tokens are in paths, and nowhere else. Raises a problem for a validator."""
    if use == "path_token" and "{token}" not in _segments(path):
        raise problem_at("path", 'needs the part {token}, because auth.use is "path_token"')
    if use != "path_token" and "{token}" in _segments(path):
        raise problem_at("path", 'has the part {token}, which is only for auth.use = "path_token"')


def check_origin(origin: str) -> str:
    """What a browser says a page comes from: RFC 6454, section 6.1, in small letters. Raises ValueError."""
    if not _ORIGIN.fullmatch(origin):
        raise ValueError("must be like https://app.example.com, in small letters, without a path")
    return origin


def check_public_url(url: str) -> str:
    """What stands before a request's path in the address that a platform was given. Raises ValueError."""
    if not url.startswith(("wss://", "https://")):
        raise ValueError("must start with wss:// or https://")
    if "?" in url or "#" in url:
        raise ValueError("must not have a query or a fragment")
    if "@" in url.split("/")[2]:
        raise ValueError("must not have a user or a password")
    if url.endswith("/"):
        raise ValueError("must not end with /, because the request's path follows")
    match = _PUBLIC_URL.fullmatch(url)
    if match is None or (match["port"] and not 1 <= int(match["port"]) <= 65535):
        raise ValueError("must be wss://host, with :port and a prefix like /calls where there is one")
    return url


def _segments(path: str) -> list[str]:
    return path[1:].split("/") if path != "/" else []


def _overlap(path: str, other: str) -> bool:
    pairs = list(zip(_segments(path), _segments(other), strict=False))
    same_length = len(_segments(path)) == len(_segments(other))
    return same_length and all(a == b or "{" in a + b for a, b in pairs)
