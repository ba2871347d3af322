"""Everything that arrives is accounted for, to the message and to the sample, whatever comes and whoever is slow.

A machine talks to a real session, stream, recording and hub with all that a peer and an operator can do, and keeps
books of its own. ``make torture`` has thousands of these conversations (``ACCOUNTING_EXAMPLES``), a test a hundred.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import tempfile
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from prometheus_client.parser import text_string_to_metric_families

from receiver import files
from receiver.asgi.stream_id import new_stream_id
from receiver.asgi.watch import Watch
from receiver.captures.capture import VERSION, End, Header, Pause
from receiver.captures.writer import CaptureWriter
from receiver.config import Captures, SinkConfig
from receiver.dialects.dialect import Data
from receiver.events import Cause, Ended, EndReason, Event, Frame, Gap, Started, TrackCounters
from receiver.metrics import Metrics
from receiver.open_stream import OpenStream
from receiver.opener import Opener
from receiver.recordings import recover
from receiver.sessions.session import Session
from receiver.sessions.settings import SessionSettings
from receiver.sinks.hub import Hub
from receiver.stream import Stream, StreamFacts

EXAMPLES = int(os.environ.get("ACCOUNTING_EXAMPLES", "100"))
STEPS = 30
RATE = 8000
SETTINGS = SessionSettings(tracks=3, payload_bytes=8000, idle_timeout_s=60.0)
TRACKS = ("inbound", "outbound", "mixed", "fourth")  # one more than may be
SINKS = {
    "steady": {"buffer_s": 120},
    "newest": {"buffer_s": 0.1},
    "oldest": {"buffer_s": 0.1, "overflow": "drop_oldest"},
    "spill": {"buffer_s": 0.1, "overflow": "spill"},
    "again": {"buffer_s": 0.1, "on_error": "restart"},
    "last": {"buffer_s": 0.1, "on_error": "restart", "overflow": "drop_oldest"},
    "hurried": {"buffer_s": 0.1, "finish_timeout_s": 0.01},
}
FATES = ("received", "placed", "duplicate", "late", "rejected")
CONNECTED = json.dumps({"event": "connected", "protocol": "Call", "version": "0.2.0"})
STOP = json.dumps({"event": "stop"})
START = json.dumps(
    {
        "event": "start",
        "start": {
            "streamSid": "stream",
            "callSid": "call",
            "tracks": ["inbound", "outbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": RATE, "channels": 1},
        },
    }
)
# Not media: what becomes of it is no track's affair.
OTHER = {
    "digit": json.dumps({"event": "dtmf", "dtmf": {"digit": "5"}}),
    "mark": json.dumps({"event": "mark", "mark": {"name": "here"}}),
    "connected": CONNECTED,
    "start": START,
    "unknown": json.dumps({"event": "weather"}),
    "binary": b"\x00\x01",
    "not json": "not json",
    "other stream": json.dumps({"event": "media", "streamSid": "another", "media": {"track": "inbound"}}),
    "no track": json.dumps({"event": "media", "media": {"track": "x" * 40, "payload": "/w=="}}),
    "large": "x" * 70_000,
}


def code(digit: int) -> int:
    """One of sixteen u-law codes that decode to samples far apart."""
    return 0x80 + 8 * digit


def decoded(payload: bytes) -> npt.NDArray[np.int16]:
    """G.711 as its recommendation has it."""
    codes = ~np.frombuffer(payload, np.uint8).astype(np.int32) & 0xFF
    return ((((codes & 15) << 3) + 0x84 << (codes >> 4 & 7)) - 0x84).astype(np.int16)


HEAD = 7
MARK = int(decoded(bytes([code(15)]))[0])
DIGITS = {int(decoded(bytes([code(digit)]))[0]): digit for digit in range(16)}


def payload_of(number: int, size: int) -> bytes:
    """A packet that says which one it is: a mark that is nowhere else, six digits of base 15, the last on and on."""
    digits = [number // 15**place % 15 for place in range(5, -1, -1)]
    return bytes([code(15), *map(code, digits)]).ljust(size, bytes([code(digits[-1])]))


def packets_in(samples: npt.NDArray[np.int16]) -> list[tuple[int, int]]:
    """The numbers and the sizes of the packets that some audio was made of."""
    starts = np.flatnonzero(samples == MARK).tolist()
    ends = [*starts[1:], len(samples)]
    assert not len(samples) or starts[:1] == [0]
    found = []
    for start, end in zip(starts, ends, strict=True):
        number = 0
        for sample in samples[start + 1 : start + HEAD].tolist():
            number = number * 15 + DIGITS[sample]
        assert np.array_equal(samples[start:end], decoded(payload_of(number, end - start)))
        found.append((number, end - start))
    return found


class Tiling:
    """One track as somebody heard it, checked as it comes."""

    def __init__(self) -> None:
        self.end = 0
        self.spans: list[Frame | Gap] = []

    def add(self, event: Frame | Gap) -> None:
        assert event.start == self.end and event.end > event.start
        self.end = event.end
        self.spans.append(event)

    def gaps(self) -> Counter[str]:
        lengths: Counter[str] = Counter()
        for span in self.spans:
            if isinstance(span, Gap):
                lengths[span.cause] += span.end - span.start
        return lengths

    def samples(self) -> int:
        return sum(len(span.samples) for span in self.spans if isinstance(span, Frame))

    def drawn(self, length: int) -> npt.NDArray[np.int32]:
        """Every position: its sample, or what stands for the cause of a gap."""
        line = np.full(length, -100_000, np.int32)
        for span in self.spans:
            drawn = span.samples if isinstance(span, Frame) else -50_000 - list(Cause).index(span.cause)
            line[span.start : span.end] = drawn
        return line


UNHEARD = -50_000 - list(Cause).index(Cause.DROPPED)


class Script:
    """What one sink does on one stream, and what it was given. The machine tells it from another thread."""

    def __init__(self, *, free: bool) -> None:
        self.free = free  # takes everything at once
        self.turns = 0  # events that it may take, if not
        self.trips = 0  # how often it raises, at its next turns
        self.leaves = False
        self.deaf = False  # will not be cancelled
        self.runs: list[list[Event]] = []
        self._waiting: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def tell(self) -> None:
        if self._waiting is not None:
            loop, news = self._waiting
            loop.call_soon_threadsafe(news.set)

    async def sink(self, events: AsyncIterator[Event]) -> None:
        self.runs.append([])
        async for event in events:
            self.runs[-1].append(event)
            await self._turn()
            if self.trips:
                self.trips -= 1
                raise ValueError("tripped")
            if self.leaves:
                return

    async def _turn(self) -> None:
        while True:
            self._waiting = asyncio.get_running_loop(), (news := asyncio.Event())
            if self.free or self.trips or self.leaves:
                return
            if self.turns:
                self.turns -= 1
                return
            try:
                await news.wait()
            except asyncio.CancelledError:
                if not self.deaf:
                    raise

    @property
    def heard_its_end(self) -> bool:
        return bool(self.runs) and bool(self.runs[-1]) and isinstance(self.runs[-1][-1], Ended)


SCRIPTS: dict[str, dict[str, Script]] = {}


async def scripted(stream: Stream, events: AsyncIterator[Event]) -> None:
    await SCRIPTS[stream.id][stream.sink].sink(events)


class World:
    """What streams share: the hub with its sinks, the metrics, a folder, a loop to wait on."""

    def __init__(self) -> None:
        memory = Path("/dev/shm")
        self.root = Path(tempfile.mkdtemp(prefix="accounting-", dir=memory if memory.is_dir() else None))
        self.loop = asyncio.new_event_loop()
        self.late: list[asyncio.Task[None]] = []
        sinks = {
            name: SinkConfig.model_validate({"use": f"{__name__}:scripted", **more}) for name, more in SINKS.items()
        }
        self.metrics = Metrics(sources=["default"], sinks=sinks)
        self.hub = Hub(sinks, base=self.root, feeds_bytes=1 << 30)
        self.watch = Watch(self.root, 0, self.hub, self.metrics)
        self.opener = Opener(
            hub=self.hub,
            metrics=self.metrics,
            root=self.root / "live",
            template="{stream_id}",
            captures=Captures(),
            mask_digits=True,
            keep=lambda stream, late: self.late.append(self.loop.create_task(late)),
        )
        self.fates: Counter[str] = Counter()
        self.gaps: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.audio = 0
        self.run(self.hub.__aenter__())
        self.run(self._watch())

    async def _watch(self) -> None:
        self.watch.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def close(self) -> None:
        self.watch.stop()
        self.run(self.hub.__aexit__(None, None, None))
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.root)

    def scraped(self) -> dict[str, float]:
        """Every series by its line without the value."""
        body, _ = self.metrics.render()
        return {
            sample.name + "".join(f" {value}" for _, value in sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
        }

    async def check(self) -> None:
        """What the metrics say after all streams is what the streams have said."""
        dropped = {f"receiver_sink_dropped_seconds_total {sink}": self.dropped[sink] / RATE for sink in SINKS}
        async with asyncio.timeout(20):
            while any(abs(self.scraped()[name] - seconds) > 1e-6 for name, seconds in dropped.items()):
                await asyncio.sleep(0.01)
        seen = self.scraped()
        assert {fate: seen[f"receiver_{fate}_frames_total"] for fate in FATES} == {f: self.fates[f] for f in FATES}
        gaps = {cause: seen[f"receiver_gap_seconds_total {cause} default"] for cause in Cause}
        assert gaps == pytest.approx({cause: self.gaps[cause] / RATE for cause in Cause})
        audio = sum(value for name, value in seen.items() if name.startswith("receiver_audio_seconds_total"))
        assert audio == pytest.approx(self.audio / RATE)


WORLD: World


class Accounting(RuleBasedStateMachine):
    """One stream, from its greeting to its ``stream.json``."""

    def __init__(self) -> None:
        super().__init__()
        self.at = 0.001
        self.session = Session(at=0.0, settings=SETTINGS)
        self.session.kept = []
        self.capture = CaptureWriter()
        self.stream: OpenStream
        self.id = new_stream_id()
        self.scripts = SCRIPTS[self.id] = {name: Script(free=name in ("steady", "again")) for name in SINKS}
        self.numbers = 0
        self.chunks = dict.fromkeys(TRACKS, 1)  # the next
        self.stamps = dict.fromkeys(TRACKS, 0)
        self.skipped: dict[str, deque[int]] = {track: deque(maxlen=20) for track in TRACKS}
        self.sent: dict[str, deque[tuple[str, int]]] = {track: deque(maxlen=20) for track in TRACKS}
        # the books
        self.tilings: dict[str, Tiling] = {}
        self.received: Counter[str] = Counter()  # packets of each track that it was given
        self.given: Counter[int] = Counter()  # the same by their numbers
        self.of_track: dict[int, str] = {}
        self.sizes: dict[int, int] = {}
        self.unplaceable: set[int] = set()
        self.withheld = 0
        self.opened = ["inbound", "outbound"]
        self.refused = 0
        self.early = 0
        self.messages = 0
        self.ended: Ended | None = None

    # ---- what a peer says ----

    @initialize(early=st.integers(0, 3))
    def begin(self, early: int) -> None:
        self._say([(CONNECTED, None)])
        for _ in range(early):
            self._say([(self._media("inbound", 160, 1, 0), None)])
            self.early += 1
        (started,) = self.session.receive([START], self._now(0.01))
        assert isinstance(started, Started)
        self.messages += 1
        kept = self.session.kept
        assert kept is not None
        self.capture.take(self.at, kept.copy())
        kept.clear()
        facts = StreamFacts(
            id=self.id,
            source="default",
            dialect=started.dialect,
            stream_id=started.stream_id,
            call_id=started.call_id,
            account_id=started.account_id,
            tracks=started.tracks,
            format=started.format,
            parameters=started.parameters,
            path_parameters={},
            peer_address="127.0.0.1",
            token=None,
            started=datetime.now(UTC),
        )
        header = Header(version=VERSION, source="default", settings=msgspec.to_builtins(SETTINGS))
        self.stream = WORLD.run(WORLD.opener.open(facts, SETTINGS, header, self.capture))
        assert self.stream.capture is self.capture

    @rule(track=st.sampled_from(TRACKS), count=st.integers(1, 12), size=st.sampled_from([80, 160, 240]))
    def in_order(self, track: str, count: int, size: int) -> None:
        self._say([self._next(track, size) for _ in range(count)], count * size / RATE)

    @rule(track=st.sampled_from(TRACKS[:2]), order=st.permutations(range(6)))
    def out_of_order(self, track: str, order: Sequence[int]) -> None:
        said = [self._next(track) for _ in order]
        self._say([said[place] for place in order], 0.12)

    @rule(track=st.sampled_from(TRACKS[:3]), count=st.integers(1, 70))
    def lose(self, track: str, count: int) -> None:
        for _ in range(count):
            self._skip(track)

    @rule(track=st.sampled_from(TRACKS[:3]), again=st.booleans())
    def come_late(self, track: str, again: bool) -> None:
        if self.skipped[track]:
            chunk = self.skipped[track][-1] if again else self.skipped[track].popleft()
            self._say([self._numbered(track, 160, chunk, (chunk - 1) * 20)])

    @rule(track=st.sampled_from(TRACKS[:3]), back=st.integers(0, 19), count=st.integers(1, 3))
    def repeat(self, track: str, back: int, count: int) -> None:
        if back < len(self.sent[track]):
            self._say([self.sent[track][back]] * count)

    @rule(
        track=st.sampled_from(TRACKS[:3]),
        body=st.sampled_from([{"payload": "not base64!"}, {"payload": ""}, {"payload": None}, {}]),
    )
    def say_nothing(self, track: str, body: Mapping[str, Any]) -> None:
        chunk, stamp = self._skip(track)
        self.skipped[track].pop()
        number = self._count(track, 0)
        self.unplaceable.add(number)
        media = {"track": track, "chunk": str(chunk), "timestamp": str(stamp), **body}
        self._say([(json.dumps({"event": "media", "media": media}), number)])

    @rule(track=st.sampled_from(TRACKS[:3]))
    def say_too_much(self, track: str) -> None:
        chunk, stamp = self._skip(track)
        said = self._numbered(track, 8001, chunk, stamp)
        assert said[1] is not None
        self.unplaceable.add(said[1])
        self._say([said])

    @rule(
        track=st.sampled_from(TRACKS[:3]),
        chunk=st.sampled_from([None, 0, 1, 2, 100_000, -5, "odd"]),
        stamp=st.sampled_from([None, 0, 1000, 25_000, 10**9, "odd"]),
        count=st.integers(1, 40),
    )
    def lie(self, track: str, chunk: int | str | None, stamp: int | str | None, count: int) -> None:
        """A counter, or a clock, that says something else than before, for a while."""
        said = []
        for number in range(count):
            one = chunk + number if isinstance(chunk, int) else chunk
            at = stamp + 20 * number if isinstance(stamp, int) else stamp
            said.append(self._numbered(track, 160, one, at))
        self._say(said, 0.02)

    @rule(track=st.sampled_from(TRACKS[:3]), leap_ms=st.sampled_from([-5000, -100, 30, 60, 400, 20_000, 40_000]))
    def leap(self, track: str, leap_ms: int) -> None:
        """The peer's clock jumps, and its counter goes on."""
        self.stamps[track] = max(0, self.stamps[track] + leap_ms)
        self._say([self._next(track)], 0.02)

    @rule(track=st.sampled_from(TRACKS[:3]))
    def count_anew(self, track: str) -> None:
        self.chunks[track] = 1
        self.skipped[track].clear()
        self._say([self._next(track) for _ in range(3)], 0.06)

    @rule(kinds=st.lists(st.sampled_from(sorted(OTHER)), min_size=1, max_size=3), media=st.booleans())
    def say_something_else(self, kinds: list[str], media: bool) -> None:
        said: list[tuple[Data, int | None]] = [(OTHER[kind], None) for kind in kinds]
        self._say([*said, self._next("inbound")] if media else said, 0.02)

    @rule(seconds=st.sampled_from([0.01, 0.3, 1.1, 5.5, 29.0]))
    def wait(self, seconds: float) -> None:
        self._take(self.session.tick(self._now(seconds)))

    # ---- what an operator does ----

    @rule(tracks=st.sampled_from([None, (), ("inbound",), ("outbound",), ("inbound", "outbound"), ("mixed",)]))
    @precondition(lambda self: self.ended is None)
    def withhold(self, tracks: tuple[str, ...] | None) -> None:
        events = self.session.withhold(tracks, self._now(0.01))
        if self.session.reason is None:
            self.capture.pause(Pause(self.at, tracks))
        self._take(events)

    # ---- what sinks do ----

    @rule(sink=st.sampled_from(sorted(SINKS)), turns=st.integers(1, 30))
    def take(self, sink: str, turns: int) -> None:
        self.scripts[sink].turns += turns
        self.scripts[sink].tell()

    @rule(sink=st.sampled_from(sorted(SINKS)), free=st.booleans())
    def be_free(self, sink: str, free: bool) -> None:
        self.scripts[sink].free = free or sink == "steady"
        self.scripts[sink].tell()

    @rule(sink=st.sampled_from(["newest", "spill", "again", "again", "last"]), trips=st.sampled_from([1, 1, 1, 3, 30]))
    def trip(self, sink: str, trips: int) -> None:
        self.scripts[sink].trips = trips
        self.scripts[sink].tell()

    @rule(sink=st.sampled_from(["oldest", "spill"]))
    def leave(self, sink: str) -> None:
        self.scripts[sink].leaves = True
        self.scripts[sink].tell()

    @rule()
    def will_not_end(self) -> None:
        self.scripts["hurried"].deaf = True

    # ---- the ends ----

    @rule(how=st.sampled_from(["stop", "other start", "nonsense", "flood", "die", *EndReason]))
    @precondition(lambda self: self.ended is None and self.numbers > 20)
    def end(self, how: str) -> None:
        if how == "stop":
            self._say([self._next("outbound"), (STOP, None), self._next("outbound")])
        elif how == "other start":
            self._say([self._next("inbound"), (START.replace('"stream"', '"another"'), None), self._next("inbound")])
        elif how == "nonsense":
            self._say([(OTHER["not json"], None), self._next("inbound")] * 60)
        elif how == "flood":
            self._say([self._next("inbound", 4000) for _ in range(100)])
        elif how == "die":
            self._die()
        else:
            self._close(EndReason(how))

    # ---- what always holds ----

    @invariant()
    def every_message_is_accounted_for(self) -> None:
        counters = self.session.counters
        assert self.session.kinds.total() == self.messages, "every message is of one kind"
        assert self.session.kinds["media"] == self.received.total() + self.withheld + self.refused + self.early
        for track, counted in counters.items():
            assert counted.received == counted.placed + counted.duplicate + counted.late + counted.rejected
            assert counted.samples + sum(counted.gaps.values()) == counted.length
            if self.ended is not None:
                assert counted.received == self.received[track]
            else:
                assert counted.received <= self.received[track] <= counted.received + 33

    @invariant()
    def every_sample_is_accounted_for(self) -> None:
        for track, counted in self.session.counters.items():
            tiling = self.tilings.get(track, Tiling())
            assert (tiling.end, tiling.samples()) == (counted.length, counted.samples)
            assert tiling.gaps() == Counter(counted.gaps)

    def teardown(self) -> None:
        if not hasattr(self, "stream"):
            return
        if self.ended is None:
            self._close(EndReason.CLOSE)
        ended = self.ended
        assert ended is not None
        self.every_message_is_accounted_for()
        self.every_sample_is_accounted_for()
        self._check_packets(ended)
        try:
            self._finish(ended)
        finally:
            del SCRIPTS[self.id]
            shutil.rmtree(self.stream.directory)

    # ---- how ----

    def _now(self, seconds: float) -> float:
        self.at = round(self.at + seconds, 6)
        return self.at

    def _count(self, track: str, size: int) -> int:
        self.numbers += 1
        self.of_track[self.numbers] = track
        self.sizes[self.numbers] = size
        return self.numbers

    def _media(self, track: str, size: int, chunk: Any, stamp: Any, number: int = 0) -> str:
        payload = base64.b64encode(payload_of(number, size)).decode()
        media = {"track": track, "chunk": chunk, "timestamp": stamp, "payload": payload}
        said = {
            key: str(value) if isinstance(value, int) else value for key, value in media.items() if value is not None
        }
        return json.dumps({"event": "media", "media": said})

    def _numbered(self, track: str, size: int, chunk: Any, stamp: Any) -> tuple[Data, int | None]:
        number = self._count(track, size)
        return self._media(track, size, chunk, stamp, number), number

    def _skip(self, track: str) -> tuple[int, int]:
        chunk, stamp = self.chunks[track], self.stamps[track]
        self.skipped[track].append(chunk)
        self.chunks[track] += 1
        self.stamps[track] += 20
        return chunk, stamp

    def _next(self, track: str, size: int = 160) -> tuple[Data, int | None]:
        chunk, stamp = self.chunks[track], self.stamps[track]
        self.chunks[track] += 1
        self.stamps[track] += size * 1000 // RATE
        said = self._numbered(track, size, chunk, stamp)
        self.sent[track].append((str(said[0]), said[1] or 0))
        return said

    def _say(self, said: Sequence[tuple[Data, int | None]], seconds: float = 0.001) -> None:
        """Receive messages together; of those that are media of a track, with their numbers."""
        at = self._now(max(seconds, 0.000001))
        kept = self.session.kept
        assert kept is not None
        events = self.session.receive([data for data, _ in said], at)
        self._book(said, kept)
        self.capture.take(at, kept.copy())
        kept.clear()
        self._take(events)

    def _book(self, said: Sequence[tuple[Data, int | None]], kept: Sequence[Data | int]) -> None:
        """Put down what must become of each: one that is kept was read, in order, until the end of the stream."""
        self.messages += len(said)
        assert len(kept) == len(said) or self.session.reason is not None
        for (_, number), one in zip(said, kept, strict=False):
            if number is None:
                continue
            track = self.of_track[number]
            if isinstance(one, int):
                self.withheld += 1
            elif track in self.opened or len(self.opened) < SETTINGS.tracks:
                self.opened += [track] * (track not in self.opened)
                self.received[track] += 1
                self.given[number] += 1
            else:
                self.refused += 1

    def _take(self, events: Sequence[Event]) -> None:
        """As a connection does."""
        if self.session.reason is not None and self.ended is None and self.session.ended is not None:
            self.capture.end(End(self.at, self.session.reason))
            self.ended = self.session.ended
        for event in events:
            if isinstance(event, Frame | Gap):
                self.tilings.setdefault(event.track, Tiling()).add(event)
        if events and hasattr(self, "stream"):
            self.stream.publish(events)
            WORLD.hub.flush()

    def _close(self, reason: EndReason) -> None:
        self._take(self.session.close(reason, self._now(0.01)))

    def _check_packets(self, ended: Ended) -> None:
        """Every packet is in the audio once, or counted as something else; what is repeated may be a new beginning."""
        seen: Counter[int] = Counter()
        for track, tiling in self.tilings.items():
            packets = [
                packet for span in tiling.spans if isinstance(span, Frame) for packet in packets_in(span.samples)
            ]
            numbers = Counter(number for number, _ in packets)
            assert numbers.total() == ended.tracks[track].placed
            assert {self.of_track[number] for number in numbers} <= {track}
            assert all(self.sizes[number] == size for number, size in packets)
            if not ended.tracks[track].discontinuities:
                assert numbers.total() == len(numbers)
            seen += numbers
        assert seen <= self.given
        assert not seen.keys() & self.unplaceable

    def _die(self) -> None:
        """What the next start would make of it if the process died now; then it goes on, and ends."""
        self.stream.progress(self.session.counters)
        while files.queued_bytes():
            files.flush()
            time.sleep(0.001)
        counters = self.session.counters
        copy = WORLD.root / "dead"
        shutil.copytree(self.stream.directory, copy / "stream")
        try:
            assert recover(copy, {}) == [copy / "stream"]
            told = json.loads((copy / "stream" / "stream.json").read_text())
        finally:
            shutil.rmtree(copy)
        assert told["end"]["reason"] == "crash"
        for track, entry in told["tracks"].items():
            said = msgspec.convert(entry["counters"], TrackCounters)
            assert said == counters[track]
            assert said.received == said.placed + said.duplicate + said.late + said.rejected
            gaps = Counter[str]()
            for gap in entry["gaps"]:
                gaps[gap["cause"]] += gap["end"] - gap["start"]
            assert gaps == Counter(said.gaps)

    def _finish(self, ended: Ended) -> None:
        hurried = self.scripts["hurried"]
        for script in self.scripts.values():
            if script is not hurried:
                script.free = True
                script.tell()
        WORLD.run(self.stream.finish(ended, datetime.now(UTC) + timedelta(seconds=1)))
        while WORLD.late:
            WORLD.run(WORLD.late.pop())
        hurried.free = True
        hurried.tell()
        told = json.loads((self.stream.directory / "stream.json").read_text())
        assert set(told["tracks"]) == {*ended.tracks}
        for track, counters in ended.tracks.items():
            entry = told["tracks"][track]
            assert msgspec.convert(entry["counters"], TrackCounters) == counters
            gaps = Counter[str]()
            for gap in entry["gaps"]:
                gaps[gap["cause"]] += gap["end"] - gap["start"]
            assert gaps == Counter(counters.gaps)
            for fate in FATES:
                WORLD.fates[fate] += getattr(counters, fate)
            WORLD.gaps.update(counters.gaps)
            WORLD.audio += counters.samples
        assert told["ignored"] == ended.ignored
        for name, script in self.scripts.items():
            self._check_sink(name, script, ended, told["sinks"][name])

    def _check_sink(self, name: str, script: Script, ended: Ended, told: Mapping[str, Any]) -> None:
        """What it was given, over all its runs, and what it is said to have missed, are the whole of the stream."""
        heard = {track: np.full(counters.length, UNHEARD, np.int32) for track, counters in ended.tracks.items()}
        for run in script.runs:
            tilings: dict[str, Tiling] = {}
            for event in run:
                if isinstance(event, Frame | Gap):
                    tilings.setdefault(event.track, Tiling()).add(event)
            for track, tiling in tilings.items():
                drawn = tiling.drawn(len(heard[track]))
                given = drawn > -100_000
                given &= drawn != UNHEARD
                heard[track][given] = drawn[given]
        for track, line in heard.items():
            published = self.tilings[track].drawn(len(line)) if track in self.tilings else line
            known = line != UNHEARD
            assert np.array_equal(line[known], published[known])
            missed = int((~known).sum())
            dropped = round(told["dropped_s"].get(track, 0.0) * RATE)
            assert abs(told["dropped_s"].get(track, 0.0) * RATE - dropped) < 0.01
            WORLD.dropped[name] += dropped
            if script.leaves and told["status"] == "ok" and not script.heard_its_end:
                assert dropped <= missed
            else:
                assert dropped == missed, (name, track, told, dropped, missed)
        if name == "steady":
            assert (told["status"], told["dropped_s"]) == ("ok", {})
        if name == "spill" and told["status"] == "ok":
            assert told["dropped_s"] == {}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Without the times that are made for people, not for thousands of streams."""
    global WORLD
    monkeypatch.setattr("receiver.open_stream.PROMPT_S", 0.001)
    monkeypatch.setattr("receiver.sinks.restarts.FIRST_S", 0.001)
    monkeypatch.setattr("receiver.sinks.restarts.LONGEST_S", 0.002)
    monkeypatch.setattr("receiver.sinks.listener.CANCEL_S", 0.01)
    monkeypatch.setattr("receiver.sinks.spilling_feed.FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr("receiver.files.ROUND_S", 0.001)
    monkeypatch.setattr("receiver.asgi.watch.WATCH_S", 0.05)
    WORLD = World()
    yield WORLD
    WORLD.close()


@pytest.mark.timeout(60 if EXAMPLES <= 100 else 0)
def test_whatever_comes_everything_is_accounted_for(world: World) -> None:
    run_state_machine_as_test(
        Accounting,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
    world.run(world.check())
    assert world.fates["received"] > EXAMPLES
