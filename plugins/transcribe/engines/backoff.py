"""Waiting longer after each failure, so that what cannot work is not tried without end."""

from __future__ import annotations

import asyncio

FIRST_S = 0.5
LONGEST_S = 30.0


class Backoff:
    """Pauses of 0.5 s, 1 s, 2 s … up to 30 s, and from the beginning again after ``reset``."""

    def __init__(self) -> None:
        self._next_s = FIRST_S

    async def pause(self) -> None:
        """Wait, after one more failure."""
        wait_s, self._next_s = self._next_s, min(self._next_s * 2, LONGEST_S)
        await asyncio.sleep(wait_s)

    def reset(self) -> None:
        """It works again."""
        self._next_s = FIRST_S
