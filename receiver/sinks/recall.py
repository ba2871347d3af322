"""A recall: what one feed reads of its stream's history, in other threads and one read at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from receiver.events import Ended, Event, Frame, Gap
from receiver.logs import logger
from receiver.sinks.failure import describe_failure
from receiver.sinks.history import OpenHistory
from receiver.sinks.workers import Workers

log = logger("receiver.sinks")


class Recall:
    """Asked by the taking side of a feed, which is woken when there is an answer. ``close`` is for any thread.

    The read that is on its way belongs to nobody but this: whoever waited for it may be cancelled, and the next one
    to come finds the answer. No more than one answer is held.
    """

    def __init__(self, open_history: OpenHistory, workers: Workers, **context: str) -> None:
        """``context``: what log lines are to say, the sink and the stream."""
        self.over = False
        """Nothing more will ever come behind the answer that is there."""
        self._open = open_history
        self._workers = workers
        self._log = log.bind(**context)
        self._wake: Callable[[], object] = lambda: None
        self._lock = threading.Lock()  # held for a few assignments, never while anything runs
        self._closed = False
        self._busy = False
        self._answer: Sequence[Frame | Gap] | None = None
        self._close_history: Callable[[], None] | None = None
        self._read: Callable[[], Sequence[Event] | None] | None = None  # once it is open

    def on_answer(self, wake: Callable[[], object]) -> None:
        """Have ``wake`` called, on any thread, when a read has been answered."""
        self._wake = wake

    def ask(self, positions: Mapping[str, int]) -> None:
        """Have the next events read that end behind ``positions``, by track, unless a read is on its way."""
        with self._lock:
            if self._closed or self._busy or self._answer is not None or self.over:
                return
            self._busy = True
        self._workers.submit(partial(self._work, positions))

    def answer(self) -> Sequence[Frame | Gap] | None:
        """What the last read gave, once; empty: nothing more is there yet. None: it is not answered."""
        if self._busy:  # or the answer might come between the next two steps
            return None
        answer, self._answer = self._answer, None
        return answer

    def close(self) -> None:
        """Let go of the history: at once in another thread, or when the read that is on its way has ended."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._wake = lambda: None  # who is woken has this: nothing of a stream that is over refers to itself
            if self._busy or self._close_history is None:
                return
        self._workers.submit(self._let_go)

    def _work(self, positions: Mapping[str, int]) -> None:
        read: Sequence[Event] | None = None
        if not self._closed:
            try:
                read = self._first_read() if self._read is None else self._read()
            except Exception as error:
                self._log.error("history_not_read", **describe_failure(error))
        audio = [event for event in read or () if isinstance(event, (Frame, Gap))]
        news = [rest for event in audio if (rest := rest_of(event, positions.get(event.track, 0))) is not None]
        over = read is None or any(isinstance(event, Ended) for event in read)
        with self._lock:
            closed = self._closed
            again = bool(read) and not news and not over
            if not closed and not again:
                self._answer = news
                self.over = over
                self._busy = False
        if closed:
            self._let_go()
        elif again:
            self._workers.submit(partial(self._work, positions))  # all of it had passed; others get their turn between
        else:
            self._wake()

    def _first_read(self) -> Sequence[Event] | None:
        history = self._open()
        self._read, self._close_history = history.read, history.close
        return history.read()

    def _let_go(self) -> None:
        if self._close_history is not None:
            try:
                self._close_history()
            except Exception as error:
                self._log.error("history_not_closed", **describe_failure(error))


def rest_of(event: Frame | Gap, start: int) -> Frame | Gap | None:
    """The part of an event that lies behind ``start``; None: there is none."""
    if event.start >= start:
        return event
    if event.end <= start:
        return None
    if isinstance(event, Gap):
        return Gap(event.track, start, event.end, event.rate, event.cause)
    return Frame(event.track, start, event.rate, event.samples[start - event.start :])
