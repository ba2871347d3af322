"""The dialect ``auto``: whose stream it is shows in the start message."""

from __future__ import annotations

from typing import Literal

from receiver.dialects.dialect import Data
from receiver.dialects.json_text import read_object
from receiver.dialects.media_streams import MediaStreams
from receiver.dialects.messages import Connected, Message


class Auto:
    """Reads as the last of ``vendors`` until a start comes, and from then on as the one that recognises it.

    A start that nobody recognises is the last vendor's.
    """

    def __init__(self, vendors: tuple[type[MediaStreams], ...]) -> None:
        self._vendors = vendors
        self._dialect = vendors[-1]()
        self._recognised = False
        self._greeting: Data | None = None  # read again by the vendor that is recognised: parameters may be in it

    @property
    def name(self) -> str:
        """The vendor that was recognised; ``auto`` before that."""
        return self._dialect.name if self._recognised else "auto"

    @property
    def l16_byte_order(self) -> Literal["little", "big"]:
        """The byte order of the vendor that was recognised."""
        return self._dialect.l16_byte_order

    def masked(self, data: str) -> str:
        """A dtmf message without the key."""
        return self._dialect.masked(data)

    def parse(self, data: Data) -> Message:
        """Read one message. Raises ProtocolError alone, as the vendors do."""
        if not isinstance(data, str):
            return self._dialect.parse(data)
        start = read_object(data)
        if start.get("event") != "start":
            message = self._dialect.parse(data)
            if isinstance(message, Connected):
                self._greeting = data
            return message
        dialect = next((vendor for vendor in self._vendors if vendor.recognises(start)), self._vendors[-1])()
        if self._greeting is not None:
            dialect.parse(self._greeting)
        message = dialect.parse(data)
        self._dialect, self._recognised = dialect, True
        self.parse = dialect.parse  # type: ignore[method-assign]  # from here on without a detour per message
        return message
