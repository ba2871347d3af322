"""Sources by themselves; how they are named where something is wrong with them is in tests/test_config.py."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from receiver.problems import config_error
from receiver.sources import PathTokenAuth, Source, TwilioSignatureAuth


def _error(**table: Any) -> tuple[str, str]:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(dict[str, dict[str, Source]]).validate_python({"sources": {"a": table}})
    error = config_error(caught.value)
    return error.key, error.problem


def test_a_source_may_have_tokens_in_its_path_or_signed_requests() -> None:
    tokens = {"use": "path_token", "tokens": [{"name": "a", "env": "A"}]}
    inside = Source.model_validate({"path": "/calls/{token}", "auth": tokens}).auth
    assert isinstance(inside, PathTokenAuth)
    assert [token.name for token in inside.tokens] == ["a"]
    signature = {"use": "twilio_signature", "key": {"env": "A"}, "public_url": "wss://a.example"}
    signed = Source.model_validate({"auth": {**signature, "secondary_key": {"file": "f"}}}).auth
    assert isinstance(signed, TwilioSignatureAuth)
    assert (signed.key.env, signed.public_url) == ("A", "wss://a.example")


def test_two_tokens_of_a_source_cannot_share_a_name() -> None:
    auth = {"use": "bearer", "tokens": [{"name": "a", "env": "A"}, {"name": "a", "env": "B"}]}
    assert _error(auth=auth) == ("sources.a.auth.tokens", "two tokens have the same name")


def test_a_token_written_into_the_configuration_is_refused_and_not_shown() -> None:
    for tokens in (["s3cr3t"], "s3cr3t", [{"name": "a", "value": "s3cr3t"}], [{"name": "a", "env": ["s3cr3t"]}]):
        key, said = _error(auth={"use": "bearer", "tokens": tokens})
        assert key.startswith("sources.a.auth.tokens")
        assert "s3cr3t" not in said


@pytest.mark.parametrize("origin", ["https://app.example.com", "http://localhost:8080", "chrome-extension://abc"])
def test_an_origin_is_a_scheme_a_host_and_a_port(origin: str) -> None:
    assert Source.model_validate({"auth": {"use": "none"}, "origins": [origin]}).origins == (origin,)


@pytest.mark.parametrize(
    "origin", ["*", "null", "", "app.example.com", "https://a/", "https://A", "https://a b", "://a"]
)
def test_nothing_else_is_an_origin(origin: str) -> None:
    assert _error(auth={"use": "none"}, origins=[origin])[0] == "sources.a.origins.0"
