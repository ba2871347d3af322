from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from receiver.audio import AudioFormat, Encoding
from receiver.config import SinkConfig
from receiver.errors import ConfigError
from receiver.events import Annotation, Cause, Digit, Ended, EndReason, Event, Frame, Gap, TrackCounters
from receiver.records import Record, Refused
from receiver.sinks import announcements
from receiver.sinks.hub import Hub
from receiver.sinks.listeners import Listeners
from receiver.sinks.sink import Plugin
from receiver.stream import Stream, StreamClosed, StreamFacts

RATE = 8000
LONG = 20.0  # seconds, for what must happen and takes as long as the machine needs


class Town:
    """What the plugins of these tests, which are loaded by name, share with them."""

    def __init__(self) -> None:
        self.sinks: dict[str, Callable[..., Any]] = {}
        self.seen: dict[str, list[Event]] = {}
        self.said: list[str] = []
        self.go = threading.Event()
        self.there = threading.Event()
        self.annotations: list[Annotation] = []
        self.forgotten: asyncio.Task[None] | None = None

    def annotated(self, annotation: Annotation) -> None:
        self.annotations.append(annotation)

    def file_added(self, path: Path, kind: str, media_type: str, sink: str) -> None:
        self.said.append(f"{sink} {path.name}")


TOWN = Town()


@pytest.fixture(autouse=True)
def town() -> Iterator[Town]:
    global TOWN
    TOWN = Town()
    yield TOWN
    TOWN.go.set()  # nobody is left waiting


async def everything(stream: Stream, events: AsyncIterator[Event]) -> None:
    seen = TOWN.seen.setdefault(stream.sink, [])
    async for event in events:
        seen.append(event)


def plain_everything(stream: Stream, events: Iterator[Event]) -> None:
    TOWN.seen.setdefault(stream.sink, []).extend(events)


async def raising(stream: Stream, events: AsyncIterator[Event]) -> None:
    await anext(events)
    raise ValueError("first line\nsecond line" + "x" * 1000)


async def leaving(stream: Stream, events: AsyncIterator[Event]) -> None:
    TOWN.seen[stream.sink] = [await anext(events)]


async def exiting(stream: Stream, events: AsyncIterator[Event]) -> None:
    raise SystemExit(3)


async def self_cancelled(stream: Stream, events: AsyncIterator[Event]) -> None:
    raise asyncio.CancelledError


async def stuck(stream: Stream, events: AsyncIterator[Event]) -> None:
    await asyncio.Event().wait()


async def deaf(stream: Stream, events: AsyncIterator[Event]) -> None:
    gate = asyncio.get_running_loop().create_future()
    TOWN.sinks["wake deaf"] = lambda: gate.get_loop().call_soon_threadsafe(gate.set_result, None)
    while not gate.done():
        try:
            await asyncio.shield(gate)
        except asyncio.CancelledError:
            TOWN.said.append("ignored")
    try:
        stream.annotate("late", start=0, end=1, rate=RATE)
    except StreamClosed:
        TOWN.said.append("closed")
    TOWN.there.set()


async def gated(stream: Stream, events: AsyncIterator[Event]) -> None:
    """Takes nothing until the gate opens, without blocking the loop."""
    while not TOWN.go.is_set():
        await asyncio.sleep(0.002)
    await everything(stream, events)


async def blocking(stream: Stream, events: AsyncIterator[Event]) -> None:
    """Blocks the loop of all sinks."""
    TOWN.there.set()
    TOWN.go.wait(LONG)
    await everything(stream, events)


def plain_waiting(stream: Stream, events: Iterator[Event]) -> None:
    TOWN.there.set()
    TOWN.go.wait(LONG)
    plain_everything(stream, events)


def plain_raising(stream: Stream, events: Iterator[Event]) -> None:
    raise StopIteration


def plain_returning(stream: Stream, events: AsyncIterator[Event]) -> Awaitable[None]:
    return everything(stream, events)


def plain_returning_a_number(stream: Stream, events: Iterator[Event]) -> int:
    return 3


async def talking(stream: Stream, events: AsyncIterator[Event]) -> None:
    async for event in events:
        if isinstance(event, Ended):
            stream.annotate("transcript", track="inbound", start=0, end=160, rate=RATE, data={"text": "hello"})
            stream.add_file(stream.directory / "notes.txt", kind="notes", media_type="text/plain")


class Sitting:
    """A sink may be an object."""

    async def __call__(self, stream: Stream, events: AsyncIterator[Event]) -> None:
        await everything(stream, events)


sitting = Sitting()


@asynccontextmanager
async def plugin(*, fail: str = "", label: str = "", hang: bool = False, records: bool = False) -> AsyncIterator[Any]:
    if fail == "config":
        raise ConfigError("options.fail", "is not to be")
    if fail == "open":
        raise OSError("no such device")
    if fail == "cancel":
        raise asyncio.CancelledError
    if fail == "nothing":
        yield 5
    TOWN.said.append(f"open {label}")
    try:
        yield Plugin(sink=everything, records=reading if records else None, recover=recover)
    finally:
        if hang:
            await asyncio.Event().wait()
        TOWN.said.append(f"close {label}")
    if fail == "close":
        raise OSError("cannot close")


def recover(stream: Stream) -> None:
    TOWN.said.append(f"recovered {stream.id}")


async def reading(records: AsyncIterator[Record]) -> None:
    async for record in records:
        assert isinstance(record, Refused)
        if record.reason == "break":
            raise ValueError("cannot read this")
        TOWN.said.append(record.reason)
        if record.reason == "wait":
            TOWN.there.set()
            TOWN.go.wait(LONG)


def use(name: str, **more: Any) -> SinkConfig:
    return SinkConfig(use=f"{__name__}:{name}", **more)


def facts(source: str = "default", **parameters: Any) -> StreamFacts:
    return StreamFacts(
        id="0198",
        source=source,
        dialect="signalwire",
        stream_id="s",
        call_id=None,
        account_id=None,
        tracks=("inbound",),
        format=AudioFormat(Encoding.PCMU, RATE),
        parameters=parameters,
        path_parameters={},
        peer_address="127.0.0.1",
        token=None,
        started=datetime.now(UTC),
    )


def frame(start: int, count: int = 160) -> Frame:
    return Frame("inbound", start, RATE, np.full(count, start % 30000, np.int16))


def ended(length: int) -> Ended:
    return Ended(EndReason.STOP, True, {"inbound": TrackCounters(RATE, length)})


def hub_of(**sinks: SinkConfig) -> Hub:
    return Hub(sinks, base=Path(__file__).parent, feeds_bytes=1 << 30)


def open_stream(hub: Hub, directory: Path, town: Town, **parameters: Any) -> Listeners:
    return hub.open(facts(**parameters), directory, town)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(LONG):
        while not condition():
            await asyncio.sleep(0.002)


async def publish(hub: Hub, listeners: Listeners, slices: int = 50) -> None:
    """A stream of one track, as the sweep would: a batch, a flush, and on."""
    for number in range(slices):
        listeners.publish([frame(160 * number)])
        hub.flush()
        await asyncio.sleep(0)
    listeners.publish([ended(160 * slices)])
    hub.flush()


def samples(events: list[Event]) -> int:
    return sum(len(event.samples) for event in events if isinstance(event, Frame))


def test_a_sink_gets_everything_in_order_and_then_ended(tmp_path: Path, town: Town) -> None:
    async def run() -> None:
        async with hub_of(a=use("everything"), b=use("plain_everything"), c=use("sitting")) as hub:
            listeners = open_stream(hub, tmp_path, town)
            listeners.publish([Digit("5", 0, RATE)])
            await publish(hub, listeners)
            assert await listeners.finished(LONG)
            assert {name: result.status for name, result in listeners.results().items()} == dict.fromkeys("abc", "ok")

    asyncio.run(run())
    for name in "abc":
        seen = town.seen[name]
        assert isinstance(seen[0], Digit) and isinstance(seen[-1], Ended)
        assert [event.start for event in seen[1:-1]] == [160 * number for number in range(50)]


@pytest.mark.parametrize(
    ("name", "status", "error"),
    [
        ("raising", "failed", "ValueError: first line second line"),
        ("exiting", "failed", "SystemExit: 3"),
        ("self_cancelled", "failed", "CancelledError"),
        ("plain_raising", "failed", "StopIteration"),
        ("plain_returning", "failed", "TypeError: a plain sink returns None, not coroutine"),
        ("plain_returning_a_number", "failed", "TypeError: a plain sink returns None, not int"),
        ("leaving", "ok", None),
        ("stuck", "cancelled", "CancelledError"),
    ],
)
def test_a_bad_sink_hurts_nobody_but_itself(
    name: str, status: str, error: str | None, tmp_path: Path, town: Town
) -> None:
    async def run() -> None:
        async with hub_of(bad=use(name, finish_timeout_s=0.1), good=use("everything")) as hub:
            listeners = open_stream(hub, tmp_path, town)
            await publish(hub, listeners)
            assert await listeners.finished(LONG)
            results = listeners.results()
            assert results["good"].status == "ok"
            assert results["bad"].status == status
            assert (error or "") in (results["bad"].error or "")
            assert len(results["bad"].error or "") <= 300
            assert hub.figures()["bad"].failures == (status == "failed")
            assert hub.figures()["good"].failures == 0

    with capture_logs() as logs:
        asyncio.run(run())
    assert samples(town.seen["good"]) == 8000
    failures = [line for line in logs if line["event"] == "sink_failed"]
    assert len(failures) == (status == "failed")
    for line in failures:
        assert (line["sink"], line["stream_id"]) == ("bad", "0198")


@pytest.mark.blocks
def test_a_sink_that_blocks_the_loop_of_all_sinks_does_not_hold_up_the_publisher(tmp_path: Path, town: Town) -> None:
    async def run() -> None:
        async with hub_of(bad=use("blocking"), good=use("plain_everything")) as hub:
            listeners = open_stream(hub, tmp_path, town)
            await until(town.there.is_set)
            await publish(hub, listeners, 500)
            assert not town.go.is_set()  # all was published while the sink was still blocked
            assert not await listeners.finished(0.05)
            assert listeners.results()["bad"].status == "running"
            town.go.set()
            assert await listeners.finished(LONG)

    asyncio.run(run())
    for name in ("bad", "good"):
        assert samples(town.seen[name]) == 80_000
        assert isinstance(town.seen[name][-1], Ended)


def test_a_sink_that_ignores_its_cancellation_is_left_behind(tmp_path: Path, town: Town) -> None:
    async def run() -> None:
        async with hub_of(deaf=use("deaf", finish_timeout_s=0), good=use("everything")) as hub:
            listeners = open_stream(hub, tmp_path, town)
            await publish(hub, listeners)
            assert not await listeners.finished(LONG)
            result = listeners.results()["deaf"]
            assert result.status == "running"
            assert "left behind" in (result.error or "")
            assert listeners.results()["good"].status == "ok"
            town.sinks["wake deaf"]()
            await until(town.there.is_set)
            await until(lambda: listeners.results()["deaf"].status == "ok")

    with capture_logs() as logs:
        asyncio.run(run())
    assert town.said == ["ignored", "closed"]
    assert [line["event"] for line in logs] == ["sink_left_behind", "sink_ended_late"]


def test_a_slow_sink_loses_what_does_not_fit_and_knows_it(tmp_path: Path, town: Town) -> None:
    async def run() -> None:
        slow = use("gated", buffer_s=0.1)
        async with hub_of(slow=slow, live=use("gated", buffer_s=0.1, overflow="drop_oldest")) as hub:
            listeners = open_stream(hub, tmp_path, town)
            await publish(hub, listeners)
            assert hub.figures()["slow"].queued_s == 0.1
            town.go.set()
            assert await listeners.finished(LONG)
            assert listeners.results()["slow"].dropped_s == {"inbound": 0.9}
            assert hub.figures()["slow"].dropped_s == 0.9
            assert hub.figures()["slow"].queued_s == 0

    asyncio.run(run())
    assert town.seen["slow"][-2] == Gap("inbound", 800, 8000, RATE, Cause.DROPPED)
    assert town.seen["live"][0] == Gap("inbound", 0, 7200, RATE, Cause.DROPPED)
    assert samples(town.seen["slow"]) == samples(town.seen["live"]) == 800


def test_all_feeds_together_are_bounded(tmp_path: Path, town: Town) -> None:
    async def run() -> None:
        hub = Hub({"slow": use("gated")}, base=tmp_path, feeds_bytes=5000)
        async with hub:
            listeners = open_stream(hub, tmp_path, town)
            await publish(hub, listeners)
            town.go.set()
            assert await listeners.finished(LONG)

    asyncio.run(run())
    assert 0 < samples(town.seen["slow"]) < 2000


def test_block_ms_collects_before_it_wakes(tmp_path: Path, town: Town) -> None:
    async def run() -> None:
        async with hub_of(lazy=use("everything", block_ms=10), prompt=use("everything", block_ms=10_000)) as hub:
            listeners = open_stream(hub, tmp_path, town)
            await until(lambda: len(town.seen) == 2)
            listeners.publish([frame(0)])
            hub.flush()
            listeners.publish([frame(160)])
            hub.flush()
            await until(lambda: len(town.seen["lazy"]) == 2)
            listeners.publish([frame(320)])
            hub.flush()
            await until(lambda: len(town.seen["lazy"]) == 3)
            assert town.seen["prompt"] == []
            listeners.publish([ended(480)])  # the end does not wait for ten seconds
            assert await listeners.finished(LONG)
            assert await listeners.finished(LONG)  # may be asked again

    asyncio.run(run())
    assert samples(town.seen["prompt"]) == 480


def test_streams_are_chosen_by_source_and_parameters(tmp_path: Path, town: Town) -> None:
    sinks = {
        "all": use("everything"),
        "other": use("everything", sources=["other"]),
        "yes": use("everything", when={"consent": "yes"}),
        "one": use("everything", when={"number": 1, "flag": True}),
    }

    async def names(source: str, **parameters: Any) -> list[str]:
        async with hub_of(**sinks) as hub:
            listeners = hub.open(facts(source, **parameters), tmp_path, town)
            listeners.publish([ended(0)])
            assert await listeners.finished(LONG)
            return list(listeners.results())

    assert asyncio.run(names("default")) == ["all"]
    assert asyncio.run(names("other", consent="yes")) == ["all", "other", "yes"]
    assert asyncio.run(names("default", consent="no", number="1", flag="true")) == ["all", "one"]
    assert asyncio.run(names("default", number=1, flag=True)) == ["all", "one"]
    assert asyncio.run(names("default", number=1, flag="True")) == ["all"]


def test_a_sink_attached_in_the_middle_sees_a_gap_for_what_has_passed(tmp_path: Path, town: Town) -> None:
    async def run() -> None:
        async with hub_of() as hub:
            listeners = open_stream(hub, tmp_path, town)
            listeners.publish([frame(0)])
            hub.attach(listeners, "late", everything)
            listeners.publish([frame(160), ended(320)])
            hub.flush()
            hub.attach(listeners, "later", plain_everything, use("x"))
            assert await listeners.finished(LONG)
            assert hub.figures()["late"].dropped_s == 0

    asyncio.run(run())
    assert town.seen["late"][0] == Gap("inbound", 0, 160, RATE, Cause.DROPPED)
    assert samples(town.seen["late"]) == 160
    assert town.seen["later"][0] == Gap("inbound", 0, 320, RATE, Cause.DROPPED)
    assert isinstance(town.seen["later"][1], Ended)


def test_an_annotation_reaches_the_other_sinks(tmp_path: Path, town: Town) -> None:
    async def run() -> None:
        async with hub_of(talker=use("everything"), other=use("everything")) as hub:
            listeners = open_stream(hub, tmp_path, town)
            listeners.annotation(Annotation("transcript", "inbound", 0, 160, RATE, "hello", "talker"))
            await until(lambda: town.seen.get("other"))
            listeners.publish([ended(0)])
            assert await listeners.finished(LONG)

    asyncio.run(run())
    assert [type(event) for event in town.seen["other"]] == [Annotation, Ended]
    assert [type(event) for event in town.seen["talker"]] == [Ended]


@pytest.mark.blocks  # add_file resolves a path, which asks the file system
def test_what_a_sink_says_reaches_the_owner_also_after_the_end(tmp_path: Path, town: Town) -> None:
    async def run() -> None:
        async with hub_of(talker=use("talking")) as hub:
            listeners = open_stream(hub, tmp_path, town)
            await publish(hub, listeners)
            assert await listeners.finished()

    asyncio.run(run())
    assert town.annotations == [Annotation("transcript", "inbound", 0, 160, RATE, {"text": "hello"}, "talker")]
    assert town.said == ["talker notes.txt"]


def test_threads_of_plain_sinks_are_bounded_and_counted(tmp_path: Path, town: Town) -> None:
    async def run() -> None:
        async with hub_of(
            plain=use("plain_waiting", threads=2, sources=["default"]), more=use("everything", threads=1)
        ) as hub:
            streams = []
            for _ in range(2):
                assert hub.room_for_stream("default")
                streams.append(open_stream(hub, tmp_path, town))
            assert not hub.room_for_stream("default")
            assert not hub.room_for_stream()
            assert hub.room_for_stream("other")
            surplus = open_stream(hub, tmp_path, town)
            await until(lambda: surplus.results()["plain"].status == "failed")
            assert "all 2 threads" in (surplus.results()["plain"].error or "")
            town.go.set()
            for listeners in [*streams, surplus]:
                listeners.publish([ended(0)])
                assert await listeners.finished(LONG)
            await until(hub.room_for_stream)

    asyncio.run(run())


def test_abandoned_sinks_are_cancelled(tmp_path: Path, town: Town) -> None:
    async def run() -> None:
        async with hub_of(a=use("stuck"), b=use("plain_everything"), c=use("plain_waiting")) as hub:
            listeners = open_stream(hub, tmp_path, town)
            await until(town.there.is_set)
            listeners.abandon()
            listeners.abandon()
            assert not await listeners.finished(LONG)
            results = listeners.results()
            assert [results[name].status for name in "abc"] == ["cancelled", "cancelled", "running"]
            town.go.set()
            at_once = open_stream(hub, tmp_path, town)
            at_once.abandon()
            assert await at_once.finished(LONG)
            await until(lambda: hub.room_for_stream())

    asyncio.run(run())


@pytest.mark.blocks
def test_a_sink_cancelled_before_its_first_step_is_done_and_gives_its_thread_back(tmp_path: Path, town: Town) -> None:
    async def run() -> None:
        unblocked = {"unblocked": "yes"}
        async with hub_of(
            block=use("blocking", when={"blocked": "yes"}),
            a=use("stuck", when=unblocked),
            b=use("plain_waiting", when=unblocked, threads=1),
        ) as hub:
            blocked = open_stream(hub, tmp_path, town, blocked="yes")
            await until(town.there.is_set)
            listeners = open_stream(hub, tmp_path, town, unblocked="yes")
            assert not hub.room_for_stream()
            listeners.abandon()
            town.go.set()
            assert await listeners.finished(LONG)
            assert [result.status for result in listeners.results().values()] == ["cancelled", "cancelled"]
            assert hub.room_for_stream()
            blocked.publish([ended(0)])
            assert await blocked.finished(LONG)

    asyncio.run(run())


def test_health_is_bad_while_every_sink_of_a_live_stream_has_failed(tmp_path: Path, town: Town) -> None:
    async def run() -> None:
        async with hub_of(one=use("raising"), two=use("exiting")) as hub:
            assert hub.healthy()
            listeners = open_stream(hub, tmp_path, town)
            await until(lambda: listeners.results()["two"].status == "failed")
            assert hub.healthy()
            listeners.publish([frame(0)])
            hub.flush()
            await until(lambda: not hub.healthy())
            listeners.publish([frame(160), ended(320)])
            assert hub.healthy()
            assert await listeners.finished(LONG)
            assert {name: figures.failures for name, figures in hub.figures().items()} == {"one": 1, "two": 1}

    asyncio.run(run())


def test_plugins_open_in_order_and_close_in_reverse(town: Town) -> None:
    async def run() -> None:
        first, second = use("plugin", options={"label": "1"}), use("plugin", options={"label": "2"})
        async with hub_of(first=first, second=second) as hub:
            assert [(name, recover) for name, recover in hub.recoverers()] == [("first", recover), ("second", recover)]

    asyncio.run(run())
    assert town.said == ["open 1", "open 2", "close 2", "close 1"]


@pytest.mark.parametrize(
    ("fail", "message"),
    [
        ("config", "sinks.second.options.fail: is not to be"),
        ("open", "sinks.second: could not be opened: OSError: no such device"),
        ("cancel", "sinks.second: was cancelled while it was opened"),
        ("nothing", "sinks.second: could not be opened: TypeError: the plugin yielded int"),
    ],
)
def test_a_plugin_that_does_not_open_stops_the_start_by_name_and_closes_the_others(
    fail: str, message: str, town: Town
) -> None:
    async def run() -> None:
        with pytest.raises(ConfigError) as caught:
            async with hub_of(
                first=use("plugin", options={"label": "1"}), second=use("plugin", options={"fail": fail})
            ):
                pass
        assert message in str(caught.value)

    asyncio.run(run())
    assert town.said == ["open 1", "close 1"]


def test_a_plugin_that_fails_or_hangs_on_closing_is_logged(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.sinks.opened.CLOSE_S", 0.1)

    async def run() -> None:
        async with hub_of(
            failing=use("plugin", options={"fail": "close"}), hanging=use("plugin", options={"hang": True})
        ):
            pass

    with capture_logs() as logs:
        asyncio.run(run())
    assert [(line["event"], line["sink"]) for line in logs] == [
        ("sink_did_not_close", "hanging"),
        ("sink_close_failed", "failing"),
    ]


def test_a_start_that_is_cancelled_closes_what_was_open(town: Town) -> None:
    async def run() -> None:
        hub = hub_of(first=use("plugin", options={"label": "1"}), slow=use("slow_to_open"))
        start = asyncio.create_task(hub.__aenter__())
        await until(town.there.is_set)
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start

    asyncio.run(run())
    assert town.said == ["open 1", "close 1"]


@asynccontextmanager
async def slow_to_open() -> AsyncIterator[Any]:
    TOWN.there.set()
    await asyncio.Event().wait()
    yield everything


async def forgetful(stream: Stream, events: AsyncIterator[Event]) -> None:
    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            TOWN.said.append("tidied up")

    TOWN.forgotten = asyncio.create_task(forever())
    await everything(stream, events)


def test_a_task_that_a_sink_forgot_is_cancelled_when_the_hub_closes(tmp_path: Path, town: Town) -> None:
    async def run() -> None:
        async with hub_of(a=use("forgetful")) as hub:
            listeners = open_stream(hub, tmp_path, town)
            await publish(hub, listeners)
            assert await listeners.finished(LONG)
            assert town.said == []

    asyncio.run(run())
    assert town.said == ["tidied up"]


def test_records_reach_the_plugins_that_read_them_until_the_end(town: Town) -> None:
    async def run() -> None:
        async with hub_of(reader=use("plugin", options={"records": True}), other=use("plugin")) as hub:
            for number in range(100):
                hub.records(Refused("default", str(number), 401, "127.0.0.1"))

    asyncio.run(run())
    assert [said for said in town.said if said.isdigit()] == [str(number) for number in range(100)]


def test_a_reader_of_records_that_fails_is_logged_once_and_ends_alone(town: Town) -> None:
    async def run() -> None:
        async with hub_of(reader=use("plugin", options={"records": True, "label": "r"})) as hub:
            hub.records(Refused("default", "break", 401, "127.0.0.1"))
            await until(lambda: any(line["event"] == "records_failed" for line in logs))
            hub.records(Refused("default", "more", 401, "127.0.0.1"))

    with capture_logs() as logs:
        asyncio.run(run())
    assert [(line["event"], line["sink"]) for line in logs] == [("records_failed", "reader")]
    assert town.said == ["open r", "close r"]


@pytest.mark.blocks
def test_records_that_wait_too_long_are_dropped_oldest_first(town: Town) -> None:
    async def run() -> None:
        async with hub_of(reader=use("plugin", options={"records": True})) as hub:
            hub.records(Refused("default", "wait", 401, "127.0.0.1"))
            await until(town.there.is_set)
            for number in range(announcements.LIMIT + 5):
                hub.records(Refused("default", str(number), 401, "127.0.0.1"))
            assert hub.figures()["reader"].records_dropped == 5
            town.go.set()

    asyncio.run(run())
    assert [said for said in town.said if said.isdigit()] == [str(number + 5) for number in range(announcements.LIMIT)]


def test_after_the_hub_has_closed_publishing_does_nothing(tmp_path: Path, town: Town) -> None:
    async def run() -> None:
        async with hub_of(a=use("stuck")) as hub:
            listeners = open_stream(hub, tmp_path, town)
        listeners.publish([frame(0)])
        hub.flush()
        assert listeners.results()["a"].status == "cancelled"

    asyncio.run(run())


@pytest.mark.blocks
def test_a_main_loop_that_does_not_wait_for_its_sinks_may_end_before_them(tmp_path: Path, town: Town) -> None:
    hub = hub_of(slow=use("gated"))

    async def first() -> Listeners:
        await hub.__aenter__()
        listeners = open_stream(hub, tmp_path, town)
        await publish(hub, listeners)
        assert not await listeners.finished(0.01)
        return listeners

    async def second(listeners: Listeners) -> None:
        town.go.set()
        assert await listeners.finished(LONG)
        await hub.__aexit__(None, None, None)

    asyncio.run(second(asyncio.run(first())))
    assert samples(town.seen["slow"]) == 8000


@pytest.mark.blocks
def test_the_wait_for_sinks_ends_also_when_their_loop_is_stuck(
    tmp_path: Path, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.sinks.listeners.SPARE_S", 0.05)

    async def run() -> None:
        async with hub_of(a=use("blocking", finish_timeout_s=0)) as hub:
            listeners = open_stream(hub, tmp_path, town)
            await until(town.there.is_set)
            listeners.publish([ended(0)])
            assert not await listeners.finished()
            town.go.set()

    asyncio.run(run())


@pytest.mark.blocks
def test_a_thread_that_blocks_for_good_does_not_keep_the_process(
    tmp_path: Path, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.sinks.hub.CLOSE_S", 0.1)

    async def run() -> None:
        async with hub_of(a=use("blocking")) as hub:
            open_stream(hub, tmp_path, town)
            await until(town.there.is_set)
        town.go.set()
        await until(lambda: not any(thread.name == "sinks" for thread in threading.enumerate()))

    with capture_logs() as logs:
        asyncio.run(run())
    assert "sinks_left_behind" in [line["event"] for line in logs]
