"""What holds for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blockbuster import blockbuster_ctx

WATCHED = {"asgi", "sinks"}
"""Folders whose tests run event loops that must not wait for a disk, a lock or a socket."""


@pytest.fixture(autouse=True)
def nothing_blocks_a_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """Our code raises where it blocks an event loop, unless the test is marked ``blocks`` and does so on purpose."""
    if request.path.parent.name not in WATCHED or request.node.get_closest_marker("blocks"):
        yield
        return
    with blockbuster_ctx(["receiver", "receiver_plugins"]):
        yield
