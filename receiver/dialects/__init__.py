"""What did it say? One vendor's message language in, messages of ours out.

A dialect is a class in a file of its own and a line in the table below.
"""

from __future__ import annotations

from receiver.dialects.detect import Auto
from receiver.dialects.dialect import Dialect
from receiver.dialects.media_streams import MediaStreams
from receiver.dialects.signalwire import SignalWire
from receiver.dialects.twilio import Twilio
from receiver.errors import ConfigError

_VENDORS: dict[str, type[MediaStreams]] = {
    "twilio": Twilio,
    "signalwire": SignalWire,  # last: nothing in its start is its alone, so a start that nobody recognises is its
}

DIALECTS = ("auto", *sorted(_VENDORS))
"""The names that a source may have under ``dialect``."""

__all__ = ["DIALECTS", "Dialect", "open_dialect"]


def open_dialect(name: str) -> Dialect:
    """Return a new instance for one connection. Raises ConfigError for a name that is not in ``DIALECTS``."""
    if name == "auto":
        return Auto(tuple(_VENDORS.values()))
    if name not in _VENDORS:
        raise ConfigError("dialect", f"{name!r} is not one of {', '.join(DIALECTS)}")
    return _VENDORS[name]()
