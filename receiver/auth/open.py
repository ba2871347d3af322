"""No authentication: a source that was opened on purpose."""

from __future__ import annotations

from receiver.auth.authenticator import Upgrade


class Open:
    """Lets everybody in. The configuration has to say ``use = "none"``, and the start warns about it."""

    def authenticate(self, upgrade: Upgrade, at: float) -> None:
        """Nobody is refused, and no token has a name."""
