"""Twilio's signature on the upgrade: https://www.twilio.com/docs/usage/security#validating-requests."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Iterable, Iterator
from operator import itemgetter
from urllib.parse import parse_qsl

from receiver.auth.authenticator import KeySource, Upgrade
from receiver.errors import AccessDenied

HEADER = "X-Twilio-Signature"
MAX_ADDRESS_BYTES = 8192
"""Of path and query together. They are hashed up to 16 times for each key."""

_NAME = HEADER.lower().encode()
_NO_DIGEST = bytes(20)  # SHA-1's length
_SCHEMES = ("wss", "https")
_STANDARD_PORT = ":443"

Parameters = Iterable[tuple[str, str]]


class TwilioSignature:
    """Lets in whose request is signed with one of the keys: the account's auth token, or the one that will follow it.

    Twilio signs the address that it was given, which is not what arrives here behind a proxy; ``public_url`` says what
    stands before the path. Which spelling of an address is signed is not documented to the last character, so all of
    these count: wss and https, with and without the standard port, with and without a slash at the end; a query as
    it is, or, on a path without variable parts, its parameters sorted and appended. What ``X-Forwarded-Host`` says does
    not count: anybody can send it.

    Every refused request costs the same work and gets the same answer, whatever was wrong with it.
    """

    def __init__(self, keys: KeySource, public_url: str) -> None:
        self._keys = keys
        self._origins = list(_origins(public_url))

    def authenticate(self, upgrade: Upgrade, at: float) -> str:
        """The name of the key. Raises AccessDenied 403."""
        given = [value for name, value in upgrade.headers if name.lower() == _NAME]
        presented = _digest(given[0]) if len(given) == 1 else None
        too_long = len(upgrade.path) + len(upgrade.query) > MAX_ADDRESS_BYTES
        match = None
        if not too_long:
            signed = list(self._signed(upgrade))
            for key in self._keys():
                for url, parameters in signed:
                    expected = _hmac(key.text, url, parameters)
                    if hmac.compare_digest(expected, presented or _NO_DIGEST):
                        match = key.name
        if match is None or presented is None:
            reason = "missing" if not given else "repeated" if len(given) > 1 else "wrong" if presented else "unusable"
            raise AccessDenied(403, "signature_address_too_long" if too_long else f"signature_{reason}")
        return match

    def _signed(self, upgrade: Upgrade) -> Iterator[tuple[str, Parameters]]:
        """Every text that a signature of this request may be of."""
        path, query = upgrade.path.decode("latin-1"), upgrade.query.decode("latin-1")
        parameters = parse_qsl(query, keep_blank_values=True, errors="surrogateescape")
        # Appended, they look like more of the path: /calls/a?cme= would pass with the signature of /calls/acme. So this
        # is for fixed paths, where nothing can be gained by it.
        appended = any(name or value for name, value in parameters) and not upgrade.parameters
        for origin in self._origins:
            for bare in (origin + path, origin + (path[:-1] if path.endswith("/") else f"{path}/")):
                if not query:
                    yield bare, ()
                else:
                    yield f"{bare}?{query}", ()
                    if appended:
                        yield bare, parameters


def signature(key: str, url: str, parameters: Parameters = ()) -> str:
    """What Twilio sends for this address and these parameters, which are a form's; an upgrade has none."""
    return base64.b64encode(_hmac(key, url, parameters)).decode()


def _hmac(key: str, url: str, parameters: Parameters) -> bytes:
    """Of the address with each name and value behind it, sorted by name; those of one name stay in order."""
    text = url + "".join(name + value for name, value in sorted(parameters, key=itemgetter(0)))
    return hmac.digest(key.encode(), text.encode("utf-8", "surrogateescape"), "sha1")


def _digest(header: bytes) -> bytes | None:
    """What the header holds, if it is a digest in the only spelling that base64 has for it."""
    try:
        digest = base64.b64decode(header, validate=True)
    except binascii.Error:
        return None
    return digest if len(digest) == len(_NO_DIGEST) and base64.b64encode(digest) == header else None


def _origins(public_url: str) -> Iterator[str]:
    """The spellings of what stands before the path."""
    authority, slash, prefix = public_url.partition("://")[2].partition("/")
    host = authority.removesuffix(_STANDARD_PORT)
    other_port = re.search(r":[0-9]+$", host)
    for scheme in _SCHEMES:
        for port in ("",) if other_port else ("", _STANDARD_PORT):
            yield f"{scheme}://{host}{port}{slash}{prefix}"
