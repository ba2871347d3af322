"""Pauses that grow, up to a limit, and start anew."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from receiver_plugins.transcribe.engines.backoff import Backoff


def test_pauses_double_up_to_half_a_minute_and_begin_again(monkeypatch: pytest.MonkeyPatch, kit: Any) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)

    async def main() -> None:
        backoff = Backoff()
        for _ in range(8):
            await backoff.pause()
        backoff.reset()
        await backoff.pause()

    kit.run(main())
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 0.5]
