"""The disk and the sinks' figures, looked at once a second."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from receiver.asgi.watch import Watch
from receiver.config import SinkConfig
from receiver.metrics import Metrics
from receiver.sinks.hub import Hub

pytestmark = pytest.mark.blocks  # the hub loads files and the metrics ask the disk, on the test's own loop


def disk_short(directory: Path, free_bytes: int, *, expected: bool) -> bool:
    """What it says of a disk; ``expected`` is how long it gets to say so."""

    async def run() -> bool:
        async with Hub({}, base=directory, feeds_bytes=1) as hub:
            watch = Watch(directory, free_bytes, hub, Metrics())
            watch.stop()  # nothing has begun
            watch.start()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(20 if expected else 0.2):
                    while not watch.disk_short:
                        await asyncio.sleep(0.01)
            watch.stop()
            return watch.disk_short

    return asyncio.run(run())


def test_the_disk_is_short_below_the_reserve(tmp_path: Path) -> None:
    assert disk_short(tmp_path, 2**62, expected=True)
    assert not disk_short(tmp_path, 0, expected=False)


def test_a_folder_that_is_gone_is_on_the_disk_of_its_parent(tmp_path: Path) -> None:
    assert not disk_short(tmp_path / "gone" / "altogether", 0, expected=False)
    assert disk_short(tmp_path / "gone" / "altogether", 2**62, expected=True)


def test_a_disk_that_cannot_be_asked_is_short(tmp_path: Path) -> None:
    assert disk_short(tmp_path / ("x" * 5_000), 0, expected=True)


def test_every_sink_has_its_queue_in_the_metrics(tmp_path: Path) -> None:
    (tmp_path / "quiet.py").write_text("async def sink(stream, events): pass\n")

    async def run() -> str:
        async with Hub({"quiet": SinkConfig(use="./quiet.py")}, base=tmp_path, feeds_bytes=1) as hub:
            metrics = Metrics(sinks=["quiet"])
            watch = Watch(tmp_path, 0, hub, metrics)
            watch.start()
            before = metrics.render()[0].decode()
            await asyncio.sleep(0.2)
            watch.stop()
            assert metrics.render()[0].decode().count("receiver_sink_queue_seconds{") == 1
            return before

    assert 'receiver_sink_queue_seconds{sink="quiet"} 0.0' in asyncio.run(run())
