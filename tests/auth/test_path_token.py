from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.auth.authenticator import Upgrade
from receiver.auth.path_token import PathToken
from receiver.auth.token_digest import token_digest
from receiver.errors import AccessDenied

TOKEN = "Zx7-main_token.1~"
TOKENS = [token_digest("main", TOKEN), token_digest("next", "another-token")]


def _upgrade(token: str) -> Upgrade:
    return Upgrade([(b"host", b"example.org")], b"/calls/" + token.encode("utf-8", "replace"), b"", {"token": token})


def _denied(upgrade: Upgrade) -> AccessDenied:
    with pytest.raises(AccessDenied) as caught:
        PathToken(lambda: TOKENS).authenticate(upgrade, 0.0)
    return caught.value


def _wrong() -> Iterator[str]:
    yield from (TOKEN[:end] for end in range(len(TOKEN)))
    yield from (TOKEN[start:] for start in range(1, len(TOKEN)))
    for place in range(len(TOKEN)):
        for bit in (0x01, 0x20):
            yield TOKEN[:place] + chr(ord(TOKEN[place]) ^ bit) + TOKEN[place + 1 :]
    for extra in ("\0", " ", "\n", "/", "%00", "%", ";a=b", "\xff", "\ud800", "\N{FULLWIDTH DIGIT ONE}", "?", "#", ","):
        yield from (TOKEN + extra, extra + TOKEN)
    yield from (TOKEN * 2, TOKEN[::-1], TOKEN.swapcase(), f"{TOKEN},another-token", "{token}", "main", "*", "x" * 8000)
    yield from (TOKENS[0].sha256.hex(), "%5A" + TOKEN[1:], f"./{TOKEN}", f"../{TOKEN}")


def test_no_way_past_it_is_known() -> None:
    for wrong in _wrong():
        denied = _denied(_upgrade(wrong))
        assert (denied.status, denied.headers) == (403, {}), wrong
        assert TOKEN not in f"{denied} {denied.reason}"


def test_the_token_counts_in_its_place_alone() -> None:
    token = TOKEN.encode()
    elsewhere = [
        Upgrade([(b"authorization", b"Bearer " + token)], b"/calls/x", b"", {"token": "x"}),
        Upgrade([], b"/calls/x", b"token=" + token, {"token": "x"}),
        Upgrade([], b"/calls/" + token, b"", {"tenant": TOKEN}),
        Upgrade([(b"cookie", b"token=" + token)], b"/calls/" + token),
    ]
    for upgrade in elsewhere:
        assert _denied(upgrade).status == 403


def test_our_own_log_learns_why_in_one_word() -> None:
    assert _denied(_upgrade("x")).reason == "token_unknown"
    assert _denied(Upgrade([])).reason == "token_missing"


def test_the_name_of_the_token_is_given_and_tokens_are_asked_for_every_time() -> None:
    tokens = list(TOKENS)
    path_token = PathToken(lambda: tokens)
    assert path_token.authenticate(_upgrade(TOKEN), 0.0) == "main"
    assert path_token.authenticate(_upgrade("another-token"), 0.0) == "next"
    del tokens[0]
    with pytest.raises(AccessDenied):
        path_token.authenticate(_upgrade(TOKEN), 0.0)


@given(token=st.text(st.characters(), max_size=60))
def test_no_random_token_comes_in(token: str) -> None:
    assert _denied(_upgrade(token)).status == 403
