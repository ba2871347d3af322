"""The tracks of a stream: opened, bounded, drained together."""

import pytest

from receiver.audio import AudioFormat, Encoding
from receiver.dialects.messages import Media
from receiver.errors import LimitExceeded
from receiver.events import Frame, Gap
from receiver.sessions.settings import SessionSettings
from receiver.sessions.tracks import Tracks

PCMU = AudioFormat(Encoding.PCMU, 8000)


def packet(track: str, number: int, size: int = 160) -> Media:
    return Media(track, b"\xff" * size, number, (number - 1) * 20)


def test_tracks_are_drained_in_the_order_in_which_they_were_opened() -> None:
    tracks = Tracks(SessionSettings(), PCMU, "little", 0.0)
    for name in ("outbound", "inbound"):
        tracks.open(name).push(packet(name, 1), 0.0)
    assert [event.track for event in tracks.drain() if isinstance(event, Frame)] == ["outbound", "inbound"]
    assert tracks.drain() == []
    assert tracks.here(0.0) == tracks.here(1.0) == (160, 8000)
    assert tracks.here(600.0) == (600 * 8000, 8000)
    assert set(tracks.counters) == {"outbound", "inbound"}


def test_their_number_is_bounded() -> None:
    tracks = Tracks(SessionSettings(tracks=1), PCMU, "little", 0.0)
    tracks.open("inbound")
    with pytest.raises(LimitExceeded, match="more than 1 tracks"):
        tracks.open("outbound")


def test_rejected_packets_are_summed_over_tracks() -> None:
    tracks = Tracks(SessionSettings(), PCMU, "little", 0.0)
    tracks.open("inbound").push(Media("inbound", None, 1, 0), 0.0)
    tracks.open("outbound").push(packet("outbound", 1, size=8_001), 0.0)
    tracks.drain()
    assert (tracks.rejected, tracks.oversized) == (2, 1)


def test_time_and_the_end_release_what_waits() -> None:
    tracks = Tracks(SessionSettings(), PCMU, "little", 0.0)
    inbound, outbound = tracks.open("inbound"), tracks.open("outbound")
    for track in (inbound, outbound):
        track.push(packet(track.name, 1), 0.0)
        track.push(packet(track.name, 3), 0.0)
    tracks.drain()
    tracks.tick(2.0)
    assert [type(event) for event in tracks.drain()] == [Gap, Frame] * 2
    inbound.push(packet("inbound", 5), 2.0)
    tracks.finish(2.0)
    assert [type(event) for event in tracks.drain()] == [Gap, Frame]


def test_a_flood_is_audio_ahead_of_the_clock() -> None:
    tracks = Tracks(SessionSettings(burst_s=1), PCMU, "little", 100.0)
    inbound = tracks.open("inbound")
    for number in range(1, 101):
        inbound.push(packet("inbound", number), 100.5)
    tracks.drain()
    assert tracks.flooded(100.5)
    assert not tracks.flooded(101.0)
    unlimited = Tracks(SessionSettings(burst_s=0), PCMU, "little", 100.0)
    unlimited.open("inbound").push(packet("inbound", 1), 100.0)
    assert not unlimited.flooded(0.0)


def test_the_deadline_is_the_first_of_all_tracks() -> None:
    tracks = Tracks(SessionSettings(), PCMU, "little", 0.0)
    assert tracks.deadline is None
    for name, at in (("outbound", 0.5), ("inbound", 0.25)):
        track = tracks.open(name)
        track.push(packet(name, 1), at)
        track.push(packet(name, 3), at)
    assert tracks.deadline == 1.25
    tracks.tick(1.25)
    assert tracks.deadline == 1.5
    assert [(event.track, event.end) for event in tracks.drain() if isinstance(event, Gap)] == [("inbound", 320)]
    tracks.tick(1.5)
    assert tracks.deadline is None
