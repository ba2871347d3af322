"""SignalWire: streams started by SWML, RELAY, REST or cXML.

Only the cXML page describes the messages (https://signalwire.com/docs/compatibility-api/cxml/reference/voice/stream,
November 2026); the other ways name the same feature and the same fields.
"""

from __future__ import annotations

from receiver.dialects.media_streams import MediaStreams


class SignalWire(MediaStreams):
    """The family as it is: UUIDs, ids in ``start`` alone, ``customParameters`` only where some were given."""

    name = "signalwire"
