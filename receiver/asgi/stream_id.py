"""Our own id of a stream: sorted by time, safe in a file name, no word of the peer in it."""

from __future__ import annotations

import os
import time
from uuid import UUID


def new_stream_id() -> str:
    """A UUIDv7 as text: RFC 9562, section 5.7 (``uuid.uuid7`` comes with Python 3.14)."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | (0x7 << 76)  # version
    value = value & ~(0x3 << 62) | (0x2 << 62)  # variant
    return str(UUID(int=value))
