"""Tokens and their digests: what can be one, and which one was presented."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable

from receiver.auth.authenticator import TokenDigest

_IN_A_PATH = re.compile(r"[A-Za-z0-9._~-]+")


def token_digest(name: str, token: str) -> TokenDigest:
    """The digest of a token.

    Raises ValueError for a token that no header can carry: empty, with spaces, or beyond ASCII.
    """
    if not token or not all("!" <= character <= "~" for character in token):
        raise ValueError("a token is one or more visible ASCII characters, without spaces")
    return TokenDigest(name, hashlib.sha256(token.encode()).digest())


def path_token_digest(name: str, token: str) -> TokenDigest:
    """The digest of a token that a path can carry as it is, whoever encodes or decodes the path on its way.

    Raises ValueError for any other: RFC 3986, section 2.3 has the characters; ``.`` and ``..`` are steps in a path.
    """
    if not _IN_A_PATH.fullmatch(token) or token in (".", ".."):
        raise ValueError("a token in a path is one or more letters, digits and . _ ~ - (not . or .. alone)")
    return token_digest(name, token)


def presented_token(token: bytes, digests: Iterable[TokenDigest]) -> str | None:
    """The name of the token that was presented, if it is one.

    Compares with every digest, also after a match: neither bytes nor place of a token show in the time it takes.
    """
    presented = hashlib.sha256(token).digest()
    name = None
    for digest in digests:
        if hmac.compare_digest(digest.sha256, presented):
            name = digest.name
    return name if token else None
