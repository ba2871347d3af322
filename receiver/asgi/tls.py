"""TLS in this process: which versions, and what is wrong with a certificate that cannot be used."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

from receiver.errors import ConfigError

NO_PASSWORD = ""  # else OpenSSL asks for one at the terminal


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """What the public listener speaks: TLS 1.2 and newer, HTTP/1.1. Reads two files.

    Raises ConfigError, naming the key, where one of them cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    alone = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _usable("certificate", certificate, lambda: alone.load_verify_locations(certificate))
    _usable("key", key, lambda: context.load_cert_chain(certificate, key, password=NO_PASSWORD))
    return context


def _usable(name: str, path: Path, load: Callable[[], None]) -> None:
    """``load`` alone would not say which of two files is not there."""
    try:
        path.open("rb").close()
        load()
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            problem = "is not the key of server.tls.certificate"
        else:
            problem = f"holds no {'certificate' if name == 'certificate' else 'private key without a password'} in PEM"
        raise ConfigError(f"server.tls.{name}", problem) from None
    except OSError as error:
        raise ConfigError(f"server.tls.{name}", f"cannot be read: {error.strerror or error}") from None
