"""May this peer connect? Decided before the upgrade, without a clock or I/O: digests, keys and time are arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from receiver.auth.authenticator import Authenticator, Credentials
from receiver.auth.bearer import Bearer
from receiver.auth.open import Open
from receiver.auth.path_token import PathToken
from receiver.auth.twilio_signature import TwilioSignature

AUTHENTICATORS: Mapping[str, Callable[[Credentials], Authenticator]] = {
    "bearer": lambda credentials: Bearer(credentials.tokens),
    "path_token": lambda credentials: PathToken(credentials.tokens),
    "twilio_signature": lambda credentials: TwilioSignature(credentials.keys, credentials.public_url),
    "none": lambda credentials: Open(),
}
"""What ``use`` in a source's ``auth`` table names."""


def open_authenticator(use: str, credentials: Credentials) -> Authenticator:
    """The authenticator called ``use``, over what its source was configured with.

    Raises KeyError for a name that is not in AUTHENTICATORS.
    """
    return AUTHENTICATORS[use](credentials)
