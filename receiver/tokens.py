"""Tokens and keys: secrets in, digests and keys out, as fresh as the files that they are kept in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from receiver.auth.authenticator import Credentials, SigningKey, TokenDigest
from receiver.auth.token_digest import path_token_digest, token_digest
from receiver.config import Config
from receiver.errors import ConfigError
from receiver.secret import Secret
from receiver.sources import PathTokenAuth, SecretPlace, Token, TokenAuth, TwilioSignatureAuth


class Tokens:
    """A callable, because an authenticator asks for the digests at every handshake.

    A changed file counts within a second. One that has become unreadable, or holds what cannot be a token, keeps the
    last good token: so a token is withdrawn by replacing it, not by deleting its file.

    Raises ConfigError, naming the key, if one of them has no good value to start with.
    """

    def __init__(
        self,
        config: Config,
        table: str,
        tokens: Sequence[Token],
        digest: Callable[[str, str], TokenDigest] = token_digest,
    ) -> None:
        """``table`` is the key that the tokens stand under."""
        self._digest = digest
        self._secrets = [
            (token.name, _secret(config, f"{table}.tokens.{index}", token, self._check))
            for index, token in enumerate(tokens)
        ]

    def __call__(self) -> Sequence[TokenDigest]:
        """The digests that are valid now."""
        return [self._digest(name, secret.value()) for name, secret in self._secrets]

    def _check(self, token: str) -> None:
        self._digest("", token)


class Keys:
    """The same for the keys of a source whose requests are signed; their names are those in the configuration."""

    def __init__(self, config: Config, source: str) -> None:
        auth = config.sources[source].auth
        places: dict[str, SecretPlace | None] = {}
        if isinstance(auth, TwilioSignatureAuth):
            places = {"key": auth.key, "secondary_key": auth.secondary_key}
        self._secrets = [
            (name, _secret(config, f"sources.{source}.auth.{name}", place, _check_key))
            for name, place in places.items()
            if place is not None
        ]

    def __call__(self) -> Sequence[SigningKey]:
        """The keys that are valid now."""
        return [SigningKey(name, secret.value()) for name, secret in self._secrets]


def source_tokens(config: Config, source: str) -> Tokens:
    """The tokens of a source, none if it has none. Raises as ``Tokens`` does."""
    auth = config.sources[source].auth
    tokens = auth.tokens if isinstance(auth, TokenAuth) else ()
    digest = path_token_digest if isinstance(auth, PathTokenAuth) else token_digest
    return Tokens(config, f"sources.{source}.auth", tokens, digest)


def management_tokens(config: Config) -> Tokens:
    """The tokens of the private listener. Raises as ``Tokens`` does."""
    return Tokens(config, "management.auth", config.management.auth.tokens)


def credentials(config: Config, source: str) -> Credentials:
    """What the authenticator of a source checks against.

    Raises ConfigError, naming the key, if a secret has no good value to start with.
    """
    auth = config.sources[source].auth
    public_url = auth.public_url if isinstance(auth, TwilioSignatureAuth) else ""
    return Credentials(source_tokens(config, source), Keys(config, source), public_url)


def _secret(config: Config, key: str, place: SecretPlace, check: Callable[[str], None]) -> Secret:
    file = None if place.file is None else config.base / place.file
    secret = Secret(env=place.env, file=file, environ=config.environ, check=check)
    try:
        secret.value()
    except ConfigError as error:
        raise ConfigError(key, error.problem) from None
    return secret


def _check_key(key: str) -> None:
    if not all("!" <= character <= "~" for character in key):
        raise ValueError("a key is one or more visible ASCII characters, without spaces")
