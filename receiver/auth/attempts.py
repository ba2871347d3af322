"""Failed authentications, counted by address: from too many on, an address is answered without more ado."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

from receiver.auth.proxies import network_of

WINDOW_S = 60.0
ADDRESSES = 10_000
"""Of so many something is remembered; of more, those that have failed the longest time ago are forgotten."""


@dataclass(frozen=True, slots=True)
class Excess:
    """A failure beyond the limit."""

    first: bool
    """Whether it is the first of this minute: the one to tell about."""

    retry_after_s: int
    """Until the minute is over."""


class Attempts:
    """Counts failures in minutes that begin with the first of them. Pure: the time is an argument.

    Who presents what is right never gets here, so that nobody can lock anybody else out.
    """

    def __init__(self, per_minute: int, addresses: int = ADDRESSES) -> None:
        """``per_minute``: how many failures of one address are answered one by one; 0: any number."""
        self._per_minute = per_minute
        self._most = addresses
        self._minutes: OrderedDict[str, tuple[float, int]] = OrderedDict()  # since when, and how many

    def __len__(self) -> int:
        return len(self._minutes)

    def failed(self, address: str, at: float) -> Excess | None:
        """One more failure of this address, at a time in seconds; what it exceeds, if it does."""
        if not self._per_minute:
            return None
        key = network_of(address)
        since, count = self._minutes.pop(key, (at, 0))
        if not since <= at < since + WINDOW_S:
            since, count = at, 0
        count += 1
        self._minutes[key] = (since, count)
        if len(self._minutes) > self._most:
            self._minutes.popitem(last=False)
        if count <= self._per_minute:
            return None
        return Excess(count == self._per_minute + 1, math.ceil(since + WINDOW_S - at))
