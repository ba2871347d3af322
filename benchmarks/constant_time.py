"""Whether the time of a wrong token tells how much of it was right, as dudect asks: Welch's t over many measurements.

Two classes of wrong tokens of one length, in random order: one differs from the right token in its last character, the
other in all. |t| above 4.5 would be a leak that statistics can see. A comparison that stops at the first difference is
measured in the same way, and has to be seen: else nothing was shown. Beside it, what a whole refusal takes.

It is no test, since a busy machine makes it say anything.

    python benchmarks/constant_time.py
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence

from receiver.auth.authenticator import Upgrade
from receiver.auth.bearer import Bearer
from receiver.auth.token_digest import presented_token, token_digest
from receiver.errors import AccessDenied

TOKEN = b"ei2oDTscILIv8iPTaFqIkfx0dS7I1eTLtwNP3EpOKAA"
NEAR = TOKEN[:-1] + b"B"
FAR = bytes(byte ^ 1 for byte in TOKEN)
DIGESTS = [token_digest("main", TOKEN.decode())]
BEARER = Bearer(lambda: DIGESTS)

SAMPLES = 100_000  # of both classes together
KEPT = 0.9  # of all: the slowest tenth is what else the machine did
LEAK_T = 4.5


def compared(token: bytes) -> None:
    """What every handshake does."""
    presented_token(token, DIGESTS)


def refused(token: bytes) -> None:
    """All that a handshake's token goes through."""
    try:
        BEARER.authenticate(Upgrade([(b"authorization", b"Bearer " + token)]), 0.0)
    except AccessDenied:
        pass


def stops_early(token: bytes) -> None:
    """What nobody should do."""
    for one, other in zip(token, TOKEN, strict=True):
        if one != other:
            return


def measured(work: Callable[[bytes], None], tokens: Sequence[bytes]) -> list[list[int]]:
    """Nanoseconds, by class."""
    order = [index % len(tokens) for index in range(SAMPLES)]
    random.shuffle(order)
    given = [bytes(bytearray(tokens[index])) for index in order]  # none of them is in the same place as another
    took = [0] * SAMPLES
    clock = time.perf_counter_ns
    for index, token in enumerate(given):
        before = clock()
        work(token)
        took[index] = clock() - before
    limit = sorted(took)[int(SAMPLES * KEPT)]
    return [[ns for ns, which in zip(took, order, strict=True) if which == index and ns <= limit] for index in (0, 1)]


def welch_t(one: Sequence[int], other: Sequence[int]) -> float:
    """How many standard errors the means are apart."""
    spread = statistics.variance(one) / len(one) + statistics.variance(other) / len(other)
    return (statistics.fmean(one) - statistics.fmean(other)) / spread**0.5


def main() -> int:
    """Measure, print, and fail where the comparison leaks or the control is not seen."""
    found = {}
    for work in (compared, refused, stops_early):
        measured(work, (NEAR, FAR))  # warm
        near, far = measured(work, (NEAR, FAR))
        found[work] = abs(welch_t(near, far))
        print(f"{work.__name__:12} |t| {found[work]:9.2f}   {statistics.median(near)} ns, {statistics.median(far)} ns")
    if found[stops_early] < LEAK_T:
        print("The comparison that stops early was not seen: this machine is too busy to show anything.")
    return int(max(found[compared], found[refused]) >= LEAK_T or found[stops_early] < LEAK_T)


if __name__ == "__main__":
    sys.exit(main())
