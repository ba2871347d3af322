"""Pending: how much speech the process holds that is not transcribed yet, and who waits for that to be less."""

from __future__ import annotations

import asyncio

from .engine import RATE


class Pending:
    """Speech of all tracks. For one event loop."""

    def __init__(self, most_s: float) -> None:
        self._most = round(most_s * RATE)
        self._samples = 0
        self._waiting: set[asyncio.Event] = set()

    @property
    def full(self) -> bool:
        """Whether no more should come."""
        return self._samples >= self._most

    def add(self, samples: int) -> None:
        """So much more is pending."""
        self._samples += samples

    def settle(self, samples: int) -> None:
        """So much is not pending any more: whoever waits may look again."""
        was_full = self.full
        self._samples -= samples
        if was_full and not self.full:
            for news in self._waiting:
                news.set()

    def wait(self, news: asyncio.Event) -> None:
        """Have an event set when there is room again, until ``leave``."""
        self._waiting.add(news)

    def leave(self, news: asyncio.Event) -> None:
        """It need not be set any more."""
        self._waiting.discard(news)
