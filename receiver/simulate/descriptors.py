"""How many files a process may have open: each connection is one."""

from __future__ import annotations

import resource

from receiver.simulate.side import CallError

SPARE = 64  # for everything else that a process has open


def allow(connections: int) -> None:
    """See to it that so many connections may be open. Raises CallError, which says what is missing."""
    needed = connections + SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise CallError(
                f"{connections} connections and files need {needed} open files, and this process may have {hard} "
                f"(ulimit -Hn): make fewer copies, or raise the limit"
            )
