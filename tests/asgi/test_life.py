"""Signs of life, with a clock of our own."""

import socket
from typing import Any

import pytest
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from receiver.asgi.edge import Edge
from receiver.asgi.frames import FrameReader
from receiver.asgi.life import STEADY_READS, Act, Life, have_kernel_watch

GRACE_S = Edge().grace_s
PONG = Frame(Opcode.PONG, b"").serialize(mask=True)


class Peer:
    """A peer that may be heard of, and the life that is seen of it."""

    def __init__(self, **edge: Any) -> None:
        self.reader = FrameReader(ServerProtocol(state=OPEN))
        self.edge = Edge(**{"ping_interval_s": 5, "dead_after_s": 15, **edge})
        self.life = Life(self.edge, self.reader, 0.0)

    def says(self, data: bytes, at: float) -> None:
        self.life.heard_at = at
        if self.reader.read(data, len(data)):
            self.life.spoke(at)

    def until(self, end: float, answers: bool = False) -> tuple[list[float], float | None]:
        """Look whenever it asks to be looked at: when it was pinged, and when it died."""
        pings, now = [], 0.0
        while now < end:
            act, again = self.life.look(now)
            if act is Act.DIE:
                return pings, now
            if act is Act.PING:
                pings.append(now)
                if answers:
                    self.says(PONG, now)
            assert again is None or again > now
            now = end if again is None else again
        return pings, None


def said(text: str = "hello") -> bytes:
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=True)


def test_a_peer_is_pinged_once_an_interval_and_may_be_silent_where_that_means_nothing() -> None:
    assert Peer().until(21) == ([5, 10, 15, 20], None)


def test_a_peer_that_talks_is_asked_less_often() -> None:
    peer, pings = Peer(), []
    for number in range(1, 1000):
        now = number * 0.06
        peer.says(said(), now)
        if peer.life.look(now)[0] is Act.PING:
            pings.append(now)
    assert pings == pytest.approx([20.04, 40.08], abs=0.01)


def test_who_answers_pings_is_there() -> None:
    assert Peer().until(100, answers=True)[1] is None


def test_who_has_answered_a_ping_and_does_not_any_more_is_gone() -> None:
    peer = Peer()
    peer.says(PONG, 1.0)
    assert peer.until(100)[1] == 16 + GRACE_S


def test_who_spoke_often_and_does_not_any_more_is_gone() -> None:
    peer = Peer()
    for number in range(STEADY_READS):
        peer.says(said(), number * 0.06)
    assert peer.until(100)[1] == pytest.approx((STEADY_READS - 1) * 0.06 + 15 + GRACE_S)


def test_who_spoke_a_few_times_may_be_silent() -> None:
    peer = Peer()
    for number in range(STEADY_READS - 1):
        peer.says(said(), number * 0.06)
    assert peer.until(100)[1] is None


def test_who_was_silent_before_may_be_silent_again() -> None:
    peer = Peer()
    peer.says(said(), 0.06)
    for number in range(STEADY_READS):
        peer.says(said(), 16 + number * 0.06)
    assert peer.until(100)[1] is None


def test_nobody_pauses_within_a_frame() -> None:
    peer = Peer()
    peer.says(said()[:3], 2.0)
    assert peer.until(100)[1] == 17 + GRACE_S


def test_whoever_is_heard_in_the_time_of_grace_lives_and_is_given_it_again() -> None:
    peer = Peer(ping_interval_s=0)
    peer.says(PONG, 0.0)
    assert peer.life.look(15.0) == (Act.NOTHING, 15 + GRACE_S)
    peer.says(said(), 15.1)
    assert peer.life.look(15 + GRACE_S) == (Act.NOTHING, 15.1 + 15)
    assert peer.life.look(30.2) == (Act.NOTHING, 30.2 + GRACE_S)
    assert peer.life.look(30.5) == (Act.DIE, None)


def test_nothing_is_asked_and_nobody_dies_where_that_is_switched_off() -> None:
    peer = Peer(ping_interval_s=0, dead_after_s=0)
    peer.says(PONG, 0.0)
    assert peer.life.look(1000.0) == (Act.NOTHING, None)


def test_the_kernel_watches_tcp_alone_and_only_if_asked() -> None:
    def watched(raw: socket.socket | None, dead_after_s: float) -> bool:
        have_kernel_watch(raw, dead_after_s)
        return raw is not None and bool(raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix:
        assert not watched(tcp, 0)
        assert watched(tcp, 15)
        assert tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 5
        assert not watched(unix, 15)
    assert not watched(None, 15)


def test_a_system_that_does_not_know_an_option_is_not_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "TCP_USER_TIMEOUT", raising=False)
    with socket.socket() as tcp:
        have_kernel_watch(tcp, 15)
        assert tcp.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
