"""An ending: whoever wants to hear of it does, on whichever thread it comes."""

from __future__ import annotations

import threading

from receiver.sinks.ending import Ending


def test_who_asked_before_is_told_when_it_is_over_and_not_earlier() -> None:
    ending, told = Ending(), list[str]()
    ending.tell(lambda: told.append("first"))
    ending.tell(lambda: told.append("second"))
    assert not ending.over and not told
    ending.set()
    assert ending.over and told == ["first", "second"]


def test_who_asks_later_is_told_at_once() -> None:
    ending, told = Ending(), list[str]()
    ending.set()
    ending.tell(lambda: told.append("late"))
    assert told == ["late"]


def test_nobody_is_forgotten_when_threads_end_it_while_others_ask() -> None:
    for _ in range(200):
        ending, start = Ending(), threading.Barrier(4)
        told = [threading.Event() for _ in range(2)]

        def end(ending: Ending = ending, start: threading.Barrier = start) -> None:
            start.wait()
            ending.set()

        def ask(heard: threading.Event, ending: Ending = ending, start: threading.Barrier = start) -> None:
            start.wait()
            ending.tell(heard.set)

        threads = [threading.Thread(target=end) for _ in range(2)]
        threads += [threading.Thread(target=ask, args=(heard,)) for heard in told]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ending.over and all(heard.is_set() for heard in told)
