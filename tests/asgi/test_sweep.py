"""The sweep: everybody is looked at, and nobody all the time."""

import asyncio

from receiver.asgi.sweep import SLICES, Sweep


class Counting:
    def __init__(self) -> None:
        self.times: list[float] = []

    def sweep(self, now: float) -> None:
        self.times.append(now)


def test_every_connection_is_swept_once_per_period() -> None:
    async def run() -> None:
        slices: list[float] = []
        sweep = Sweep(10, slices.append)
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
        assert all(abs(len(connection.times) - len(connections[1].times)) <= 1 for connection in connections[1:])
        assert len(slices) >= 10 * SLICES - SLICES
        turns = len(slices)
        await asyncio.sleep(0.03)
        assert len(slices) == turns

    asyncio.run(run())


def test_connections_are_dealt_evenly() -> None:
    sweep = Sweep(60, lambda late: None)
    for _ in range(SLICES * 3):
        sweep.add(Counting())
    assert [len(connections) for connections in sweep._slices] == [3] * SLICES


def test_a_sweep_that_never_began_can_be_stopped() -> None:
    Sweep(60, lambda late: None).stop()
