from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx

from receiver.auth import open_authenticator
from receiver.auth.authenticator import Authenticator, Credentials, Upgrade
from receiver.auth.twilio_signature import HEADER, signature
from receiver.config import Config
from receiver.errors import AccessDenied, ConfigError
from receiver.tokens import Keys, credentials, source_tokens

TOML_TOKENS = [{"name": "file", "file": "token"}, {"name": "variable", "env": "TOKEN"}]


def _config(base: Path, **environ: str) -> Config:
    auth = {"use": "bearer", "tokens": TOML_TOKENS}
    return Config.model_validate({"sources": {"phone": {"auth": auth}}}, context={"base": base, "environ": environ})


def _presented(authenticator: Authenticator, token: str) -> str | None:
    try:
        return authenticator.authenticate(Upgrade([(b"authorization", f"Bearer {token}".encode())]), 0.0)
    except AccessDenied:
        return None


def _wait_for(authenticator: Authenticator, token: str) -> None:
    until = time.monotonic() + 10
    while _presented(authenticator, token) is None:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_several_tokens_are_valid_at_once_and_are_told_apart_by_name(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-the-file\n")
    bearer = open_authenticator("bearer", credentials(_config(tmp_path, TOKEN="from-the-variable"), "phone"))
    assert _presented(bearer, "from-the-file") == "file"
    assert _presented(bearer, "from-the-variable") == "variable"
    assert _presented(bearer, "from-elsewhere") is None


def test_a_replaced_token_counts_within_a_second_and_the_old_one_does_not(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("old")
    bearer = open_authenticator("bearer", credentials(_config(tmp_path, TOKEN="other"), "phone"))
    assert _presented(bearer, "old") == "file"
    (tmp_path / "token").write_text("new")
    time.sleep(1)
    assert _presented(bearer, "new") == "file"
    assert _presented(bearer, "old") is None
    assert _presented(bearer, "other") == "variable"


@pytest.mark.parametrize("content", [None, "", "two words", "töken", "nul\0"])
def test_a_file_without_a_usable_token_keeps_the_last_good_one(
    capture_logs: Any, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "token"
    file.write_text("good")
    bearer = open_authenticator("bearer", credentials(_config(tmp_path, TOKEN="other"), "phone"))
    file.unlink()
    if content is not None:
        file.write_text(content)
    time.sleep(0.6)
    with capture_logs() as logs:
        assert _presented(bearer, "good") == "file"
        assert _presented(bearer, content or "") is None
    assert len(logs) == 1
    file.write_text("better")
    _wait_for(bearer, "better")
    assert _presented(bearer, "good") is None


@pytest.mark.parametrize(
    ("content", "environ", "key", "problem"),
    [
        (None, {"TOKEN": "x"}, "sources.phone.auth.tokens.0", "cannot be read: No such file"),
        ("a b", {"TOKEN": "x"}, "sources.phone.auth.tokens.0", "without spaces"),
        ("a", {}, "sources.phone.auth.tokens.1", "variable TOKEN is not set"),
        ("a", {"TOKEN": "s3cr3t s3cr3t"}, "sources.phone.auth.tokens.1", "visible ASCII"),
    ],
)
def test_a_token_without_a_good_value_stops_the_start_and_names_the_key(
    tmp_path: Path, content: str | None, environ: dict[str, str], key: str, problem: str
) -> None:
    if content is not None:
        (tmp_path / "token").write_text(content)
    with pytest.raises(ConfigError, match=problem) as caught:
        source_tokens(_config(tmp_path, **environ), "phone")
    assert caught.value.key == key
    assert "s3cr3t" not in str(caught.value)


def test_asking_for_tokens_is_no_blocking_call(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("old")
    tokens = source_tokens(_config(tmp_path, TOKEN="other"), "phone")
    (tmp_path / "token").write_text("new")
    time.sleep(0.6)

    async def handshake() -> str | None:
        return _presented(open_authenticator("bearer", Credentials(tokens)), "new")

    with blockbuster_ctx():
        assert asyncio.run(handshake()) == "file"


def test_an_open_source_has_no_tokens() -> None:
    assert source_tokens(Config.model_validate({"sources": {"phone": {"auth": {"use": "none"}}}}), "phone")() == []
    assert Keys(Config.model_validate({"sources": {"phone": {"auth": {"use": "none"}}}}), "phone")() == []


def _path_tokens(base: Path, token: str) -> Config:
    auth = {"use": "path_token", "tokens": [{"name": "file", "file": "token"}, {"name": "variable", "env": "TOKEN"}]}
    sources = {"phone": {"path": "/calls/{token}", "auth": auth}}
    return Config.model_validate({"sources": sources}, context={"base": base, "environ": {"TOKEN": token}})


def test_tokens_for_paths_are_kept_and_renewed_in_the_same_way(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("old\n")
    authenticator = open_authenticator("path_token", credentials(_path_tokens(tmp_path, "other"), "phone"))

    def presented(token: str) -> str | None:
        try:
            return authenticator.authenticate(Upgrade([], parameters={"token": token}), 0.0)
        except AccessDenied:
            return None

    assert [presented(token) for token in ("old", "other", "new")] == ["file", "variable", None]
    (tmp_path / "token").write_text("new")
    time.sleep(1)
    assert [presented(token) for token in ("old", "other", "new")] == [None, "variable", "file"]


@pytest.mark.parametrize("token", ["a/b", "a%20b", "a+b", "..", "a?b", "a=", "ä"])
def test_a_token_that_a_path_would_change_stops_the_start(tmp_path: Path, token: str) -> None:
    (tmp_path / "token").write_text("fine")
    with pytest.raises(ConfigError, match="letters, digits and") as caught:
        source_tokens(_path_tokens(tmp_path, token), "phone")
    assert caught.value.key == "sources.phone.auth.tokens.1"


def _signed(base: Path, **environ: str) -> Config:
    auth = {
        "use": "twilio_signature",
        "key": {"file": "key"},
        "secondary_key": {"env": "NEXT"},
        "public_url": "wss://voice.example.com",
    }
    return Config.model_validate({"sources": {"phone": {"auth": auth}}}, context={"base": base, "environ": environ})


def test_two_keys_are_valid_at_once_and_a_replaced_one_counts_within_a_second(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("old\n")
    authenticator = open_authenticator("twilio_signature", credentials(_signed(tmp_path, NEXT="next"), "phone"))

    def signed_with(key: str) -> str | None:
        header = (HEADER.encode(), signature(key, "wss://voice.example.com/stream").encode())
        try:
            return authenticator.authenticate(Upgrade([header], b"/stream"), 0.0)
        except AccessDenied:
            return None

    assert [signed_with(key) for key in ("old", "next", "new")] == ["key", "secondary_key", None]
    (tmp_path / "key").write_text("new")
    time.sleep(1)
    assert [signed_with(key) for key in ("old", "next", "new")] == [None, "secondary_key", "key"]


@pytest.mark.parametrize(
    ("content", "environ", "key", "problem"),
    [
        (None, {"NEXT": "x"}, "sources.phone.auth.key", "cannot be read: No such file"),
        ("s3cr3t s3cr3t", {"NEXT": "x"}, "sources.phone.auth.key", "visible ASCII"),
        ("x", {}, "sources.phone.auth.secondary_key", "variable NEXT is not set"),
    ],
)
def test_a_key_without_a_good_value_stops_the_start_and_is_named(
    tmp_path: Path, content: str | None, environ: dict[str, str], key: str, problem: str
) -> None:
    if content is not None:
        (tmp_path / "key").write_text(content)
    with pytest.raises(ConfigError, match=problem) as caught:
        Keys(_signed(tmp_path, **environ), "phone")
    assert caught.value.key == key
    assert "s3cr3t" not in str(caught.value)
