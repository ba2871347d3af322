"""The interface of an authenticator: may this peer connect?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A request to become a WebSocket, as far as it can say who is asking. Its ``repr`` shows nothing of it."""

    headers: Sequence[tuple[bytes, bytes]] = field(repr=False)
    """In order, repeated ones kept (ASGI's form)."""

    path: bytes = field(default=b"", repr=False)
    """As it was sent, percent-encoding kept, with the prefix below which we may be mounted."""

    query: bytes = field(default=b"", repr=False)
    """The part of the address behind ``?``, undecoded."""

    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The path's variable parts, decoded."""


@dataclass(frozen=True, slots=True)
class TokenDigest:
    """A token that lets a peer in, as its SHA-256 digest: the token itself is not kept."""

    name: str
    sha256: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that requests are signed with. Unlike a token it cannot be kept as a digest."""

    name: str
    text: str = field(repr=False)


TokenSource = Callable[[], Sequence[TokenDigest]]
"""The tokens that are valid now; asked once for every handshake, so that a changed token counts at once."""

KeySource = Callable[[], Sequence[SigningKey]]
"""The same for keys."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a source has been configured with; each authenticator takes the part that it needs."""

    tokens: TokenSource = list
    keys: KeySource = list
    public_url: str = ""
    """What stands before the request's path in the address that the platform was given."""


class Authenticator(Protocol):
    """One per source, shared by all of its handshakes. Pure: neither a clock nor I/O of its own."""

    def authenticate(self, upgrade: Upgrade, at: float) -> str | None:
        """The name of the token or key that lets the peer in; None where none is needed.

        ``at`` is the time of the handshake in seconds since 1970.

        Raises AccessDenied with the HTTP status to answer before the upgrade.
        """
