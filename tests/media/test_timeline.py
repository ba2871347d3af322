"""Zero, and how far a peer's clock is believed."""

from receiver.media.timeline import Timeline


def test_a_plausible_first_stamp_counts_from_the_peers_zero() -> None:
    assert Timeline(100.0).zero_ms(102, at=100.0) == 0
    assert Timeline(100.0).zero_ms(30_000, at=100.0) == 0
    assert Timeline(100.0).zero_ms(35_000, at=105.0) == 0


def test_an_implausible_first_stamp_is_zero_itself() -> None:
    assert Timeline(100.0).zero_ms(1_705_312_200_000, at=100.0) == 1_705_312_200_000
    assert Timeline(100.0).zero_ms(30_001, at=100.0) == 30_001


def test_where_a_stamp_lies_can_be_asked_without_settling_anything() -> None:
    timeline = Timeline(100.0)
    assert timeline.position_ms(102, at=100.0) == 102
    assert timeline.position_ms(1_705_312_200_000, at=100.0) is None
    timeline.zero_ms(1_705_312_200_000, at=100.0)
    assert timeline.position_ms(1_705_312_200_020, at=100.0) == 20


def test_zero_is_settled_once_for_all_tracks() -> None:
    timeline = Timeline(0.0)
    assert timeline.zero_ms(1_705_312_200_000, at=0.0) == timeline.zero_ms(1_705_312_205_000, at=5.0)


def test_time_before_the_start_is_none() -> None:
    assert Timeline(100.0).elapsed_ms(99.0) == 0
    assert Timeline(100.0, ahead_ms=5).latest_ms(101.5) == 1_505
