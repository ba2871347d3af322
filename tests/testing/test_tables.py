from __future__ import annotations

from collections.abc import Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from receiver.config import Config
from receiver.errors import ConfigError
from receiver.testing.tables import configuration


async def my_sink(stream: Any, events: Any) -> None: ...


@asynccontextmanager
async def plugin(*, loud: float = 0.5) -> Any:
    yield my_sink


class Levels:
    async def __call__(self, stream: Any, events: Any) -> None: ...


def config(sinks: Any = None, hand: Callable[[Any], str] = lambda given: f"handed:{given}", **tables: Any) -> Config:
    place = Path("/place")
    return configuration(tables, sinks=sinks, hand=hand, directory=place, base=place / "base", token="a-token")


def test_without_tables_it_is_a_server_on_free_ports_that_loses_nothing_at_full_speed() -> None:
    made = config()
    assert (made.server.host, made.server.port, made.management.port) == ("127.0.0.1", 0, 0)
    assert made.server.shutdown_delay_s == 0 and made.limits.burst_s == 0 and made.limits.free_bytes == 0
    assert made.recordings.directory == Path("/place/recordings") and made.base == Path("/place/base")
    assert made.sinks.keys() == {"wav"} and (made.sinks["wav"].buffer_s, made.sinks["wav"].finish_timeout_s) == (
        3600,
        300,
    )
    assert made.environ["RECEIVER_TOKEN"] == "a-token" and not made.needs_token()


def test_what_a_test_says_comes_over_it_key_by_key() -> None:
    made = config({"wav": {"use": "wav", "buffer_s": 2}}, limits={"burst_s": 30}, privacy={"digits": "keep"})
    assert (made.limits.burst_s, made.limits.free_bytes, made.privacy.digits) == (30, 0, "keep")
    assert made.sinks["wav"].buffer_s == 2 and made.sinks["wav"].options == {}


def test_a_source_without_authentication_is_given_the_token_of_the_test() -> None:
    made = config(sources={"a": {"path": "/a", "dialect": "twilio"}, "b": {"path": "/b", "auth": {"use": "none"}}})
    assert made.sources["a"].auth.use == "bearer" and made.sources["b"].auth.use == "none"
    assert made.sources["a"].dialect == "twilio"


def test_variables_of_whoever_runs_the_tests_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECEIVER__LIMITS__BURST_S", "7")
    monkeypatch.setenv("RECEIVER_TOKEN_FILE", "/nowhere")
    monkeypatch.setenv("RECEIVER_TOKEN", "theirs")
    made = config()
    assert made.limits.burst_s == 0 and made.environ["RECEIVER_TOKEN"] == "a-token"
    auth = made.sources["default"].auth
    assert auth.use == "bearer" and auth.tokens[0].env == "RECEIVER_TOKEN" and auth.tokens[0].file is None


@pytest.mark.parametrize(
    ("sink", "use"),
    [
        ("wav", "wav"),
        (Path("there/my_sink.py"), "there/my_sink.py"),
        ({"use": "wav"}, "wav"),
        (my_sink, f"handed:{my_sink}"),
        ({"use": plugin, "options": {"loud": 0.8}}, f"handed:{plugin}"),
    ],
    ids=["a name", "a path", "a table", "a function", "a plugin with options"],
)
def test_a_sink_is_a_use_a_table_or_the_object_itself(sink: Any, use: str) -> None:
    made = config({"mine": sink}).sinks["mine"]
    assert made.use == use
    assert made.options == ({"loud": 0.8} if isinstance(sink, dict) and "options" in sink else {})


@pytest.mark.parametrize(
    ("sinks", "names"),
    [
        ([my_sink], ["my_sink"]),
        ([my_sink, my_sink, "wav", my_sink], ["my_sink", "my_sink_2", "wav", "my_sink_3"]),
        (["./there/my_sink.py", "package.module:MySink"], ["my_sink", "mysink"]),
        ([lambda stream, events: None, Levels(), partial(my_sink)], ["lambda", "levels", "partial"]),
        ([{"use": plugin, "options": {"loud": 0.8}}, Path("9.py")], ["plugin", "sink_9"]),
        ([], []),
    ],
)
def test_in_a_list_sinks_are_named_after_what_they_are(sinks: Any, names: list[str]) -> None:
    assert list(config(sinks).sinks) == names


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"limits": {"burst": 1}}, "limits.burst"),
        ({"limits": 5}, "limits"),
        ({"sources": "all"}, "sources"),
        ({"sources": {"a": 5}}, "sources.a"),
        ({"nonsense": {}}, "nonsense"),
        ({"sinks": "wav"}, "sinks"),
        ({"sinks": {"mine": {"options": {}}}}, "sinks.mine.use"),
        ({"sinks": {"My sink": "wav"}}, "sinks.My sink"),
    ],
)
def test_what_is_wrong_is_named_as_the_server_does(wrong: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config(**wrong)
    assert raised.value.key == key
