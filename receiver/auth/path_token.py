"""Tokens as a part of the path: for platforms that send no header of one's own."""

from __future__ import annotations

from receiver.auth.authenticator import TokenSource, Upgrade
from receiver.auth.token_digest import presented_token
from receiver.errors import AccessDenied

PARAMETER = "token"
"""The path's variable part that holds it."""


class PathToken:
    """Lets in who asks for a path with one of the tokens in the place of ``{token}``.

    Every other request gets the same answer for the same work. There is no challenge in it: no header would help.
    """

    def __init__(self, tokens: TokenSource) -> None:
        self._tokens = tokens

    def authenticate(self, upgrade: Upgrade, at: float) -> str:
        """The name of the presented token. Raises AccessDenied 403."""
        token = upgrade.parameters.get(PARAMETER, "").encode("utf-8", "surrogatepass")
        name = presented_token(token, self._tokens())
        if name is None:
            raise AccessDenied(403, "token_unknown" if token else "token_missing")
        return name
