from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from receiver.captures.capture import Batch, End, Entry, Pause
from receiver.events import EndReason
from receiver.simulate.spacing import spaced


def media(stamp_ms: object, track: str = "inbound") -> str:
    return f'{{"event":"media","media":{{"track":"{track}","timestamp":"{stamp_ms}"}}}}'


def due(entries: list[Entry], resolution_ms: int = 60) -> list[float]:
    return [at for at, _ in spaced(entries, resolution_ms)]


def test_a_message_that_came_alone_is_due_when_it_came() -> None:
    assert due([Batch(0.5, ["a"]), Batch(1.25, [media(0)]), Batch(1.5, [b"b"])]) == [0.0, 0.75, 1.0]


def test_what_was_read_together_is_spaced_by_its_timestamps() -> None:
    assert due([Batch(1.0, ["x"]), Batch(1.06, [media(0), media(20), media(40)])]) == [0.0, 0.02, 0.04, 0.06]


def test_each_track_has_a_clock_of_its_own() -> None:
    batch = [media(1000), media(5, "outbound"), media(1020), media(25, "outbound")]
    assert due([Batch(1.0, ["x"]), Batch(1.1, batch)], 100) == [0.0, 0.08, 0.08, 0.1, 0.1]


def test_what_has_no_timestamp_goes_with_what_is_behind_it() -> None:
    batch = ["a", media(0), "b", "c", media(30), "d", media("soon")]
    assert due([Batch(1.0, ["x"]), Batch(1.06, batch)]) == [0.0, 0.03, 0.03, 0.06, 0.06, 0.06, 0.06, 0.06]


def test_a_burst_stays_a_burst() -> None:
    """Five seconds that came at once, after a stall, came within what one read waits."""
    batch = [media(20 * i) for i in range(250)]
    times = due([Batch(1.0, ["x"]), Batch(6.0, batch)])
    assert times[1] == 4.94 and times[-1] == 5.0


def test_a_file_whose_times_are_exact_is_played_by_them() -> None:
    assert due([Batch(0.0, ["x"]), Batch(1.0, [media(0), media(20)])], 0) == [0.0, 1.0, 1.0]


def test_nothing_is_due_before_the_batch_before() -> None:
    assert due([Batch(1.0, [media(0)]), Batch(1.03, [media(20), media(100)])]) == [0.0, 0.0, 0.03]


def test_the_first_batch_is_timed_from_its_first_message() -> None:
    assert due([Batch(5.0, [media(0), media(20), media(40)])]) == [0.0, 0.02, 0.04]


def test_withheld_messages_and_pauses_are_passed_over() -> None:
    entries = [
        Batch(0.0, [12, "a"]),
        Pause(0.1, None),
        Batch(0.2, [5]),
        Pause(0.3, ()),
        Batch(0.4, ["b", 7]),
        End(0.5, EndReason.STOP),
    ]
    assert list(spaced(entries, 60)) == [(0.0, "a"), (0.4, "b")]


@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.lists(st.tuples(st.integers(0, 5000), st.sampled_from("ab")), max_size=8)),
        max_size=8,
    ),
    st.integers(0, 200),
)
def test_order_is_kept_and_time_goes_forward(
    batches: list[tuple[float, list[tuple[int, str]]]], resolution_ms: int
) -> None:
    at, entries = 0.0, []
    for step, said in batches:
        at += step
        entries.append(Batch(at, [media(stamp, track) for stamp, track in said]))
    spoken = list(spaced(entries, resolution_ms))
    assert [data for _, data in spoken] == [data for entry in entries for data in entry.data]
    times = [at for at, _ in spoken]
    assert times == sorted(times) and all(0 <= one <= at + 1e-6 for one in times)
    assert not times or times[0] == 0
