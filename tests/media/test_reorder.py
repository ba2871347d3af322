"""Counters: order, repetition, lateness, restart."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from receiver.dialects.messages import Media
from receiver.media.reorder import HOLD_S, WINDOW, Reorder, Verdict


def feed(order: Reorder, chunk: int, at: float = 0.0) -> tuple[Verdict, list[tuple[int, int]]]:
    """Put one chunk; the answer is the verdict and (missing, chunk) of what can be taken after it."""
    verdict = order.put(chunk, Media("inbound", b"", chunk), at)
    return verdict, drain(order, at)


def drain(order: Reorder, at: float, *, everything: bool = False) -> list[tuple[int, int]]:
    taken = []
    while (item := order.take(at, everything=everything)) is not None:
        missing, media = item
        assert media.chunk is not None
        taken.append((missing, media.chunk))
    return taken


def test_chunks_in_order_pass_through() -> None:
    order = Reorder()
    assert [feed(order, n)[1] for n in (1, 2, 3)] == [[(0, 1)], [(0, 2)], [(0, 3)]]
    assert drain(order, 9.0) == []


def test_a_counter_may_begin_at_zero_or_in_the_middle() -> None:
    assert feed(Reorder(), 0)[1] == [(0, 0)]
    assert feed(Reorder(), 5_000)[1] == [(0, 5_000)]


def test_chunks_wait_for_a_missing_one_and_follow_it() -> None:
    order = Reorder()
    assert feed(order, 2)[1] == []
    assert feed(order, 3)[1] == []
    assert feed(order, 1)[1] == [(0, 1), (0, 2), (0, 3)]
    assert order.reordered == 1


def test_a_missing_chunk_is_given_up_after_the_window() -> None:
    order = Reorder()
    feed(order, 1)
    for chunk in range(3, 2 + WINDOW):
        assert feed(order, chunk)[1] == []
    assert feed(order, 2 + WINDOW)[1][0] == (1, 3)


def test_a_missing_chunk_is_given_up_after_the_time() -> None:
    order = Reorder()
    feed(order, 1)
    feed(order, 4, at=10.0)
    assert drain(order, 10.0 + HOLD_S - 0.01) == []
    assert drain(order, 10.0 + HOLD_S) == [(2, 4)]


def test_a_far_jump_is_not_waited_for() -> None:
    order = Reorder()
    feed(order, 1)
    assert feed(order, 501)[1] == [(499, 501)]


def test_a_repeated_chunk_is_a_duplicate() -> None:
    order = Reorder()
    feed(order, 1)
    feed(order, 3)
    assert feed(order, 1)[0] is Verdict.DUPLICATE
    assert feed(order, 3)[0] is Verdict.DUPLICATE


def test_a_chunk_that_was_given_up_is_late() -> None:
    order = Reorder()
    feed(order, 1)
    feed(order, 100)
    assert feed(order, 50)[0] is Verdict.LATE
    assert feed(order, 99)[0] is Verdict.LATE
    assert feed(order, 100)[0] is Verdict.DUPLICATE


def test_a_counter_that_begins_anew_is_a_restart() -> None:
    order = Reorder()
    feed(order, 500)
    verdict, _ = feed(order, 1)
    assert verdict is Verdict.RESTART
    order.resume(1)
    assert feed(order, 1)[1] == [(0, 1)]
    assert feed(order, 2)[1] == [(0, 2)]


def test_a_counter_that_runs_on_from_far_behind_is_a_restart_in_the_end() -> None:
    order = Reorder()
    feed(order, 10_000)
    verdicts = [feed(order, 100 + n)[0] for n in range(WINDOW + 1)]
    assert verdicts[:-1] == [Verdict.DUPLICATE] * WINDOW
    assert verdicts[-1] is Verdict.RESTART


@given(st.data())
def test_any_permutation_within_the_window_comes_out_in_order_without_loss(data: st.DataObject) -> None:
    chunks: list[int] = []
    for block in range(4):
        numbers = range(block * WINDOW + 1, (block + 1) * WINDOW + 1)
        chunks += data.draw(st.permutations(list(numbers)))
    order = Reorder()
    taken = [item for chunk in chunks for item in feed(order, chunk)[1]]
    assert taken == [(0, n) for n in range(1, 4 * WINDOW + 1)]


@given(st.lists(st.integers(0, 2**63 - 1) | st.integers(0, 200), max_size=300))
def test_memory_is_bounded_and_order_never_breaks(chunks: list[int]) -> None:
    order = Reorder()
    taken: list[tuple[int, int]] = []
    for chunk in chunks:
        verdict, items = feed(order, chunk)
        if verdict is Verdict.RESTART:
            drain(order, 0.0, everything=True)
            order.resume(chunk)
            taken = []
            items = feed(order, chunk)[1]
        taken += items
        assert len(order.held) <= WINDOW
    assert all(before[1] < after[1] for before, after in pairwise(taken))
