"""What faults do to messages; test_replay.py has what a receiver makes of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from receiver.simulate.faults import parse_fault
from receiver.simulate.injection import LOOK_AHEAD, inject
from receiver.simulate.script import Ending, Said, Way


def media(i: int, track: str = "a") -> str:
    body = {"track": track, "chunk": str(i + 1), "timestamp": str(1000 + 20 * i), "payload": "AAAA"}
    return json.dumps({"event": "media", "sequenceNumber": str(i + 2), "media": body})


def stream(tracks: Sequence[str] = "a", packets: int = 10) -> list[Said]:
    said: list[Said] = [(0.0, '{"event":"start"}')]
    said += [(i * 0.02, media(i, track)) for i in range(packets) for track in tracks]
    end_s = packets * 0.02
    return [*said, (end_s, '{"event":"stop","sequenceNumber":"99"}'), (end_s, Ending(Way.CLOSE, 4000))]


def injected(said: list[Said], *faults: str, seed: int = 0) -> list[Said]:
    parsed = [parse_fault(fault) for fault in faults]
    packets = sum('"media"' in data for _, data in said if isinstance(data, str))
    return list(inject(iter(said), parsed, seed=seed, packets=packets, duration_s=said[-1][0]))


def chunks(said: list[Said]) -> list[Any]:
    found = []
    for _, data in said:
        try:
            message = json.loads(data) if isinstance(data, str) else {}
        except ValueError:
            found.append(None)
            continue
        if "media" in message:
            found.append(int(message["media"]["chunk"]))
    return found


def test_without_faults_nothing_changes() -> None:
    assert injected(stream()) == stream()


@pytest.mark.parametrize(
    ("fault", "left"),
    [
        ("gap:40ms+60ms", [1, 2, 6, 7, 8, 9, 10]),
        ("gap:50ms", [1, 2, 3, 5, 6, 7, 8, 9, 10]),  # without a length: the first one from there on
        ("silence:40ms+60ms", [1, 2, 3, 4, 5, 6, 7]),
        ("reorder:40ms", [1, 2, 4, 3, 5, 6, 7, 8, 9, 10]),
        ("reorder:100%", [2, 1, 4, 3, 6, 5, 8, 7, 10, 9]),
        ("reorder:180ms", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),  # nothing behind it to change places with
        ("duplicate:40ms+40ms", [1, 2, 3, 3, 4, 4, 5, 6, 7, 8, 9, 10]),
        ("bad-json:40ms", [1, 2, None, 4, 5, 6, 7, 8, 9, 10]),
        ("gap:100%", []),
    ],
)
def test_packets_that_are_hit(fault: str, left: list[int | None]) -> None:
    assert chunks(injected(stream(), fault)) == left


@pytest.mark.parametrize("kind", ["gap", "silence", "bad-json", "bad-base64", "duplicate", "reorder"])
def test_without_a_place_one_packet_somewhere_is_hit(kind: str) -> None:
    said = stream(packets=100)
    many = {tuple(injected(said, kind, seed=seed)) for seed in range(20)}
    assert len(many) > 10
    if kind in ("gap", "silence", "duplicate"):
        assert {len(one) for one in many} == {len(said) + (1 if kind == "duplicate" else -1)}


def test_packets_change_places_within_their_track_and_keep_the_times() -> None:
    said = stream("ab", 3)
    changed = injected(said, "reorder:0s")
    assert [due for due, _ in changed] == [due for due, _ in said]
    assert [data for _, data in changed][1:5] == [media(1, "a"), media(0, "b"), media(0, "a"), media(1, "b")]


def test_a_packet_that_waits_for_its_track_in_vain_goes_on() -> None:
    said = stream("b", LOOK_AHEAD * 2)
    said.insert(1, (0.0, media(0, "a")))
    assert injected(said, "reorder:0s")[:2] == said[:2]


def test_silence_is_not_counted_anywhere() -> None:
    said = injected(stream("ab", 3), "silence:20ms+20ms")
    last = [json.loads(data) for _, data in said if isinstance(data, str)]
    assert [message.get("sequenceNumber") for message in last] == [None, "2", "2", "2", "2", "97"]
    assert [message["media"]["timestamp"] for message in last[1:5]] == ["1000", "1000", "1040", "1040"]


def test_broken_base64_leaves_the_rest_of_the_message() -> None:
    (_, spoiled) = injected(stream(), "bad-base64:0s")[1]
    assert isinstance(spoiled, str)
    message = json.loads(spoiled)
    assert message["media"]["payload"] == "AA*AA" and message["media"]["chunk"] == "1"


@pytest.mark.parametrize("data", ['{"event":"media"}', '{"event":"media","media":{"payload":7}}'])
def test_what_has_no_payload_is_left_alone(data: str) -> None:
    assert injected([(0.0, data), (1.0, Ending())], "bad-base64:100%") == [(0.0, data), (1.0, Ending())]


def test_a_clock_begins_anew_for_all_tracks_at_once() -> None:
    said = injected(stream("ab", 4), "restart-clock:40ms")
    stamps = [json.loads(data)["media"]["timestamp"] for _, data in said[1:9] if isinstance(data, str)]
    assert stamps == ["1000", "1000", "1020", "1020", "0", "0", "20", "20"]


def test_a_burst_comes_at_the_end_of_its_span() -> None:
    times = [due for due, _ in injected(stream(), "burst:40ms+60ms")]
    assert times == pytest.approx([0, 0, 0.02, 0.1, 0.1, 0.1, 0.1, 0.12, 0.14, 0.16, 0.18, 0.2, 0.2])


def test_a_stall_delays_all_that_follows() -> None:
    times = [due for due, _ in injected(stream(packets=3), "stall:20ms+1s")]
    assert times == pytest.approx([0, 0, 1.02, 1.04, 1.06, 1.06])


def test_times_are_those_of_the_recorded_stream_whatever_else_delays_it() -> None:
    times = [due for due, _ in injected(stream(packets=3), "stall:20ms+1s", "stall:40ms+1s", "burst:40ms+10ms")]
    assert times == pytest.approx([0, 0, 1.02, 2.05, 2.06, 2.06])


@pytest.mark.parametrize(("kind", "way"), [("cut", Way.RESET), ("fin", Way.FIN), ("close", Way.CLOSE)])
def test_a_stream_is_ended_there_or_instead_of_its_stop(kind: str, way: Way) -> None:
    said = injected(stream(), f"{kind}:50ms")
    assert chunks(said) == [1, 2, 3] and said[-1] == (0.05, Ending(way))
    said = injected(stream(), kind)
    assert chunks(said) == list(range(1, 11)) and said[-1] == (0.2, Ending(way)) and len(said) == 12
    assert injected(stream()[:3], kind) == [*stream()[:3], (0.02, Ending(way))]  # it had no end of its own


def test_only_the_stop_is_left_out() -> None:
    assert injected(stream(), "no-stop") == [*stream()[:-2], stream()[-1]]


def test_binary_messages_are_never_hit() -> None:
    said: list[Said] = [(0.0, b"\0"), (0.1, Ending())]
    assert injected(said, "gap:100%", "silence:100%", "bad-json:100%", "reorder:100%") == said


def test_the_same_seed_gives_the_same() -> None:
    faults = ["gap:20%", "reorder:20%", "stall", "burst", "restart-clock", "bad-base64"]
    said = stream("ab", 50)
    assert injected(said, *faults, seed=5) == injected(said, *faults, seed=5) != injected(said, *faults, seed=6)
