"""Injects faults into a stream's messages. Pure: the same messages, faults and seed give the same result."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from receiver.simulate.faults import ENDINGS, Fault, Kind
from receiver.simulate.fields import Fields, number, read_fields, read_message, renumbered, write_message
from receiver.simulate.script import Ending, Said, Way

LOOK_AHEAD = 256
"""Messages that a packet waits at most for the next one of its track, to change places with it."""

Hits = Callable[[float], bool]
"""Whether a fault hits the packet of that time; asked for each, in order."""


def inject(
    said: Iterator[Said], faults: Sequence[Fault], *, seed: int, packets: int, duration_s: float
) -> Iterator[Said]:
    """The messages with all of the faults. ``packets`` and ``duration_s`` are those of the whole stream.

    Faults of packets go by the packets' timestamps, counted from the first; those of the whole stream by when its
    messages are due. What changes messages is done first, in the order given, then what ends the stream, then bursts,
    then stalls, the latest first.
    """
    timed: list[tuple[float, Fault]] = []
    for i, fault in enumerate(faults):
        chance = _random(seed, i)
        if fault.of_packets:
            said = _PACKETS[fault.kind](said, _hits(fault, chance, packets))
        elif fault.kind is Kind.NO_STOP:
            said = _without_stop(said)
        elif fault.kind is Kind.RESTART_CLOCK:
            said = _restart_clock(said, _place(fault, duration_s, chance))
        elif fault.kind not in ENDINGS:
            timed.append((_place(fault, duration_s, chance), fault))
    for fault in faults:
        if fault.kind in ENDINGS:
            said = _end(said, Way.RESET if fault.kind is Kind.CUT else Way(fault.kind.value), fault.at_s)
    for at_s, fault in sorted(timed, key=lambda one: (one[1].kind is Kind.BURST, one[0]), reverse=True):
        said = (_burst if fault.kind is Kind.BURST else _stall)(said, at_s, fault.length_s or 0.0)
    return said


def _random(seed: int, i: int) -> random.Random:
    return random.Random(f"{seed}.{i}")  # noqa: S311 - repeatable is what is wanted


def _place(fault: Fault, duration_s: float, chance: random.Random) -> float:
    """When a fault begins; somewhere in the middle, where it does not say."""
    return chance.uniform(0.1, 0.9) * duration_s if fault.at_s is None else fault.at_s


def _hits(fault: Fault, chance: random.Random, packets: int) -> Hits:
    if fault.share is not None:
        share = fault.share
        return lambda _: chance.random() < share
    one_at = -1 if fault.at_s is not None else int(chance.uniform(0.1, 0.9) * packets)
    seen = hit = 0

    def once(packet_s: float) -> bool:
        nonlocal seen, hit
        seen += 1
        found = seen > one_at and not hit and (fault.at_s is None or packet_s >= fault.at_s)
        hit += found
        return found

    if fault.at_s is None or fault.length_s is None:
        return once
    begin, end = fault.at_s, fault.at_s + fault.length_s
    return lambda packet_s: begin <= packet_s < end


def _aimed(said: Iterator[Said], hits: Hits) -> Iterator[tuple[Said, Fields, bool]]:
    """Every message, what it is, and whether it is hit: a packet without a timestamp, by when it is due."""
    zero_ms: int | None = None
    for one in said:
        fields = Fields() if isinstance(one[1], Ending) else read_fields(one[1])
        packet_s = one[0]
        if fields.is_media and fields.stamp_ms is not None:
            zero_ms = fields.stamp_ms if zero_ms is None else zero_ms
            packet_s = (fields.stamp_ms - zero_ms) / 1000
        yield one, fields, fields.is_media and hits(packet_s)


def _gap(said: Iterator[Said], hits: Hits) -> Iterator[Said]:
    return (one for one, _, hit in _aimed(said, hits) if not hit)


def _duplicate(said: Iterator[Said], hits: Hits) -> Iterator[Said]:
    return (one for one, _, hit in _aimed(said, hits) for _ in range(1 + hit))


def _silence(said: Iterator[Said], hits: Hits) -> Iterator[Said]:
    """Leave packets out, and count as if they had never been."""
    left_out: Counter[str] = Counter()
    for (due_s, data), fields, hit in _aimed(said, hits):
        if hit:
            left_out[fields.track] += 1
            continue
        if left_out and isinstance(data, str):
            data = _recounted(data, left_out[fields.track], left_out.total())
        yield due_s, data


def _recounted(data: str, of_track: int, of_all: int) -> str:
    message = read_message(data)
    body = message.get("media")
    for holder, name, less in ((message, "sequenceNumber", of_all), (body, "chunk", of_track)):
        if isinstance(holder, dict) and (value := number(holder.get(name))) is not None:
            renumbered(holder, name, max(0, value - less))
    return write_message(message) if message else data


def _reorder(said: Iterator[Said], hits: Hits) -> Iterator[Said]:
    waiting: list[Said] = []
    places: dict[str, int] = {}  # of the packets, among those waiting, that are to change places, by track
    for (due_s, data), fields, hit in _aimed(said, hits):
        place = places.pop(fields.track, None) if fields.is_media else None
        if place is not None:
            earlier_s, other = waiting[place]
            waiting[place] = earlier_s, data
            data = other
        elif hit:
            places[fields.track] = len(waiting)
        waiting.append((due_s, data))
        if not places or len(waiting) > LOOK_AHEAD:
            yield from waiting
            waiting.clear()
            places.clear()
    yield from waiting


def _bad_json(said: Iterator[Said], hits: Hits) -> Iterator[Said]:
    for (due_s, data), _, hit in _aimed(said, hits):
        yield due_s, data[: len(data) // 2] if hit and isinstance(data, str) else data


def _bad_base64(said: Iterator[Said], hits: Hits) -> Iterator[Said]:
    for (due_s, data), _, hit in _aimed(said, hits):
        yield due_s, _unreadable(data) if hit and isinstance(data, str) else data


def _unreadable(data: str) -> str:
    message = read_message(data)
    body = message.get("media")
    if not isinstance(body, dict) or not isinstance(body.get("payload"), str):
        return data
    payload = body["payload"]
    body["payload"] = f"{payload[: len(payload) // 2]}*{payload[len(payload) // 2 :]}"
    return write_message(message)


def _restart_clock(said: Iterator[Said], at_s: float) -> Iterator[Said]:
    """From there on the first timestamp is 0, and the others are counted from it."""
    zero_ms: int | None = None
    for (due_s, data), fields, hit in _aimed(said, lambda packet_s: packet_s >= at_s):
        if hit and fields.stamp_ms is not None and isinstance(data, str):
            zero_ms = fields.stamp_ms if zero_ms is None else zero_ms
            message = read_message(data)
            renumbered(message["media"], "timestamp", max(0, fields.stamp_ms - zero_ms))
            data = write_message(message)
        yield due_s, data


def _without_stop(said: Iterator[Said]) -> Iterator[Said]:
    return (one for one, fields, _ in _aimed(said, lambda _: False) if fields.event != "stop")


def _end(said: Iterator[Said], way: Way, at_s: float | None) -> Iterator[Said]:
    """End it there; without a time, in place of the stop message, or of its own end where it has none."""
    due_s = 0.0
    for one, fields, _ in _aimed(said, lambda _: False):
        over = (fields.event == "stop" or isinstance(one[1], Ending)) if at_s is None else one[0] >= at_s
        if over or isinstance(one[1], Ending):
            due_s = one[0] if at_s is None else min(one[0], at_s)
            break
        yield one
        due_s = one[0]
    yield due_s, Ending(way)


def _burst(said: Iterator[Said], begin_s: float, length_s: float) -> Iterator[Said]:
    end_s = begin_s + length_s
    return ((end_s if begin_s <= due_s < end_s else due_s, data) for due_s, data in said)


def _stall(said: Iterator[Said], at_s: float, length_s: float) -> Iterator[Said]:
    return ((due_s + length_s if due_s >= at_s else due_s, data) for due_s, data in said)


_PACKETS: Mapping[Kind, Callable[[Iterator[Said], Hits], Iterator[Said]]] = {
    Kind.GAP: _gap,
    Kind.SILENCE: _silence,
    Kind.REORDER: _reorder,
    Kind.DUPLICATE: _duplicate,
    Kind.BAD_JSON: _bad_json,
    Kind.BAD_BASE64: _bad_base64,
}
