"""Bearer tokens in the ``Authorization`` header (RFC 6750, section 2.1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from receiver.auth.authenticator import TokenSource, Upgrade
from receiver.auth.token_digest import presented_token, token_digest
from receiver.errors import AccessDenied


class Bearer:
    """Lets in who presents one of the tokens.

    A token counts in the header alone: query strings end up in logs. Every refused handshake costs the same work and
    gets the same answer, whatever was wrong with it; only ``AccessDenied.reason``, which stays here, tells them apart.
    """

    def __init__(self, tokens: TokenSource) -> None:
        self._tokens = tokens

    def authenticate(self, upgrade: Upgrade, at: float) -> str:
        """The name of the presented token.

        Raises AccessDenied: 400 for more than one ``Authorization`` header (RFC 9110, section 5.3: it is not a list),
        else 401 with ``WWW-Authenticate: Bearer`` (RFC 9110, section 15.5.2).
        """
        presented = [value for name, value in upgrade.headers if name.lower() == b"authorization"]
        if len(presented) > 1:
            raise AccessDenied(400, "authorization_repeated")
        token = _token(presented[0]) if presented else b""
        name = presented_token(token, self._tokens())
        if name is None:
            reason = "token_unknown" if token else "authorization_unusable" if presented else "authorization_missing"
            raise AccessDenied(401, reason, {"WWW-Authenticate": "Bearer"})
        return name


def authenticate_bearer(headers: Sequence[tuple[bytes, bytes]], tokens: Iterable[str]) -> bool:
    """Whether the headers present one of ``tokens`` as a bearer token. For endpoints of one's own.

    Raises ValueError for an empty token, which is what an unset variable looks like.
    """
    digests = [token_digest(str(number), token) for number, token in enumerate(tokens)]
    try:
        Bearer(lambda: digests).authenticate(Upgrade(headers), 0.0)
    except AccessDenied:
        return False
    return True


def _token(authorization: bytes) -> bytes:
    """What follows the scheme (without case) and its spaces, else nothing: RFC 9110, section 11.4."""
    scheme, _, token = authorization.partition(b" ")
    return token.lstrip(b" ") if scheme.lower() == b"bearer" else b""
