"""How much speech the process holds, and who is told when there is room."""

from __future__ import annotations

import asyncio

from receiver_plugins.transcribe.engine import RATE
from receiver_plugins.transcribe.pending import Pending


def test_everybody_who_waits_is_told_once_there_is_room_again() -> None:
    pending = Pending(2)
    first, second, gone = asyncio.Event(), asyncio.Event(), asyncio.Event()
    for news in (first, second, gone):
        pending.wait(news)
    pending.leave(gone)
    pending.add(RATE)
    assert not pending.full
    pending.add(2 * RATE)
    assert pending.full
    pending.settle(RATE)
    assert pending.full and not first.is_set()
    pending.settle(1)
    assert not pending.full
    assert [news.is_set() for news in (first, second, gone)] == [True, True, False]


def test_room_that_was_there_is_no_news() -> None:
    pending = Pending(2)
    news = asyncio.Event()
    pending.wait(news)
    pending.add(RATE)
    pending.settle(RATE)
    assert not news.is_set()
