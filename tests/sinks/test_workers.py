"""Workers: few threads, for many jobs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from receiver.sinks.workers import Workers

LONG = 20.0  # seconds, for what must happen and takes as long as the machine needs


def names() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("digging")]


def test_jobs_are_done_by_no_more_threads_than_allowed_and_none_before_there_is_one() -> None:
    workers, done, gate = Workers("digging", 2), list[int](), threading.Event()
    assert names() == []
    together, finished = threading.Barrier(3), threading.Event()

    def job(number: int) -> Callable[[], None]:
        def work() -> None:
            if number < 2:
                together.wait(LONG)
                gate.wait(LONG)
            done.append(number)
            if len(done) == 10:
                finished.set()

        return work

    for number in range(10):
        workers.submit(job(number))
    together.wait(LONG)  # two are at work at once
    assert len(names()) == 2 and done == []
    gate.set()
    assert finished.wait(LONG)
    assert sorted(done) == list(range(10))
    workers.close()
    for thread in threading.enumerate():
        if thread.name.startswith("digging"):
            thread.join(LONG)
    assert names() == []


def test_a_job_that_fails_is_logged_and_the_next_is_done(capture_logs: Any) -> None:
    workers, done = Workers("digging", 1), threading.Event()

    def fail() -> None:
        raise KeyError("no such job")

    with capture_logs() as logs:
        workers.submit(fail)
        workers.submit(done.set)
        assert done.wait(LONG)
    workers.close()
    assert [(line["event"], line["error"]) for line in logs] == [("job_failed", "KeyError: 'no such job'")]


def test_what_was_submitted_before_the_close_is_done() -> None:
    workers, gate, done = Workers("digging", 1), threading.Event(), threading.Event()
    workers.submit(lambda: gate.wait(LONG))
    workers.submit(done.set)
    workers.close()
    gate.set()
    assert done.wait(LONG)
