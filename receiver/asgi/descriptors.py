"""How many streams there are files and sockets for."""

from __future__ import annotations

import resource

PER_STREAM = 7
"""A socket and its duplicate, the journal, a capture, and three files of audio: two tracks and both together."""

SHARE = 0.8
"""What of all descriptors is for streams; listeners, handshakes, sinks and logs need some as well."""


def streams_for_descriptors() -> int:
    """How many streams the soft limit of this process leaves room for, at least one."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, int(SHARE * soft / PER_STREAM))


def handshakes_for_descriptors() -> int:
    """How many connections without a finished handshake, at least one: the half of what streams leave."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, int((1 - SHARE) / 2 * soft))


def raise_descriptor_limit() -> None:
    """Raise the soft limit to the hard one: the usual 1,024 is soon there."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
