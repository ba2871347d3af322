from __future__ import annotations

from pathlib import Path

import pytest

from receiver.errors import ConfigError
from receiver.sinks.finding import find_sink
from receiver.testing import handed
from receiver.testing.handed import handing


async def sink(stream: object, events: object) -> None: ...


def test_what_is_handed_over_is_found_by_its_use_as_the_object_it_is() -> None:
    with handing() as hand:
        first, second = hand(sink), hand(5)
        assert find_sink(first, Path(), "sinks.a.use") == (sink, handed)
        assert find_sink(second, Path(), "sinks.b.use")[0] == 5


def test_afterwards_it_is_gone_and_others_are_not() -> None:
    with handing() as outer:
        kept = outer(sink)
        with handing() as hand:
            use = hand(sink)
        with pytest.raises(ConfigError, match="has no attribute"):
            find_sink(use, Path(), "sinks.a.use")
        assert find_sink(kept, Path(), "sinks.a.use")[0] is sink


def test_it_is_gone_also_where_an_exception_leaves() -> None:
    with pytest.raises(ZeroDivisionError), handing() as hand:
        use = hand(sink)
        raise ZeroDivisionError
    assert not hasattr(handed, use.rpartition(":")[2])


def test_a_plugins_check_beside_it_is_not_found_here() -> None:
    assert not hasattr(handed, "check")
