"""The interface of an authenticator: may this peer connect?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class TokenDigest:
    """A token that lets a peer in, as its SHA-256 digest: the token itself is not kept."""

    name: str
    sha256: bytes = field(repr=False)


TokenSource = Callable[[], Sequence[TokenDigest]]
"""The tokens that are valid now; asked once for every handshake, so that a changed token counts at once."""


class Authenticator(Protocol):
    """One per source, shared by all of its handshakes. Pure: neither a clock nor I/O of its own."""

    def authenticate(self, headers: Sequence[tuple[bytes, bytes]], query: bytes, at: float) -> str | None:
        """The name of the token that lets the peer in; None where none is needed.

        ``headers`` are the handshake's, in order, repeated ones kept (ASGI's form); ``query`` is the part of the
        address behind ``?``, undecoded; ``at`` is the time of the handshake in seconds since 1970.

        Raises AccessDenied with the HTTP status to answer before the upgrade.
        """
