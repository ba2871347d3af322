"""Audio that is read where it is wanted, and let go of once it is settled."""

from __future__ import annotations

import numpy as np
import pytest
from receiver_plugins.transcribe.utterance import Utterance

SAMPLES = np.arange(1000, dtype=np.int16)


def utterance(*sizes: int, start: int = 5000) -> Utterance:
    one = Utterance(1, start)
    at = 0
    for size in sizes:
        one.put(SAMPLES[at : at + size])
        at += size
    return one


@pytest.mark.parametrize("sizes", [(1000,), (480, 480, 40), (1,) * 1000, (999, 1)])
def test_any_span_can_be_read_however_it_came(sizes: tuple[int, ...]) -> None:
    one = utterance(*sizes)
    assert (one.start, one.end) == (5000, 6000)
    for first, most in ((0, 1000), (0, 5000), (3, 1), (479, 3), (990, 100), (999, 1), (1000, 10)):
        assert np.array_equal(one.read(5000 + first, most), SAMPLES[first : first + most])


def test_what_is_settled_is_let_go_and_the_rest_is_there() -> None:
    one = utterance(480, 480, 40)
    assert one.settle(5500) == 500
    assert one.settle(5100) == 0  # nothing is taken back
    assert np.array_equal(one.read(5500, 1000), SAMPLES[500:])
    assert one.settle(9999) == 500  # nor ahead of what there is
    assert one.settled == 6000 and len(one.read(6000, 10)) == 0
    assert len(one._pieces) == 0


def test_it_is_done_when_it_is_over_and_settled() -> None:
    one = utterance(10)
    one.settle(5010)
    assert not one.done
    one.over = True
    assert one.done
