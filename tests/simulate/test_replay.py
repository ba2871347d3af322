"""Captures played to a real receiver, exactly, as many, and with every fault."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import resource
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosedError

from receiver.captures.capture import Batch, End
from receiver.captures.finding import find_captures
from receiver.events import EndReason
from receiver.simulate import CallError
from receiver.simulate.connection import Target, target
from receiver.simulate.faults import parse_fault
from receiver.simulate.replay import Replay, replay
from receiver.simulate.tally import Summary, Tally
from receiver.simulate.tape import Tape

TOKEN = "a-token-of-the-tests"
RATE = 8000

Recorded = Callable[..., Path]
Receiving = Callable[..., AbstractAsyncContextManager[Any]]


async def play(asked: Replay, stop: asyncio.Event | None = None) -> Summary:
    tally = Tally()
    await asyncio.wait_for(replay(asked, tally, stop), 50)
    return tally.summary()


class Player:
    """Plays captures to a receiver of its own, and reads what that has written."""

    def __init__(self, receiving: Receiving, recorded: Recorded) -> None:
        self._receiving = receiving
        self._recorded = recorded

    def __call__(self, *faults: str, streams: int = 1, **options: Any) -> tuple[Summary, list[dict[str, Any]]]:
        asked = {"tapes": [Tape(self._recorded())], "speed": math.inf} | options

        async def main() -> tuple[Summary, list[dict[str, Any]]]:
            async with self._receiving() as server:
                to = target(server.url, TOKEN)
                summary = await play(Replay(to=to, faults=[parse_fault(fault) for fault in faults], **asked))
                return summary, await server.told(streams)

        return asyncio.run(main())

    def one(self, *faults: str, **options: Any) -> tuple[Summary, dict[str, Any]]:
        summary, (told,) = self(*faults, **options)
        return summary, told


@pytest.fixture
def player(receiving: Receiving, recorded: Recorded) -> Player:
    return Player(receiving, recorded)


def gaps(told: dict[str, Any], track: str = "inbound") -> list[tuple[str, int, int]]:
    return [(gap["cause"], gap["start"], gap["end"]) for gap in told["tracks"][track]["gaps"]]


def counters(told: dict[str, Any], *names: str, track: str = "inbound") -> list[int]:
    return [told["tracks"][track]["counters"][name] for name in names]


def test_a_capture_is_received_as_it_was(player: Player) -> None:
    summary, told = player.one()
    assert (summary.ok, summary.streams, summary.finished, summary.messages) == (True, 1, 1, 403)
    assert summary.close_codes == {"1000": 1} and summary.worst_late_s == 0
    assert told["stream_id"] == "7d56cc11-536d-4a45-b4fb-ed3d55be843b"  # verbatim
    assert told["end"]["reason"] == "stop"
    assert told["ignored"] == {} and told["discontinuities"] == []
    for track in ("inbound", "outbound"):
        assert counters(told, "samples", "length", "placed", track=track) == [32_000, 32_000, 200]
        assert gaps(told, track) == []


def test_its_own_time_is_kept(player: Player) -> None:
    summary, told = player.one(speed=4.0)
    assert summary.ok and summary.seconds >= 1.0
    assert summary.worst_late_s > 0
    assert counters(told, "samples") == [32_000]


def test_a_gap_is_lost(player: Player) -> None:
    summary, told = player.one("gap:1s+200ms")
    assert summary.ok and summary.messages == 403 - 20
    for track in ("inbound", "outbound"):
        assert gaps(told, track) == [("lost", 8000, 9600)]
        assert counters(told, "received", "samples", "length", track=track) == [190, 30_400, 32_000]
    assert told["end"]["reason"] == "stop" and told["ignored"] == {}


def test_a_share_of_the_packets_is_lost_and_all_of_it_is_accounted_for(player: Player) -> None:
    summary, told = player.one("gap:10%", seed=1)
    sent = summary.messages - 3
    assert 300 < sent < 400
    assert sum(counters(told, "received", track=track)[0] for track in told["tracks"]) == sent
    for track in told["tracks"]:
        spans = gaps(told, track)
        assert {cause for cause, _, _ in spans} == {"lost"}
        received, samples, length = counters(told, "received", "samples", "length", track=track)
        assert samples == received * 160 and samples + sum(end - start for _, start, end in spans) == length


def test_silence_is_unsent(player: Player) -> None:
    summary, told = player.one("silence:1s+200ms")
    assert summary.ok
    for track in ("inbound", "outbound"):
        assert gaps(told, track) == [("unsent", 8000, 9600)]
        assert counters(told, "received", "length", "discontinuities", track=track) == [190, 32_000, 0]


def test_reordered_packets_are_put_in_order(player: Player) -> None:
    summary, told = player.one("reorder:20%")
    assert summary.ok and summary.messages == 403
    assert counters(told, "samples", "late", "duplicate") == [32_000, 0, 0]
    assert counters(told, "reordered")[0] > 10
    assert gaps(told) == [] and told["ignored"] == {}


def test_duplicates_are_counted_and_heard_once(player: Player) -> None:
    summary, told = player.one("duplicate:20%")
    twice = summary.messages - 403
    assert twice > 20
    assert sum(counters(told, "duplicate", track=track)[0] for track in told["tracks"]) == twice
    assert counters(told, "samples", "length") == [32_000, 32_000] and gaps(told) == []


def test_a_broken_message_is_skipped_and_its_audio_lost(player: Player) -> None:
    summary, told = player.one("bad-json:1s")
    assert summary.ok
    assert told["ignored"] == {"unreadable": 1} and told["end"]["reason"] == "stop"
    assert gaps(told) == [("lost", 8000, 8160)] and gaps(told, "outbound") == []


def test_a_broken_message_stands_somewhere_where_nothing_is_said(player: Player) -> None:
    _, told = player.one("bad-json")
    assert told["ignored"] == {"unreadable": 1}
    assert len(gaps(told) + gaps(told, "outbound")) == 1


def test_broken_audio_is_rejected(player: Player) -> None:
    summary, told = player.one("bad-base64:1s+100ms")
    assert summary.ok
    assert told["ignored"] == {"rejected_media": 10}
    for track in ("inbound", "outbound"):
        assert gaps(told, track) == [("rejected", 8000, 8800)]
        assert counters(told, "received", "rejected", "placed", track=track) == [200, 5, 195]


def test_too_many_broken_messages_end_the_stream(player: Player) -> None:
    summary, told = player.one("bad-json:50%", speed=8.0)
    assert (summary.ok, summary.broken, summary.close_codes) == (False, 1, {"1008": 1})
    assert told["end"]["close_code"] == 1008
    assert "1008" in summary.problems[0]


def test_a_clock_that_begins_anew_is_a_discontinuity(player: Player) -> None:
    summary, told = player.one("restart-clock:2s")
    assert summary.ok
    assert [(one["track"], one["peer_ms_before"], one["peer_ms_after"]) for one in told["discontinuities"]] == [
        ("inbound", 1980, 0),
        ("outbound", 1980, 0),
    ]
    assert counters(told, "samples", "length", "discontinuities") == [32_000, 32_000, 1] and gaps(told) == []


def test_a_burst_loses_nothing(player: Player) -> None:
    summary, told = player.one("burst:1s+2s", speed=8.0)
    assert summary.ok and summary.messages == 403
    assert counters(told, "samples", "length", "late", "reordered") == [32_000, 32_000, 0, 0] and gaps(told) == []


def test_a_stall_loses_nothing_and_takes_its_time(player: Player) -> None:
    summary, told = player.one("stall:1s+4s", speed=8.0)
    assert summary.ok and summary.seconds >= 1.0
    assert counters(told, "samples", "length") == [32_000, 32_000] and gaps(told) == []


@pytest.mark.parametrize(
    ("kind", "reason", "code"), [("cut", "reset", 1006), ("fin", "fin", 1006), ("close", "close", 1000)]
)
@pytest.mark.parametrize("place", [":2s", ""])
def test_an_end_without_a_stop_is_told_apart_and_keeps_what_came(
    player: Player, kind: str, reason: str, code: int, place: str
) -> None:
    summary, told = player.one(kind + place)
    assert (summary.ok, summary.finished, summary.close_codes) == (True, 1, {str(code): 1})
    assert told["end"]["reason"] == reason and told["end"]["stop_received"] is False
    assert counters(told, "samples", "length") == ([16_000, 16_000] if place else [32_000, 32_000])


def test_without_a_stop_it_is_a_close(player: Player) -> None:
    summary, told = player.one("no-stop")
    assert summary.ok and summary.messages == 402
    assert (told["end"]["reason"], told["end"]["stop_received"]) == ("close", False)
    assert counters(told, "samples") == [32_000]


def test_faults_come_together(player: Player) -> None:
    _, told = player.one("gap:1s+100ms", "silence:2s+100ms", "cut:3s")
    assert gaps(told) == [("lost", 8000, 8800), ("unsent", 16_000, 16_800)]
    assert told["end"]["reason"] == "reset" and counters(told, "length") == [24_000]


def test_a_hundred_copies_have_ids_of_their_own(player: Player, recorded: Recorded) -> None:
    tapes = [Tape(recorded("b", seconds=1.0, dialect="twilio"))]
    summary, told = player(streams=100, tapes=tapes, copies=100, spread_s=0.0)
    assert (summary.ok, summary.streams, summary.finished) == (True, 100, 100)
    assert summary.messages == 100 * 103
    assert len({one["stream_id"] for one in told}) == len({one["call_id"] for one in told}) == 100
    assert all(counters(one, "samples") == [8000] and one["ignored"] == {} for one in told)


def test_loops_call_again_with_other_ids(player: Player, recorded: Recorded) -> None:
    tapes = [Tape(recorded("b", seconds=0.5)), Tape(recorded("c", seconds=0.5, stream_id=None, call_id=None))]
    summary, told = player(streams=6, tapes=tapes, loops=3)
    assert (summary.ok, summary.streams, summary.messages) == (True, 6, 6 * 53)
    assert len({one["stream_id"] for one in told}) == 6


def test_the_same_seed_gives_the_same_and_each_copy_another(recorded: Recorded) -> None:
    tape = Tape(recorded())

    def said(seed: int, number: int = 0) -> list[Any]:
        faults = [parse_fault(one) for one in ("gap:5%", "reorder:5%", "duplicate:5%", "bad-json:5%", "stall", "burst")]
        asked = Replay(tapes=[tape], to=Target("ws://127.0.0.1", (), True), faults=faults, seed=seed)
        return list(asked.said(tape, number))

    assert said(7) == said(7)
    assert said(7) != said(8)
    assert said(7, 1) == said(8)


def test_a_tape_that_is_not_held_is_read_again_for_every_copy(player: Player, recorded: Recorded) -> None:
    tape = Tape(recorded("b", seconds=1.0), hold_characters=1000)
    assert not tape.held
    summary, told = player(streams=3, tapes=[tape], copies=3)
    assert summary.ok and all(counters(one, "samples") == [8000] for one in told)


def test_what_was_captured_is_received_again_as_it_was(
    receiving: Receiving, recorded: Recorded, tmp_path: Path
) -> None:
    """A stream with faults, the replay of its capture, and the replay of that one's."""

    async def main() -> list[dict[str, Any]]:
        async with receiving(captures={"enabled": True}) as server:
            to = target(server.url, TOKEN)
            faults = [parse_fault(one) for one in ("gap:1s+200ms", "reorder:5%", "bad-base64:2%", "fin:3s")]
            tapes = [Tape(recorded())]
            for heard in (1, 2, 3):
                assert (await play(Replay(tapes=tapes, to=to, faults=faults, speed=8.0))).ok
                told = await server.told(heard)
                faults, tapes = [], [Tape(path) for path in find_captures([server.root / "*" / told[-1]["id"]])]
            return told

    first, second, third = asyncio.run(main())
    assert first["end"]["reason"] == "fin" and counters(first, "received") == [140]
    for field in ("tracks", "stream_id", "call_id", "end", "ignored", "discontinuities", "duration_s"):
        assert first[field] == second[field] == third[field], field


async def _listen(handler: Callable[[ServerConnection], Awaitable[None]], asked: Callable[[Target], Replay]) -> Summary:
    async with serve(handler, "127.0.0.1", 0) as server:
        return await play(asked(target(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")))


def test_what_a_peer_sent_comes_again_byte_by_byte(written: Callable[..., Path]) -> None:
    data = ['{ "event" : "connected" }', "no JSON\n\u00fc", b"\0\xff", "", '{"event":"stop"}']
    path = written([Batch(0.5, data[:2]), Batch(0.6, [17, *data[2:], 18])], end=End(0.7, EndReason.CLOSE, 4321, "done"))
    heard: list[str | bytes] = []
    closed: list[Any] = []

    async def handler(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosedError):  # 4321 is none of the codes that are in order
            while True:
                heard.append(await connection.recv())
        closed.append((connection.close_code, connection.close_reason))

    summary = asyncio.run(_listen(handler, lambda to: Replay(tapes=[Tape(path)], to=to, speed=math.inf)))
    assert heard == data and closed == [(4321, "done")]
    assert summary.ok and summary.withheld == 2 and summary.close_codes == {"4321": 1}


def test_refusals_are_counted_by_their_status(receiving: Receiving, recorded: Recorded) -> None:
    async def main() -> Summary:
        async with receiving() as server:
            return await play(Replay(tapes=[Tape(recorded())], to=target(server.url, "wrong"), copies=3))

    summary = asyncio.run(main())
    assert (summary.ok, summary.streams, summary.refused, summary.messages) == (False, 3, {"401": 3}, 0)
    assert summary.close_codes == {} and summary.problems[0].startswith("refused with HTTP 401")


def test_nobody_there_is_told(recorded: Recorded) -> None:
    summary = asyncio.run(play(Replay(tapes=[Tape(recorded())], to=target("ws://127.0.0.1:1/"))))
    assert (summary.ok, summary.streams, summary.unreachable) == (False, 1, 1) and summary.problems


def test_a_stop_ends_every_stream_in_order(receiving: Receiving, recorded: Recorded) -> None:
    async def main() -> tuple[Summary, list[dict[str, Any]]]:
        async with receiving() as server:
            stop, tally = asyncio.Event(), Tally()
            asked = Replay(tapes=[Tape(recorded())], to=target(server.url, TOKEN), copies=3, spread_s=0, loops=0)
            playing = asyncio.create_task(replay(asked, tally, stop))
            while tally.live < 3 or tally.messages < 20:
                await asyncio.sleep(0.01)
            assert tally.summary().streams == 3
            stop.set()
            await asyncio.wait_for(playing, 30)
            return tally.summary(), await server.told(3)

    summary, told = asyncio.run(main())
    assert (summary.ok, summary.stopped, summary.streams) == (True, 3, 3)
    assert summary.close_codes == {"1000": 3}
    assert [one["end"]["reason"] for one in told] == ["close"] * 3


def test_a_capture_that_breaks_while_it_is_played_is_a_broken_stream(receiving: Receiving, recorded: Recorded) -> None:
    path = recorded()
    tape = Tape(path, hold_characters=0)
    path.write_bytes(path.read_bytes()[:9000] + b"\nrubbish\n")

    async def main() -> Summary:
        async with receiving() as server:
            return await play(Replay(tapes=[tape], to=target(server.url, TOKEN), speed=math.inf))

    summary = asyncio.run(main())
    assert summary.broken == 1 and "capture.jsonl, line" in summary.problems[0]


def test_a_call_that_failed_is_not_made_again_at_once(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.simulate.replay.AGAIN_S", 0.01)
    summary = asyncio.run(play(Replay(tapes=[Tape(recorded())], to=target("ws://127.0.0.1:1/"), loops=3)))
    assert summary.unreachable == 3 and len(summary.problems) == 1


def test_too_few_descriptors_are_named_before_anything_is_sent(recorded: Recorded) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    tape = Tape(recorded())
    with pytest.raises(CallError, match=r"open files, and this process may have \d+"):
        asyncio.run(play(Replay(tapes=[tape], to=target("ws://127.0.0.1:1/"), copies=hard + 1)))
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"tapes": []}, "no capture"),
        ({"speed": 0.0}, "speed 0"),
        ({"copies": 0}, "copies: at least 1"),
        ({"loops": -1}, "loops: at least 1"),
        ({"spread_s": -1.0}, "spread -1 s"),
        ({"spread_s": math.inf}, "spread inf s"),
        ({"faults": [parse_fault("gap:1h")]}, "fault gap: begins at 3600 s, and the stream has 4.0 s"),
    ],
)
def test_what_cannot_be_played_is_named(recorded: Recorded, options: dict[str, Any], problem: str) -> None:
    asked = {"tapes": [Tape(recorded())], "to": Target("ws://127.0.0.1", (), True)}
    with pytest.raises(CallError, match=problem):
        Replay(**(asked | options))


def test_how_much_will_be_sent_is_known_where_there_is_an_end(recorded: Recorded) -> None:
    asked = {"tapes": [Tape(recorded())], "to": Target("ws://127.0.0.1", (), True)}
    assert Replay(**asked, copies=2, loops=3).messages == 6 * 403
    assert Replay(**asked, loops=0).messages is None
    assert json.dumps(Replay(**asked, copies=5).streams) == "5"
