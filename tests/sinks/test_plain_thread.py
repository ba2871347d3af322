"""A plain thread: how a function ended, and who is told when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from receiver.sinks.plain_thread import PlainThread
from receiver.sinks.sink_loop import SinkLoop

LONG = 20.0  # seconds, for what must happen and takes as long as the machine needs


async def nothing() -> None:
    """A sink without anything to close."""


def outcome(work: Callable[[], object]) -> tuple[BaseException | None, list[str]]:
    """How a function ended that ran in a thread, and whether its slot was given back by the thread."""
    loop, let_go = SinkLoop("mine"), list[str]()

    async def run() -> None:
        thread = PlainThread("work", work, loop, lambda: let_go.append("let go"))
        assert thread.running
        try:
            await thread.outcome
        finally:
            assert not thread.running

    try:
        return asyncio.run_coroutine_threadsafe(run(), loop.loop).exception(LONG), let_go
    finally:
        assert asyncio.run(loop.end(nothing, LONG))


async def coroutine() -> None:
    """What a function may return by mistake."""


@pytest.mark.blocks
@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        (None, None),
        (3, "TypeError: a plain sink returns None, not int: is it to be 'async def'?"),
        (coroutine, "TypeError: a plain sink returns None, not coroutine: is it to be 'async def'?"),
        (StopIteration(), "RuntimeError: the sink raised StopIteration()"),
        (ValueError("no"), "ValueError: no"),
    ],
)
def test_how_it_ended_is_told_on_the_loop(returned: Any, problem: str | None) -> None:
    def work() -> object:
        if isinstance(returned, Exception):
            raise returned
        return returned() if callable(returned) else returned

    error, let_go = outcome(work)
    assert problem == (None if error is None else f"{type(error).__name__}: {error}")
    assert let_go == []


@pytest.mark.blocks
def test_the_log_of_the_thread_says_what_that_of_its_maker_does() -> None:
    said: list[dict[str, Any]] = []
    with structlog.contextvars.bound_contextvars(stream="0198"):
        outcome(lambda: said.append(structlog.contextvars.get_contextvars()))
    assert said == [{"stream": "0198"}]


@pytest.mark.blocks
@pytest.mark.parametrize("closed", [False, True])
def test_where_nobody_waits_any_more_the_slot_is_given_back_when_the_thread_ends(closed: bool) -> None:
    loop, gate, let_go = SinkLoop("mine"), threading.Event(), threading.Event()

    async def make() -> PlainThread:
        return PlainThread("work", lambda: gate.wait(LONG) and None, loop, let_go.set)

    thread = asyncio.run_coroutine_threadsafe(make(), loop.loop).result(LONG)
    if closed:
        assert asyncio.run(loop.end(nothing, LONG))
    else:
        asyncio.run_coroutine_threadsafe(asyncio.wait_for(thread.outcome, 0), loop.loop).exception(LONG)
    assert thread.running and not let_go.is_set()
    gate.set()
    assert let_go.wait(LONG)
    if not closed:
        assert asyncio.run(loop.end(nothing, LONG))
