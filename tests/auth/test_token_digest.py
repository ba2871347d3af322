from __future__ import annotations

import pytest

from receiver.auth.token_digest import path_token_digest, presented_token, token_digest

TOKENS = [token_digest("main", "Zx7-main_token.1~+/="), token_digest("next", "another-token-for-rotation")]


@pytest.mark.parametrize("token", ["", " ", "a b", "a\n", "tab\t", "töken", "nul\0", "del\x7f", "\ud800"])
def test_a_token_that_no_header_can_carry_is_refused_where_it_is_configured(token: str) -> None:
    with pytest.raises(ValueError, match="visible ASCII characters"):
        token_digest("name", token)


def test_a_digest_shows_neither_token_nor_digest() -> None:
    assert repr(TOKENS[0]) == "TokenDigest(name='main')"


@pytest.mark.parametrize("token", ["a", "0", "a.b", "...", "A-Za-z0-9._~-"])
def test_a_token_for_a_path_is_what_no_encoding_changes(token: str) -> None:
    assert path_token_digest("main", token) == token_digest("main", token)


@pytest.mark.parametrize("token", ["", ".", "..", "a/b", "a b", "a%62", "a?b", "a#b", "a+b", "a=", "töken", "a\n"])
def test_any_other_is_refused_where_it_is_configured(token: str) -> None:
    with pytest.raises(ValueError, match="a token in a path is"):
        path_token_digest("main", token)


def test_the_presented_token_is_told_by_its_name() -> None:
    assert presented_token(b"another-token-for-rotation", TOKENS) == "next"
    assert presented_token(b"another-token-for-rotatioN", TOKENS) is None
    assert presented_token(b"", TOKENS) is None
