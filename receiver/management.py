"""The private listener: where it is, and who may ask it for what. ``config.example.toml`` has the reasons."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from receiver.problems import is_loopback, problem_at
from receiver.sources import Token, distinct
from receiver.table import Port, Table

Scope = Literal["read", "listen", "control"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""``read``: figures, and facts of streams. ``listen``: what is said on them. ``control``: pausing, muting, erasing."""


class ManagementToken(Token):
    """A token, and what it is good for."""

    scopes: Annotated[tuple[Scope, ...], Field(strict=False, min_length=1)]


class ManagementAuth(Table):
    """``Authorization: Bearer`` with one of the tokens. Without any, who reaches the listener may do everything."""

    tokens: Annotated[tuple[ManagementToken, ...], Field(strict=False)] = ()

    @field_validator("tokens")
    @classmethod
    def _check_names(cls, tokens: tuple[ManagementToken, ...]) -> tuple[ManagementToken, ...]:
        return distinct(tokens)


class Management(Table):
    """The private listener: metrics, health, and the API."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Port = 8081
    allowed_hosts: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = ("localhost", "127.0.0.1")
    auth: ManagementAuth = ManagementAuth()

    @model_validator(mode="after")
    def _check_exposure(self) -> Self:
        if not self.auth.tokens and not is_loopback(self.host):
            raise problem_at(
                "auth.tokens", f"is required where others may ask: management.host, {self.host}, is no loopback address"
            )
        return self
