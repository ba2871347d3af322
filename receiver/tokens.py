"""A source's tokens: secrets in, digests out, as fresh as the files they are kept in."""

from __future__ import annotations

from collections.abc import Sequence

from receiver.auth.authenticator import TokenDigest
from receiver.auth.bearer import token_digest
from receiver.config import Config
from receiver.errors import ConfigError
from receiver.secret import Secret


class Tokens:
    """A callable, because an authenticator asks for the digests at every handshake.

    A changed file counts within a second. One that has become unreadable, or holds what cannot be a token, keeps the
    last good token: so a token is withdrawn by replacing it, not by deleting its file. A source without authentication
    has no tokens.

    Raises ConfigError, naming the key, if one of them has no good value to start with.
    """

    def __init__(self, config: Config, source: str) -> None:
        self._secrets: list[tuple[str, Secret]] = []
        auth = config.sources[source].auth
        for index, token in enumerate(auth.tokens if auth.use == "bearer" else ()):
            file = None if token.file is None else config.base / token.file
            secret = Secret(env=token.env, file=file, environ=config.environ, check=_check)
            try:
                secret.value()
            except ConfigError as error:
                raise ConfigError(f"sources.{source}.auth.tokens.{index}", error.problem) from None
            self._secrets.append((token.name, secret))

    def __call__(self) -> Sequence[TokenDigest]:
        """The digests that are valid now."""
        return [token_digest(name, secret.value()) for name, secret in self._secrets]


def _check(token: str) -> None:
    token_digest("", token)
