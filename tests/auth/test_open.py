from __future__ import annotations

from receiver.auth.authenticator import Upgrade
from receiver.auth.open import Open


def test_everybody_comes_in_and_no_token_has_a_name() -> None:
    for headers in ([], [(b"authorization", b"Bearer x")], [(b"authorization", b"x")] * 2):
        Open().authenticate(Upgrade(headers, b"/x", b"token=x"), 0.0)  # raises nothing
