"""Fifteen minutes of a difficult two-track call, through the middle in seconds: exact to the sample, and aligned.

Both tracks carry the same clock as audio: every sample is the low 15 bits of its own position. So what is heard says
where it belongs, and nothing but silence may stand elsewhere.
"""

import base64
import json
import random
from collections.abc import Iterator

import numpy as np

from receiver.events import Cause, Ended, Event, Frame, Gap
from receiver.sessions.session import Session
from receiver.sessions.settings import SessionSettings

RATE = 8000
PACKET = 160
PACKETS = 15 * 60 * 50
OUTBOUND_FROM = 250  # packets: the second track is five seconds late
SILENCE = range(20_000, 21_500)  # packets of the inbound track that are never sent, and not counted either
LOST = frozenset({100, 101, 102, 5_000, 12_345, 30_000, *range(40_000, 40_020)})  # sent, counted, never arrive
REPEATED = frozenset({500, 501, 44_000})
SWAPPED = frozenset({700, 9_001, 33_333})  # each arrives after the packet behind it


def clock(packet: int) -> np.ndarray:
    positions = np.arange(packet * PACKET, (packet + 1) * PACKET)
    return (positions & 0x7FFF).astype("<i2")


def track_messages(track: str, seed: int) -> Iterator[tuple[float, str]]:
    """(time of arrival, message): stamps jitter by up to 15 ms, arrivals by up to 50."""
    chance = random.Random(seed)
    chunk = 0
    arrival = 0.0
    waiting: list[str] = []
    for packet in range(OUTBOUND_FROM if track == "outbound" else 0, PACKETS):
        if track == "inbound" and packet in SILENCE:
            continue
        chunk += 1
        if packet in LOST:
            continue
        # After a silence the first stamp is the only witness, so that one is true.
        jitter = 0 if packet in (0, OUTBOUND_FROM, SILENCE.stop) else chance.randint(-15, 15)
        body = {
            "track": track,
            "chunk": str(chunk),
            "timestamp": str(max(0, packet * 20 + jitter)),
            "payload": base64.b64encode(clock(packet).tobytes()).decode(),
        }
        message = json.dumps({"event": "media", "sequenceNumber": str(chunk), "media": body})
        arrival = max(arrival, packet * 0.02 + chance.uniform(0, 0.05))
        if 25_000 <= packet < 25_400:  # the network stalls for eight seconds, and then all of it comes at once
            arrival = max(arrival, 25_400 * 0.02)
        if packet in SWAPPED:
            waiting.append(message)
            continue
        yield arrival, message
        if packet in REPEATED:
            yield arrival, message
        for overtaken in waiting:
            yield arrival, overtaken
        waiting = []


def run() -> tuple[list[Event], Session]:
    start = {
        "streamSid": "s",
        "accountSid": "a",
        "callSid": "c",
        "tracks": ["inbound", "outbound"],
        "mediaFormat": {"encoding": "audio/x-L16", "sampleRate": RATE, "channels": 1},
    }
    session = Session(at=0.0, settings=SessionSettings())
    events = session.receive([json.dumps({"event": "connected"}), json.dumps({"event": "start", "start": start})], 0.0)
    arriving = sorted(
        [*track_messages("inbound", 1), *track_messages("outbound", 2)], key=lambda item: round(item[0] / 0.06)
    )
    batch: list[str] = []
    sweep = 0
    for arrival, message in arriving:
        if round(arrival / 0.06) != sweep:
            events += session.receive(batch, sweep * 0.06)
            events += session.tick(sweep * 0.06)
            batch, sweep = [], round(arrival / 0.06)
        batch.append(message)
    events += session.receive(batch, sweep * 0.06)
    events += session.receive([json.dumps({"event": "stop"})], sweep * 0.06)
    assert session.error is None
    return events, session


def test_it_comes_out_exact_to_the_sample_and_aligned() -> None:
    events, _ = run()
    cursor = {"inbound": 0, "outbound": 0}
    gaps: dict[str, list[tuple[int, int, Cause]]] = {"inbound": [], "outbound": []}
    for event in events:
        if isinstance(event, Frame):
            expected = np.arange(event.start, event.end) & 0x7FFF
            assert np.array_equal(event.samples, expected)
        if isinstance(event, Frame | Gap):
            assert event.start == cursor[event.track]
            cursor[event.track] = event.end
        if isinstance(event, Gap):
            gaps[event.track].append((event.start, event.end, event.cause))
    assert cursor == {"inbound": PACKETS * PACKET, "outbound": PACKETS * PACKET}

    lost = [100, 5_000, 12_345, 30_000, 40_000]
    until = [103, 5_001, 12_346, 30_001, 40_020]
    losses = [(a * PACKET, b * PACKET, Cause.LOST) for a, b in zip(lost, until, strict=True)]
    silence = (SILENCE.start * PACKET, SILENCE.stop * PACKET, Cause.UNSENT)
    assert gaps["inbound"] == sorted([*losses, silence])
    late = (0, OUTBOUND_FROM * PACKET, Cause.UNSENT)
    assert gaps["outbound"] == [late, *losses[1:]]  # the first loss was before this track began

    (ended,) = (event for event in events if isinstance(event, Ended))
    for name, count in ended.tracks.items():
        assert count.received == count.placed + count.duplicate + count.late + count.rejected
        assert (count.duplicate, count.reordered, count.late, count.rejected) == (len(REPEATED), len(SWAPPED), 0, 0)
        assert count.length == count.samples + sum(count.gaps.values()) == cursor[name]
    assert ended.ignored == {}
