"""The sweep: everybody is looked at, and nobody all the time."""

import asyncio
import time

import pytest

from receiver.asgi.sweep import LONGEST_S, TOGETHER, Sweep


class Counting:
    def __init__(self, hungry: int = 0) -> None:
        self.times: list[float] = []
        self.hungry = hungry

    def sweep(self, now: float) -> bool:
        self.times.append(now)
        return len(self.times) <= self.hungry


def test_every_connection_is_swept_once_per_period() -> None:
    async def run() -> None:
        turns: list[float] = []
        sweep = Sweep(10, lambda late, waited: turns.append(waited))
        connections = [Counting() for _ in range(12)]
        for connection in connections:
            sweep.add(connection)
        sweep.start()
        while len(connections[0].times) < 5:
            await asyncio.sleep(0.001)
        sweep.remove(connections[0])
        seen = len(connections[0].times)
        while len(connections[1].times) < 10:
            await asyncio.sleep(0.001)
        sweep.stop()
        assert len(connections[0].times) == seen
        assert all(len(connection.times) == len(connections[1].times) for connection in connections[1:])
        assert all(waited > 0.009 for waited in turns[1:])  # not earlier than a period, less the clock's grain
        done = len(turns)
        await asyncio.sleep(0.03)
        assert len(turns) == done

    asyncio.run(run())


@pytest.mark.parametrize(("connections", "turns"), [(0, 1), (1, 1), (1, 1), (TOGETHER, 1), (TOGETHER * 5 + 1, 5)])
def test_many_connections_are_read_in_turns(connections: int, turns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.asgi.sweep.LONGEST_S", 60.0)

    async def run() -> None:
        together: list[int] = []
        sweep = Sweep(20, lambda late, waited: together.append(sum(map(len, counted)) - sum(together)))
        counting = [Counting() for _ in range(connections)]
        counted = [connection.times for connection in counting]
        for connection in counting:
            sweep.add(connection)
        sweep.start()
        async with asyncio.timeout(30):
            while len(together) < 3 * turns:
                await asyncio.sleep(0.005)
        sweep.stop()
        for period in range(3):
            assert sum(together[period * turns : (period + 1) * turns]) == connections
        assert max(together) <= -(-connections // turns)
        assert sweep._turns == turns

    asyncio.run(run())


def test_turns_become_more_at_once_and_fewer_only_when_far_fewer_are_needed() -> None:
    sweep = Sweep(60, lambda late, waited: None)
    told = []
    for connections in (399, 401, 399, 320, 299, 1800, 6000, 1601, 1400, 0):
        sweep._turns = sweep._turns_for(connections)
        told.append(sweep._turns)
    assert told == [1, 2, 2, 2, 1, 5, 5, 5, 5, 1]


def test_a_sweep_that_never_began_can_be_stopped() -> None:
    Sweep(60, lambda late, waited: None).stop()


def test_who_has_more_to_read_comes_again_before_its_next_turn() -> None:
    async def run() -> None:
        sweep = Sweep(500, lambda late, waited: None)
        hungry, sated, leaving = Counting(hungry=10), Counting(), Counting(hungry=10_000)
        for connection in (hungry, sated, leaving):
            sweep.add(connection)
        sweep.start()
        async with asyncio.timeout(30):
            while len(hungry.times) < 11:
                await asyncio.sleep(0.005)
        assert len(sated.times) < len(hungry.times)
        sweep.remove(leaving)
        seen = len(leaving.times)
        await asyncio.sleep(0.3)
        sweep.stop()
        assert len(leaving.times) == seen

    asyncio.run(run())


def test_who_is_to_be_swept_soon_does_not_wait_for_its_turn() -> None:
    async def run() -> None:
        sweep = Sweep(1000, lambda late, waited: None)
        urgent, other = Counting(hungry=1), Counting()
        for connection in (urgent, other):
            sweep.add(connection)
        sweep.start()
        sweep.soon(urgent)
        async with asyncio.timeout(30):
            while len(urgent.times) < 2:
                await asyncio.sleep(0.005)
        assert not other.times
        sweep.stop()

    asyncio.run(run())


class Long(Counting):
    """As long as a turn may be."""

    def sweep(self, now: float) -> bool:
        done = time.monotonic() + LONGEST_S
        while time.monotonic() < done:
            pass
        return super().sweep(now)


def test_a_turn_that_takes_too_long_lets_the_loop_do_other_things() -> None:
    async def run() -> None:
        waited: list[float] = []
        sweep = Sweep(1000, lambda late, since: waited.append(since))
        connections = [Long() for _ in range(6)]
        for connection in connections:
            sweep.add(connection)
        sweep.start()
        between: set[int] = set()
        async with asyncio.timeout(30):
            while (swept := sum(len(connection.times) for connection in connections)) < 5:
                between.add(swept)
                await asyncio.sleep(0)
        [left] = [connection for connection in connections if not connection.times]
        sweep.remove(left)
        await asyncio.sleep(0)
        sweep.stop()
        assert between == {0, 1, 2, 3, 4}  # one of them at a time, and we in between
        assert not left.times
        assert 1 < waited[1] < waited[2] < waited[3] < waited[4]  # who comes last has waited longest

    asyncio.run(run())


def test_what_is_left_of_a_long_turn_is_left_when_the_sweep_ends() -> None:
    async def run() -> None:
        sweep = Sweep(5, lambda late, waited: None)
        connections = [Long() for _ in range(4)]
        for connection in connections:
            sweep.add(connection)
        sweep.start()
        async with asyncio.timeout(30):
            while not any(connection.times for connection in connections):
                await asyncio.sleep(0)
        sweep.stop()
        await asyncio.sleep(0.05)
        assert sum(len(connection.times) for connection in connections) == 1

    asyncio.run(run())


def test_one_that_raises_does_not_end_the_sweep() -> None:
    class Raising:
        def sweep(self, now: float) -> bool:
            raise ValueError("a mistake")

    async def run() -> None:
        told: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["exception"]))
        sweep = Sweep(5, lambda late, waited: None)
        connection = Counting()
        sweep.add(Raising())
        sweep.add(connection)
        sweep.start()
        async with asyncio.timeout(30):
            while len(connection.times) < 5 or len(told) < 3:
                await asyncio.sleep(0.005)
        sweep.stop()

    asyncio.run(run())
