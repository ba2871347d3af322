"""What a peer may do on the wire before and beside what it says: times, sizes, counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Edge:
    """The limits of the public listener's two protocols, HTTP until the upgrade and WebSocket after it."""

    open_timeout_s: float = 10.0
    """From the connection to the finished handshake, whatever the peer sends meanwhile; also one HTTP request."""
    close_timeout_s: float = 5.0
    """How long a peer may take to close once we have said that it is over."""
    ping_interval_s: float = 5.0
    """0: never."""
    dead_after_s: float = 15.0
    """Without a byte of a peer that used to send more often, or answered pings, the connection is dead. 0: never."""
    grace_s: float = 0.3
    """Before a peer counts as dead, what waits in the kernel is read: it may be us who did not look. Several sweeps."""
    message_bytes: int = 65_536
    fragments: int = 128
    """Frames that one message may come in."""
    pings_per_s: float = 10.0
    header_bytes: int = 16_384
    """Request line and headers together; no line may be longer than half of it."""
    headers: int = 64
    handshakes: int = 1_000
    """Connections that have not finished their handshake; of more, the oldest is closed."""
