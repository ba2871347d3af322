from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.auth.authenticator import TokenDigest, Upgrade
from receiver.auth.bearer import Bearer, authenticate_bearer
from receiver.auth.token_digest import token_digest
from receiver.errors import AccessDenied

TOKEN = "Zx7-main_token.1~+/="
SECOND = "another-token-for-rotation"
TOKENS = [token_digest("main", TOKEN), token_digest("next", SECOND)]
Headers = list[tuple[bytes, bytes]]


def _header(value: bytes, name: bytes = b"authorization") -> Headers:
    return [(b"host", b"example.org"), (name, value), (b"upgrade", b"websocket")]


def _denied(headers: Headers, query: bytes = b"", tokens: Sequence[TokenDigest] = TOKENS) -> AccessDenied:
    with pytest.raises(AccessDenied) as caught:
        Bearer(lambda: tokens).authenticate(Upgrade(headers, query=query), 0.0)
    return caught.value


def _tokens_that_are_not_the_token() -> Iterator[bytes]:
    token = TOKEN.encode()
    yield from (token[:end] for end in range(len(token)))  # every beginning, the empty one included
    yield from (token[start:] for start in range(1, len(token)))  # every end
    for place in range(len(token)):  # every bit that could be mistaken, and the case of every letter
        for bit in (0x01, 0x20, 0x80):
            yield token[:place] + bytes([token[place] ^ bit]) + token[place + 1 :]
        yield token[:place] + b"\0" + token[place:]
    for extra in (b"\0", b" ", b"\t", b"\r", b"\n", b"=", b",", b";", b"%00", b"\xff", b"\xc2\xa0", b'"'):
        yield token + extra
        yield extra + token if extra != b" " else token + b" " + token
    yield from (token * 2, token[::-1], token.swapcase(), token + b"," + SECOND.encode(), b'"' + token + b'"')
    yield from (b"x" * 8192, token + b"x" * 8192, b"\0" * 8192, "töken".encode(), "töken".encode("latin-1"))
    yield from (base64.b64encode(token), base64.urlsafe_b64encode(token), token.hex().encode())
    yield from (hashlib.sha256(token).digest(), hashlib.sha256(token).hexdigest().encode(), TOKENS[0].sha256)
    yield from (b"null", b"None", b"undefined", b"true", b"*", b"%", b"' OR 1=1 --", b"main", b"RECEIVER_TOKEN")


def _bypasses() -> Iterator[tuple[str, Headers, bytes]]:
    token = TOKEN.encode()
    for wrong in _tokens_that_are_not_the_token():
        yield "wrong token", _header(b"Bearer " + wrong), b""
    for scheme in (b"", b"Basic", b"Digest", b"Token", b"Bearer:", b"BearerX", b"Bear er", b"Bearer,", b"B\xe9arer"):
        yield "wrong scheme", _header(scheme + b" " + token), b""
    basic = base64.b64encode(b"user:" + token)
    yield "Basic credentials", _header(b"Basic " + basic), b""
    for whole in (b"", b" ", b"Bearer", b"Bearer ", b"Bearer    ", token, b"Bearer" + token, b"Bearer\t" + token):
        yield "no credentials", _header(whole), b""
    for whole in (
        b" Bearer " + token,
        b"\0Bearer " + token,
        b"Bearer=" + token,
        b"Bearer \t" + token,
        b"Bearer\0 " + token,
    ):
        yield "not quite the syntax", _header(whole), b""
    for name in (
        b"x-authorization",
        b"authorization ",
        b"authorisation",
        b"proxy-authorization",
        b"cookie",
        b"authorization\0",
    ):
        yield "another header", _header(b"Bearer " + token, name), b""
    for name in (b"sec-websocket-protocol", b"x-api-key", b"x-forwarded-authorization", b"authorization_"):
        yield "another header", _header(b"Bearer " + token, name), b""
    for query in (b"token=", b"access_token=", b"bearer=", b"authorization=Bearer%20", b"api_key=", b""):
        yield "in the query", [(b"host", b"example.org")], query + token
    for first, second in ((token, token), (token, b"x"), (b"x", token), (token, b""), (b"", token)):
        yield "twice", [*_header(b"Bearer " + first), (b"Authorization", b"Bearer " + second)], b""
    yield "no headers", [], b""


BYPASSES = list(_bypasses())


def test_no_way_past_it_is_known() -> None:
    assert len(BYPASSES) >= 200
    for kind, headers, query in BYPASSES:
        denied = _denied(headers, query)
        expected = 400 if kind == "twice" else 401
        assert denied.status == expected, (kind, headers)
        assert denied.headers == ({} if kind == "twice" else {"WWW-Authenticate": "Bearer"})
        assert TOKEN not in f"{denied} {denied.reason}"


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([], "authorization_missing"),
        (_header(b"Basic dXNlcjpwYXNz"), "authorization_unusable"),
        (_header(b"Bearer wrong"), "token_unknown"),
        (_header(b"Bearer a") + _header(b"Bearer b"), "authorization_repeated"),
    ],
)
def test_our_own_log_learns_why_in_one_word(headers: Headers, reason: str) -> None:
    assert _denied(headers).reason == reason


@pytest.mark.parametrize("scheme", [b"Bearer", b"bearer", b"BEARER", b"bEaReR"])
@pytest.mark.parametrize("name", [b"authorization", b"Authorization", b"AUTHORIZATION"])
@pytest.mark.parametrize("spaces", [b" ", b"   "])
def test_the_scheme_and_the_headers_name_have_no_case(scheme: bytes, name: bytes, spaces: bytes) -> None:
    headers = _header(scheme + spaces + TOKEN.encode(), name)
    assert Bearer(lambda: TOKENS).authenticate(Upgrade(headers), 0.0) == "main"


def test_the_name_of_the_token_that_was_presented_is_given() -> None:
    assert (
        Bearer(lambda: TOKENS).authenticate(Upgrade(_header(b"Bearer " + SECOND.encode()), query=b"token=x"), 0.0)
        == "next"
    )


def test_tokens_are_asked_for_at_every_handshake() -> None:
    tokens = list(TOKENS)
    bearer = Bearer(lambda: tokens)
    assert bearer.authenticate(Upgrade(_header(b"Bearer " + TOKEN.encode())), 0.0) == "main"
    del tokens[0]
    with pytest.raises(AccessDenied):
        bearer.authenticate(Upgrade(_header(b"Bearer " + TOKEN.encode())), 0.0)


def test_without_any_token_nobody_comes_in() -> None:
    assert _denied(_header(b"Bearer " + TOKEN.encode()), tokens=[]).status == 401


def test_an_empty_token_never_matches_not_even_its_own_digest() -> None:
    empty = TokenDigest("empty", hashlib.sha256(b"").digest())
    for value in (b"Bearer ", b"Bearer", b"", b"Basic x"):
        assert _denied(_header(value), tokens=[empty]).status == 401


@given(value=st.binary(max_size=200))
def test_no_random_header_comes_in(value: bytes) -> None:
    assert _denied(_header(value)).status == 401


@given(token=st.one_of(st.text(max_size=60).map(str.encode), st.binary(max_size=60)), spaces=st.integers(1, 3))
def test_no_random_token_comes_in(token: bytes, spaces: int) -> None:
    assert _denied(_header(b"Bearer" + b" " * spaces + token)).status == 401


@given(token=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=100))
def test_every_token_that_can_be_configured_comes_in(token: str) -> None:
    assert authenticate_bearer(_header(b"Bearer " + token.encode()), [SECOND, token])


def test_for_endpoints_of_ones_own_there_is_a_plain_answer() -> None:
    assert authenticate_bearer(_header(b"Bearer " + TOKEN.encode()), [TOKEN])
    assert not authenticate_bearer(_header(b"Bearer " + TOKEN.encode()), [SECOND])
    assert not authenticate_bearer([], [TOKEN])
    assert not authenticate_bearer(_header(b"Bearer " + TOKEN.encode()) * 2, [TOKEN])
    assert not authenticate_bearer(_header(b"Bearer " + TOKEN.encode()), [])


def test_an_unset_variable_as_a_token_is_an_error_and_no_open_door() -> None:
    with pytest.raises(ValueError, match="visible ASCII"):
        authenticate_bearer(_header(b"Bearer "), [""])
