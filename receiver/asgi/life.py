"""Signs of life: when to ask a peer whether he is there, and when he is not any more. No I/O, no clock.

Any byte is a sign. Silence means something only of a peer that answers pings, that is within a message, or that never
was silent for so long before; platforms suppress silence and put calls on hold. Of the others the kernel says when they
are gone: see ``have_kernel_watch``.
"""

from __future__ import annotations

import socket
from enum import Enum
from typing import Any

from receiver.asgi.edge import Edge
from receiver.asgi.frames import FrameReader

STEADY_READS = 5
"""From so many reads with messages on, a silence longer than any before is a sign."""

TALKING = 4
"""A peer that talks is asked so many times less often."""


class Act(Enum):
    """What is to be done."""

    NOTHING = "nothing"
    PING = "ping"
    DIE = "die"


class Life:
    """One peer's, from ``now`` on. Times are of one monotonic clock, in seconds."""

    __slots__ = (
        "_edge",
        "_grace_until",
        "_longest_silence",
        "_pinged_at",
        "_reader",
        "_reads",
        "_spoke_at",
        "_suspected_at",
        "heard_at",
    )

    def __init__(self, edge: Edge, reader: FrameReader, now: float) -> None:
        self.heard_at = now
        """When the last byte came; to be set also while it is us who do not read."""
        self._edge = edge
        self._reader = reader
        self._spoke_at = now
        self._longest_silence = 0.0
        self._reads = 0
        self._pinged_at = now
        self._suspected_at = now - 1  # the ``heard_at`` that grace was given for
        self._grace_until = now

    def spoke(self, now: float) -> None:
        """A read had messages in it."""
        silence = now - self._spoke_at
        if silence > self._longest_silence:
            self._longest_silence = silence
        self._spoke_at = now
        self._reads += 1

    def look(self, now: float) -> tuple[Act, float | None]:
        """What is to be done now, and when to look again; None: never."""
        edge = self._edge
        if edge.dead_after_s and now - self.heard_at >= edge.dead_after_s and self._is_steady():
            if self._suspected_at != self.heard_at:
                self._suspected_at, self._grace_until = self.heard_at, now + edge.grace_s
            if now >= self._grace_until:
                return Act.DIE, None
            return Act.NOTHING, self._grace_until
        act, times = Act.NOTHING, []
        if edge.ping_interval_s:
            if now >= self._ping_due():
                self._pinged_at = now
                act = Act.PING
            times.append(self._ping_due())
        if edge.dead_after_s:
            silent_at = self.heard_at + edge.dead_after_s
            times.append(silent_at if silent_at > now else now + edge.dead_after_s)
        return act, min(times, default=None)

    def _ping_due(self) -> float:
        """Once an interval while nothing is heard; less often while something is, as proxies look at our side, too."""
        interval = self._edge.ping_interval_s
        return min(max(self.heard_at, self._pinged_at) + interval, self._pinged_at + TALKING * interval)

    def _is_steady(self) -> bool:
        """Whether his silence means something."""
        often = self._reads >= STEADY_READS and self._longest_silence < self._edge.dead_after_s
        return often or self._reader.ponged or self._reader.midway


def have_kernel_watch(raw: Any, dead_after_s: float) -> None:
    """Have the kernel end a TCP connection whose peer's machine does not answer; ``raw`` has ``setsockopt``."""
    seconds = int(dead_after_s)
    if raw is None or not seconds or raw.family == getattr(socket, "AF_UNIX", None):
        return
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", seconds),
        ("TCP_KEEPINTVL", max(1, seconds // 3)),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", seconds * 1000),
    ):
        if hasattr(socket, name):  # which of them there are, depends on the system
            raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
