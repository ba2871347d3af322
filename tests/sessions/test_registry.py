"""Admission and drain."""

import pytest

from receiver.errors import AccessDenied
from receiver.events import EndReason
from receiver.sessions.registry import Registry


class Stream:
    def __init__(self) -> None:
        self.reasons: list[EndReason] = []

    def end(self, reason: EndReason) -> None:
        self.reasons.append(reason)


def refusal(registry: Registry) -> tuple[int, str, dict[str, str]]:
    with pytest.raises(AccessDenied) as caught:
        registry.admit("phone")
    return caught.value.status, caught.value.reason, caught.value.headers


def test_the_limit_refuses_with_retry_after() -> None:
    registry = Registry(1)
    registry.admit("phone")
    stream = Stream()
    registry.enter(stream)
    assert len(registry) == 1
    assert refusal(registry) == (503, "streams", {"Retry-After": "5"})
    registry.leave(stream)
    registry.admit("phone")


def test_no_room_and_draining_refuse_too() -> None:
    full = Registry(5, room=lambda source: "disk" if source == "phone" else None)
    assert refusal(full)[1] == "disk"
    full.admit("another")
    full.draining = True
    assert refusal(full)[1] == "draining"


def test_live_streams_of_one_peer_id_are_counted() -> None:
    registry = Registry(5)
    first, second, third = Stream(), Stream(), Stream()
    assert registry.started(first, "id") == 1
    assert registry.started(second, "id") == 2
    assert registry.started(third, "another") == 1
    registry.leave(first)
    registry.leave(second)
    assert registry.started(first, "id") == 1


def test_ending_all_ends_each() -> None:
    registry = Registry(5)
    streams = [Stream(), Stream()]
    for stream in streams:
        registry.enter(stream)
    registry.end_all(EndReason.DRAIN)
    assert [stream.reasons for stream in streams] == [[EndReason.DRAIN]] * 2
