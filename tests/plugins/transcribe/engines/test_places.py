"""Places in the order of asking, whoever leaves the line."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from receiver_plugins.transcribe.engines.places import Places


def test_free_places_are_taken_at_once_and_in_order(kit: Any) -> None:
    async def main() -> None:
        places: Places[str] = Places()
        for name in "abc":
            places.give(name)
        places.withdraw("b")
        places.withdraw("nobody's")
        assert [await places.take(), await places.take()] == ["a", "c"]

    kit.run(main())


def test_who_waits_longest_is_served_first(kit: Any) -> None:
    async def main() -> None:
        places: Places[str] = Places()
        waiting = [asyncio.create_task(places.take()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        places.give("a")
        places.give("b")
        assert await asyncio.gather(*waiting[1:]) == ["a", "b"]
        with pytest.raises(asyncio.CancelledError):
            await waiting[0]

    kit.run(main())


def test_who_was_cancelled_before_leaves_the_line(kit: Any) -> None:
    async def main() -> None:
        places: Places[str] = Places()
        waiting = [asyncio.create_task(places.take()) for _ in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.wait([waiting[0]])
        places.give("a")
        assert await waiting[1] == "a"

    kit.run(main())


def test_a_place_that_was_given_to_somebody_who_is_cancelled_is_the_next_ones(kit: Any) -> None:
    async def main() -> None:
        places: Places[str] = Places()
        waiting = [asyncio.create_task(places.take()) for _ in range(2)]
        await asyncio.sleep(0)
        places.give("a")
        waiting[0].cancel()
        assert await waiting[1] == "a"
        assert waiting[0].cancelled()

    kit.run(main())
