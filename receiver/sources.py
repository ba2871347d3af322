"""Sources: where peers come in, how they speak there, and who may. ``config.example.toml`` has the reasons."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, field_validator, model_validator

from receiver.routes import check_origin, check_path, check_public_url, check_token_part
from receiver.table import FilePath, Table

Origin = Annotated[str, AfterValidator(check_origin)]
Tokens = TypeVar("Tokens", bound="tuple[Token, ...]")


class SecretPlace(Table):
    """Where a secret is kept."""

    env: Annotated[str, Field(min_length=1)] | None = None
    file: FilePath | None = None

    @model_validator(mode="after")
    def _check_place(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError('needs either env = "NAME" or file = "path"')
        return self


class Token(SecretPlace):
    """Where one token is kept; its name is what logs and ``stream.json`` call it."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


def distinct(tokens: Tokens) -> Tokens:
    """Tokens that logs can tell apart. Raises ValueError for two of one name."""
    if len({token.name for token in tokens}) < len(tokens):
        raise ValueError("two tokens have the same name")
    return tokens


class TokenAuth(Table):
    """One of several tokens."""

    tokens: Annotated[tuple[Token, ...], Field(strict=False, min_length=1)]

    @field_validator("tokens")
    @classmethod
    def _check_names(cls, tokens: tuple[Token, ...]) -> tuple[Token, ...]:
        return distinct(tokens)


class BearerAuth(TokenAuth):
    """``Authorization: Bearer`` with one of the tokens."""

    use: Literal["bearer"]


class PathTokenAuth(TokenAuth):
    """One of the tokens in the place of ``{token}`` in the source's path."""

    use: Literal["path_token"]


class TwilioSignatureAuth(Table):
    """``X-Twilio-Signature`` with the account's auth token."""

    use: Literal["twilio_signature"]
    key: SecretPlace
    secondary_key: SecretPlace | None = None
    public_url: Annotated[str, AfterValidator(check_public_url)]


class NoAuth(Table):
    """Everybody may connect."""

    use: Literal["none"]


class Source(Table):
    """A path, how peers there speak, and who may come in."""

    path: Annotated[str, AfterValidator(check_path)] = "/stream"
    dialect: Literal["auto", "signalwire", "twilio"] = "auto"
    origins: Annotated[tuple[Origin, ...], Field(strict=False)] = ()
    auth: BearerAuth | PathTokenAuth | TwilioSignatureAuth | NoAuth = Field(discriminator="use")
    l16_byte_order: Literal["little", "big"] | None = None  # None: the dialect's own
    encodings: dict[str, Literal["PCMU", "PCMA", "L16", "OPUS", "G722"]] = Field(default_factory=dict)
    counters: Literal["track", "ignore"] = "track"
    track_zero: Literal["shared", "own"] = "shared"

    @model_validator(mode="after")
    def _check_token_part(self) -> Self:
        check_token_part(self.path, use=self.auth.use)
        return self
