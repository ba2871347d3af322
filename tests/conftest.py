"""What holds for all tests."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from hypothesis import HealthCheck, settings

# A machine that does other things as well fails no test for its pace.
settings.register_profile("at any pace", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("at any pace")

WATCHED = {"asgi", "sinks", "transcribe"}
"""Folders whose tests run event loops that must not wait for a disk, a lock or a socket."""


@pytest.fixture(autouse=True)
def nothing_blocks_a_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """Our code raises where it blocks an event loop, unless the test is marked ``blocks`` and does so on purpose."""
    if request.path.parent.name not in WATCHED or request.node.get_closest_marker("blocks"):
        yield
        return
    with blockbuster_ctx(["receiver", "receiver_plugins"]) as watching:
        # When a function runs for the first time, who measures coverage takes a lock of its own.
        watching.functions["threading.Lock.acquire"].can_block_in("coverage/collector.py", {"lock_data"})
        yield


class _Listening(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.events: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.msg, dict):
            self.events.append({"log_level": record.levelname.lower(), **record.msg})


@pytest.fixture
def capture_logs() -> Callable[[], AbstractContextManager[list[dict[str, Any]]]]:
    """``with capture_logs() as logs``: what our own loggers say meanwhile, as the dictionaries that they say."""

    @contextmanager
    def capture() -> Iterator[list[dict[str, Any]]]:
        listening, ours = _Listening(), logging.getLogger("receiver")
        level = ours.level
        ours.addHandler(listening)
        ours.setLevel(logging.DEBUG)
        try:
            yield listening.events
        finally:
            ours.setLevel(level)
            ours.removeHandler(listening)

    return capture
