"""The private listener as configured: where it may be, and with which tokens."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from receiver.config import Config
from receiver.errors import ConfigError
from receiver.problems import config_error
from receiver.tokens import management_tokens

READ = {"name": "prometheus", "env": "READ_TOKEN", "scopes": ["read"]}
ALL = {"name": "operator", "env": "OPERATOR_TOKEN", "scopes": ["read", "listen", "control"]}


def configured(**management: Any) -> Config:
    environ = {"READ_TOKEN": "looking", "OPERATOR_TOKEN": "everything", "BAD_TOKEN": "with spaces"}
    return Config.model_validate({"management": management}, context={"environ": environ})


def wrong(**management: Any) -> tuple[str, str]:
    with pytest.raises(ValidationError) as caught:
        configured(**management)
    error = config_error(caught.value)
    return error.key, error.problem


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
def test_it_may_be_on_any_loopback_address(host: str) -> None:
    config = configured(host=host)
    assert config.management.host == host
    assert management_tokens(config)() == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org", "localhost.example.org"])
def test_any_other_address_needs_tokens(host: str) -> None:
    key, said = wrong(host=host)
    assert key == "management.auth.tokens"
    assert said == f"is required where others may ask: management.host, {host}, is no loopback address"
    assert wrong(host=host, auth={"tokens": []})[0] == "management.auth.tokens"
    assert configured(host=host, auth={"tokens": [READ]}).management.host == host


@pytest.mark.parametrize(
    ("tokens", "key", "said"),
    [
        ([{**READ, "scopes": []}], "management.auth.tokens.0.scopes", "must not be empty"),
        (
            [{**READ, "scopes": ["write"]}],
            "management.auth.tokens.0.scopes.0",
            "must be 'read', 'listen' or 'control'",
        ),
        ([{"name": "x", "env": "X"}], "management.auth.tokens.0.scopes", "is required"),
        ([{"name": "x", "scopes": ["read"]}], "management.auth.tokens.0", 'needs either env = "NAME" or file = "path"'),
        ([READ, {**ALL, "name": "prometheus"}], "management.auth.tokens", "two tokens have the same name"),
        ([{**READ, "token": "literal"}], "management.auth.tokens.0.token", "is not a key here"),
    ],
)
def test_what_is_wrong_with_tokens_is_named(tokens: list[Any], key: str, said: str) -> None:
    found, problem = wrong(auth={"tokens": tokens})
    assert found == key
    assert said in problem


@pytest.mark.parametrize("variable", ["MISSING", "BAD_TOKEN"])
def test_a_token_without_a_good_value_is_named(variable: str) -> None:
    config = configured(auth={"tokens": [READ, {**ALL, "env": variable}]})
    with pytest.raises(ConfigError) as caught:
        management_tokens(config)
    assert caught.value.key == "management.auth.tokens.1"
    assert "with spaces" not in str(caught.value)


def test_the_digests_carry_the_names_of_the_tokens() -> None:
    config = configured(auth={"tokens": [READ, ALL]})
    assert [digest.name for digest in management_tokens(config)()] == ["prometheus", "operator"]
