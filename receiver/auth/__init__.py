"""May this peer connect? Decided before the upgrade, without a clock or I/O: digests and time are arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from receiver.auth.authenticator import Authenticator, TokenSource
from receiver.auth.bearer import Bearer
from receiver.auth.open import Open

AUTHENTICATORS: Mapping[str, Callable[[TokenSource], Authenticator]] = {
    "bearer": Bearer,
    "none": lambda tokens: Open(),
}
"""What ``use`` in a source's ``auth`` table names."""


def open_authenticator(use: str, tokens: TokenSource) -> Authenticator:
    """The authenticator called ``use``, over the tokens that its source has.

    Raises KeyError for a name that is not in AUTHENTICATORS.
    """
    return AUTHENTICATORS[use](tokens)
