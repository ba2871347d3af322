"""``receiver token``: a new secret for peers to show."""

from __future__ import annotations

import secrets
import sys

BYTES = 32
"""Of randomness: 256 bits, more than anybody can guess (NIST SP 800-63B asks for 112)."""


def token() -> None:
    """Make a token.

    The server is given it in RECEIVER_TOKEN, and the telephone platform sends it.
    """
    made = secrets.token_urlsafe(BYTES)
    print(made)
    if sys.stdout.isatty():
        print(f"""
Here:       export RECEIVER_TOKEN={made}
For good:   write it into a file that only the server can read, and set RECEIVER_TOKEN_FILE to its path
Platform:   send it as the header  Authorization: Bearer {made}
            (receiver snippet writes that down for you)

It is kept nowhere: copy it now.""")
