from __future__ import annotations

import asyncio

from receiver.asgi.opening import Opening, Openings


def test_what_is_not_open_by_its_deadline_is_over_and_what_is_cancelled_is_not() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        openings, over = Openings(10, 0.05), asyncio.Event()
        told: list[tuple[str, bool]] = []
        openings.begin(loop.time(), lambda in_time: told.append(("cancelled", in_time))).cancel()
        openings.begin(loop.time(), lambda in_time: (told.append(("late", in_time)), over.set())[1])
        async with asyncio.timeout(20):
            await over.wait()
        assert told == [("late", True)] and len(openings) == 0

    asyncio.run(main())


def test_time_counts_from_the_acceptance() -> None:
    async def main() -> None:
        over = asyncio.Event()
        Openings(10, 3600).begin(asyncio.get_running_loop().time() - 3600, lambda in_time: over.set())
        async with asyncio.timeout(20):
            await over.wait()

    asyncio.run(main())


def test_of_too_many_the_oldest_makes_room_and_what_is_over_is_so_once() -> None:
    async def main() -> None:
        now = asyncio.get_running_loop().time()
        openings = Openings(2, 3600)
        told: list[tuple[int, bool]] = []
        begun: list[Opening] = [
            openings.begin(now, lambda in_time, number=number: told.append((number, in_time)))  # type: ignore[misc]
            for number in range(3)
        ]
        assert told == [(0, False)] and len(openings) == 2
        begun[1].over = lambda in_time: told.append((11, in_time))
        begun[0].cancel()
        openings.begin(now, lambda in_time: None)
        assert told == [(0, False), (11, False)] and len(openings) == 2

    asyncio.run(main())
