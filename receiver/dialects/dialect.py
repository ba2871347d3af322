"""The interface of a dialect: one vendor's message language, read into ours."""

from __future__ import annotations

from typing import Literal, Protocol

from receiver.dialects.messages import Message

Data = str | bytes
"""One WebSocket message as received: ``str`` a text message, ``bytes`` a binary one."""


class Dialect(Protocol):
    """One instance per connection: a dialect may remember what it read."""

    @property
    def name(self) -> str:
        """The vendor's name; for ``auto``, the one that was recognised, or ``auto`` before that."""

    @property
    def l16_byte_order(self) -> Literal["little", "big"]:
        """How this vendor sends L16 where the configuration does not say."""

    def parse(self, data: Data) -> Message:
        """Read one message.

        Raises ProtocolError, and never anything else, for what cannot be read at all. A media message with a known
        track and an unreadable payload is a Media whose payload is None.
        """

    def masked(self, data: str) -> str:
        """A message that ``parse`` reads as Dtmf, with ``events.MASKED`` in place of the key; else as it was."""
