"""A recall: reads in other threads, one at a time, and the end of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

from receiver.events import Cause, Digit, Event, Frame, Gap
from receiver.sinks.recall import Recall, rest_of
from receiver.sinks.workers import Workers

RATE = 8000
LONG = 20.0  # seconds, for what must happen and takes as long as the machine needs


@pytest.fixture
def workers() -> Iterator[Workers]:
    workers = Workers("recalling", 2)
    yield workers
    workers.close()


def settle(workers: Workers) -> None:
    """Wait until both threads have done what they were given, twice: a job may give another."""
    for _ in range(2):
        together = threading.Barrier(3)
        for _ in range(2):
            workers.submit(partial(together.wait, LONG))
        together.wait(LONG)


def frame(start: int, count: int = 160) -> Frame:
    return Frame("inbound", start, RATE, np.arange(start, start + count, dtype=np.int16))


def read(recall: Recall, woken: threading.Event, **positions: int) -> list[Frame | Gap]:
    woken.clear()
    recall.ask(positions)
    assert woken.wait(LONG)
    answer = recall.answer()
    assert answer is not None
    return list(answer)


def test_it_answers_with_what_is_new_then_with_nothing_then_it_is_over(workers: Workers, town: Any, ended: Any) -> None:
    kept, woken = town.Kept(at_once=3), threading.Event()
    recall = Recall(kept.open, workers)
    recall.on_answer(woken.set)
    assert recall.answer() is None and kept.readings == []  # nothing is opened before it is needed
    kept.add([frame(0), Digit("X", 160, RATE), Gap("inbound", 160, 320, RATE, Cause.LOST), frame(320)])
    first = read(recall, woken)
    assert [(type(event), event.start) for event in first] == [(Frame, 0), (Gap, 160)]
    assert recall.answer() is None
    assert [event.start for event in read(recall, woken, inbound=320)] == [320]
    assert read(recall, woken, inbound=480) == [] and not recall.over
    kept.over = True
    assert read(recall, woken, inbound=480) == [] and recall.over
    recall.ask({})
    settle(workers)
    assert recall.answer() is None
    recall.close()
    settle(workers)
    assert [reading.closed for reading in kept.readings] == [1]


@pytest.fixture
def ended(town: Any) -> Any:
    return town.ended(480)


def test_what_has_passed_is_gone_through_without_an_answer_for_each(workers: Workers, town: Any, ended: Any) -> None:
    kept, woken = town.Kept(at_once=1), threading.Event()
    kept.add([frame(160 * number) for number in range(100)])
    recall = Recall(kept.open, workers)
    recall.on_answer(woken.set)
    (only,) = read(recall, woken, inbound=160 * 99 + 60)
    assert (only.start, only.end) == (160 * 99 + 60, 16000)
    assert kept.readings[0].reads == 100
    kept.add([ended])
    assert read(recall, woken, inbound=16000) == []
    assert recall.over  # nothing follows Ended


def test_only_one_read_is_on_its_way_and_its_answer_is_kept_for_whoever_comes(workers: Workers, town: Any) -> None:
    kept, woken = town.Kept(), threading.Event()
    kept.add([frame(0)])
    kept.gate.clear()
    recall = Recall(kept.open, workers)
    recall.on_answer(woken.set)
    for _ in range(3):
        recall.ask({})
    assert kept.inside.wait(LONG)
    kept.gate.set()
    assert woken.wait(LONG)
    recall.ask({})  # the answer has not been taken: it is no more than one
    settle(workers)
    assert kept.readings[0].reads == 1
    assert len(recall.answer() or ()) == 1


@pytest.mark.parametrize("when", ["before", "idle", "reading", "waiting"])
def test_it_is_closed_once_and_never_beside_a_read(workers: Workers, town: Any, when: str) -> None:
    kept, woken = town.Kept(), threading.Event()
    kept.add([frame(0)])
    recall = Recall(kept.open, workers)
    recall.on_answer(woken.set)
    if when == "idle":
        read(recall, woken)
    elif when == "reading":
        kept.gate.clear()
        recall.ask({})
        assert kept.inside.wait(LONG)
    elif when == "waiting":  # for a thread to read
        kept.gate.clear()
        others = [Recall(kept.open, workers) for _ in range(2)]
        for other in others:
            other.ask({})
        recall.ask({})
    woken.clear()
    threads = [threading.Thread(target=recall.close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert when != "reading" or kept.readings[0].closed == 0
    kept.gate.set()
    settle(workers)
    settle(workers)
    if when == "waiting":
        assert len(kept.readings) == 2  # it was not even opened
        for other in others:
            other.close()
        settle(workers)
    assert [reading.closed for reading in kept.readings] == {"before": [], "waiting": [1, 1]}.get(when, [1])
    recall.ask({})
    settle(workers)
    assert recall.answer() is None and not woken.is_set()


@pytest.mark.parametrize("place", ["opening", "reading", "closing"])
def test_a_history_that_fails_is_logged_and_over(workers: Workers, capture_logs: Any, place: str) -> None:
    closed: list[str] = []

    class Broken:
        def __init__(self) -> None:
            if place == "opening":
                raise FileNotFoundError(2, "No such file", "spill.jsonl")

        def read(self) -> list[Event]:
            if place == "reading":
                raise OSError(5, "Input/output error")
            return [frame(0)]

        def close(self) -> None:
            closed.append("closed")
            if place == "closing":
                raise OSError(5, "Input/output error")

    woken = threading.Event()
    recall = Recall(Broken, workers, sink="wav", stream="0198")
    recall.on_answer(woken.set)
    with capture_logs() as logs:
        news = read(recall, woken)
        recall.close()
        settle(workers)
    assert (len(news), recall.over) == ((1, False) if place == "closing" else (0, True))
    assert closed == ([] if place == "opening" else ["closed"])
    (line,) = logs
    assert line["event"] == ("history_not_closed" if place == "closing" else "history_not_read")
    assert (line["sink"], line["stream"]) == ("wav", "0198")


def test_the_rest_of_an_event_keeps_its_samples() -> None:
    whole = frame(100, 10)
    gap = Gap("inbound", 100, 110, RATE, Cause.LOST)
    assert rest_of(whole, 50) is whole
    assert rest_of(gap, 100) is gap
    cut = rest_of(whole, 104)
    assert isinstance(cut, Frame) and (cut.start, cut.samples.tolist()) == (104, [104, 105, 106, 107, 108, 109])
    assert rest_of(gap, 104) == Gap("inbound", 104, 110, RATE, Cause.LOST)
    assert rest_of(whole, 110) is None and rest_of(gap, 111) is None
