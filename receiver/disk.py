"""How the disk fares: what could not be written last, and whether anything has been written since.

Whoever writes says so. Readiness and admission ask, and whoever waits to try something again.
"""

from __future__ import annotations

import errno
import time

TROUBLE_S = 5.0
"""A failure counts so long, whatever works beside it: who asks once a second is to see it."""

RETRY_S = 1.0
"""How long it is until something is tried again that a disk did not take."""

ERRORS = frozenset(
    getattr(errno, name)
    for name in "ENOSPC EDQUOT EIO EROFS EFBIG EMFILE ENFILE ENOMEM ENOBUFS ENODEV ENXIO ESTALE EACCES EPERM".split()
)
"""Those that say that nothing can be written; others are about a path, or a connection."""


class _Health:
    """Of the process. Threads set single values, and none of them waits for another."""

    def __init__(self) -> None:
        self.problem: OSError | None = None  # the last one
        self.failed_at = 0.0
        self.worked_at = 0.0


_health = _Health()


def failed(problem: OSError) -> None:
    """Say that something could not be written: it counts as trouble if it was the disk. Any thread."""
    if problem.errno in ERRORS:
        _health.problem, _health.failed_at = problem, time.monotonic()


def worked() -> None:
    """Say that something was written: trouble may be over. Any thread."""
    if _health.problem is not None:
        _health.worked_at = time.monotonic()


def forget() -> None:
    """Begin anew."""
    _health.problem = None


def trouble() -> OSError | None:
    """What went wrong last: for TROUBLE_S, and until something has been written since."""
    problem = _health.problem
    if problem is None or (_health.worked_at > _health.failed_at and time.monotonic() - _health.failed_at > TROUBLE_S):
        return None
    return problem


def stuck() -> bool:
    """Whether nothing could be written for TROUBLE_S."""
    failed_for_s = time.monotonic() - _health.failed_at
    return _health.problem is not None and _health.worked_at <= _health.failed_at and failed_for_s > TROUBLE_S
