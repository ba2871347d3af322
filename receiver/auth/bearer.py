"""Bearer tokens in the ``Authorization`` header (RFC 6750, section 2.1)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence

from receiver.auth.authenticator import TokenDigest, TokenSource
from receiver.errors import AccessDenied

Headers = Sequence[tuple[bytes, bytes]]


class Bearer:
    """Lets in who presents one of the tokens.

    A token counts in the header alone: query strings end up in logs. Every refused handshake costs the same work and
    gets the same answer, whatever was wrong with it; only ``AccessDenied.reason``, which stays here, tells them apart.
    """

    def __init__(self, tokens: TokenSource) -> None:
        self._tokens = tokens

    def authenticate(self, headers: Headers, query: bytes, at: float) -> str:
        """The name of the presented token.

        Raises AccessDenied: 400 for more than one ``Authorization`` header (RFC 9110, section 5.3: it is not a list),
        else 401 with ``WWW-Authenticate: Bearer`` (RFC 9110, section 15.5.2).
        """
        presented = [value for name, value in headers if name.lower() == b"authorization"]
        if len(presented) > 1:
            raise AccessDenied(400, "authorization_repeated")
        token = _token(presented[0]) if presented else b""
        name = _match(token, self._tokens())
        if name is None:
            reason = "token_unknown" if token else "authorization_unusable" if presented else "authorization_missing"
            raise AccessDenied(401, reason, {"WWW-Authenticate": "Bearer"})
        return name


def authenticate_bearer(headers: Headers, tokens: Iterable[str]) -> bool:
    """Whether the headers present one of ``tokens`` as a bearer token. For endpoints of one's own.

    Raises ValueError for an empty token, which is what an unset variable looks like.
    """
    digests = [token_digest(str(number), token) for number, token in enumerate(tokens)]
    try:
        Bearer(lambda: digests).authenticate(headers, b"", 0.0)
    except AccessDenied:
        return False
    return True


def token_digest(name: str, token: str) -> TokenDigest:
    """The digest of a token.

    Raises ValueError for a token that no header can carry: empty, with spaces, or beyond ASCII.
    """
    if not token or not all("!" <= character <= "~" for character in token):
        raise ValueError("a token is one or more visible ASCII characters, without spaces")
    return TokenDigest(name, hashlib.sha256(token.encode()).digest())


def _token(authorization: bytes) -> bytes:
    """What follows the scheme (without case) and its spaces, else nothing: RFC 9110, section 11.4."""
    scheme, _, token = authorization.partition(b" ")
    return token.lstrip(b" ") if scheme.lower() == b"bearer" else b""


def _match(token: bytes, digests: Iterable[TokenDigest]) -> str | None:
    """Compares with every digest, also after a match: neither bytes nor place of a token show in the time it takes."""
    presented = hashlib.sha256(token).digest()
    name = None
    for digest in digests:
        if hmac.compare_digest(digest.sha256, presented):
            name = digest.name
    return name if token else None
