"""TLS in this process: which versions, a certificate that may be renewed, and what is wrong with a bad one."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from receiver.errors import ConfigError
from receiver.logs import logger

log = logger("receiver.tls")

LOOK_S = 1.0
"""How often somebody looks whether a certificate has been renewed."""

NO_PASSWORD = ""  # else OpenSSL asks for one at the terminal


class Certificate:
    """A listener's certificate, as fresh as its two files. Streams that are live keep the one that they began with.

    Raises ConfigError as ``server_context`` does.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = certificate, key
        self._latest = self.context = server_context(certificate, key)
        """What to listen with, also after a renewal."""
        self._read = self._contents()
        self._failing = False
        self.context.sni_callback = self._choose

    def refresh(self) -> None:
        """Look whether the files have changed, and use them from now on. Blocks.

        While they are no good together, as between the writing of one and of the other, the last good ones count.
        """
        try:
            read = self._contents()
            if read == self._read:
                return
            self._latest = server_context(*self._files)
        except (ConfigError, OSError) as error:
            if not self._failing:
                log.warning("certificate_kept", problem=str(error))
            self._failing = True
        else:
            self._read = read
            self._failing = False
            log.info("certificate_renewed", certificate=str(self._files[0]))

    async def watch(self) -> None:
        """Look every second, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            await asyncio.to_thread(self.refresh)

    def _contents(self) -> list[bytes]:
        return [sha256(path.read_bytes()).digest() for path in self._files]

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        """Called in every handshake, before a certificate is sent, whether or not the peer says which name it wants."""
        connection.context = self._latest


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
