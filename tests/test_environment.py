from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from receiver.config import Config
from receiver.config_file import load_config
from receiver.environment import override
from receiver.errors import ConfigError

FILE = """
[sources.phone]
path = "/phone"
auth = { use = "bearer", tokens = [{ name = "main", env = "TOKEN" }] }
[sources.lab]
path = "/lab"
auth = { use = "none" }
[sinks.mine]
use = "./mine.py"
options = { Rate = 1, inner = { depth = 1 } }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text(FILE)
    return tmp_path / "config.toml"


def _value(config: Config, key: str) -> object:
    value: Any = config
    for part in key.split("."):
        value = value[part] if isinstance(value, dict) else getattr(value, part)
    return value


@pytest.mark.parametrize(
    ("variable", "text", "key", "value"),
    [
        ("SERVER__PORT", "9000", "server.port", 9000),
        ("SERVER__HOST", "127.0.0.1", "server.host", "127.0.0.1"),
        ("SERVER__HOST", "1", "server.host", "1"),
        ("SERVER__SHUTDOWN_DELAY_S", "0.5", "server.shutdown_delay_s", 0.5),
        ("SERVER__DRAIN_TIMEOUT_S", "5", "server.drain_timeout_s", 5.0),
        ("MANAGEMENT__ALLOWED_HOSTS", '["a", "b"]', "management.allowed_hosts", ("a", "b")),
        ("LOG__LEVEL", "debug", "log.level", "debug"),
        ("LOG", '{"level": "error"}', "log.level", "error"),
        ("RECORDINGS__DIRECTORY", "2026", "recordings.directory", Path("2026")),
        ("SOURCES__PHONE__PATH", "/p", "sources.phone.path", "/p"),
        ("SOURCES__PHONE__L16_BYTE_ORDER", "big", "sources.phone.l16_byte_order", "big"),
        ("SOURCES__PHONE__ENCODINGS__ULAW", "PCMU", "sources.phone.encodings", {"ulaw": "PCMU"}),
        ("SOURCES__PHONE__AUTH", '{"use": "none"}', "sources.phone.auth.use", "none"),
        ("SINKS__MINE__USE", "wav", "sinks.mine.use", "wav"),
        ("SINKS__MINE__SOURCES", '["lab"]', "sinks.mine.sources", ("lab",)),
        ("SINKS__MINE__SOURCES", "null", "sinks.mine.sources", None),
        ("SINKS__MINE__WHEN__CONSENT", "yes", "sinks.mine.when", {"consent": "yes"}),
        ("SINKS__MINE__WHEN__LINE", "2", "sinks.mine.when", {"line": 2}),
        ("SINKS__MINE__WHEN__TEST", "true", "sinks.mine.when", {"test": True}),
        ("SINKS__MINE__WHEN__LINE", '"2"', "sinks.mine.when", {"line": "2"}),
        ("SINKS__MINE__OPTIONS__MODEL", "small", "sinks.mine.options.model", "small"),
        ("SINKS__MINE__OPTIONS__TOKEN", '{"env": "A"}', "sinks.mine.options.token", {"env": "A"}),
        ("SINKS__MINE__OPTIONS__INNER__DEPTH", "2", "sinks.mine.options.inner", {"depth": 2}),
        ("SINKS__MINE__OPTIONS", "{}", "sinks.mine.options", {}),
    ],
)
def test_a_variable_sets_a_key_by_what_the_key_is(
    file: Path, variable: str, text: str, key: str, value: object
) -> None:
    assert _value(load_config(file, {f"RECEIVER__{variable}": text}), key) == value


@pytest.mark.parametrize(
    "variable",
    [
        "",
        "SERVER__",
        "__PORT",
        "SERVER__PROT",
        "SERVER__PORT__X",
        "SERVER___PORT",
        "server__port",
        "Server__Port",
        "NOTHING",
        "NOTHING__AT__ALL",
        "CAPTURES__DIRECTORY",
        "SINKS__WAV__USE",
        "SINKS__NEW",
        "SINKS__NEW__USE",
        "SOURCES__DEFAULT__PATH",
        "SOURCES__PHONE__AUTH__TOKENS__0__ENV",
        "SOURCES__LAB__AUTH__TOKENS",
        "SOURCES__PHONE__AUTH__NOTHING",
        "SINKS__MINE__OPTIONS__",
        "SINKS__MINE__OPTIONS__NEW__KEY",
        "SINKS__MINE__WHEN__A__B",
        "SINKS__MINE__WHEN__",
    ],
)
def test_a_variable_that_matches_nothing_stops_the_start_and_is_named_without_its_value(
    file: Path, variable: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(file, {f"RECEIVER__{variable}": "s3cr3t"})
    assert caught.value.key == f"RECEIVER__{variable}"
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("SERVER__PORT", "s3cr3t", "server.port: must be a whole number, not text"),
        ("SERVER__PORT", "70000", "server.port: must be at most 65535"),
        ("SERVER__DRAIN_TIMEOUT_S", "", "server.drain_timeout_s: must be a number, not text"),
        ("MANAGEMENT__ALLOWED_HOSTS", "s3cr3t", "management.allowed_hosts: must be a list, not text"),
        ("MANAGEMENT__ALLOWED_HOSTS", "[1]", "management.allowed_hosts.0: must be text, not a whole number"),
        ("SERVER", "s3cr3t", "server: must be a table, not text"),
        ("SINKS", "[1", "sinks: must be a table, not text"),
        ("SOURCES__PHONE__AUTH__TOKENS", '["s3cr3t"]', "sources.phone.auth.tokens.0: must be a table, not text"),
    ],
)
def test_a_variable_with_a_wrong_value_is_named_beside_the_key(file: Path, variable: str, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(file, {f"RECEIVER__{variable}": text})
    assert str(caught.value) == f"{said} (set by RECEIVER__{variable})"


def test_without_a_file_a_variable_reaches_what_is_there_by_itself() -> None:
    environ = {
        "RECEIVER__SINKS__WAV__OPTIONS__LAYOUT": "stereo",
        "RECEIVER__SOURCES__DEFAULT__PATH": "/calls",
        "RECEIVER__SOURCES__DEFAULT__AUTH__TOKENS": '[{"name": "other", "env": "OTHER"}]',
    }
    table: dict[str, Any] = load_config(None, environ).model_dump()
    assert table["sinks"]["wav"]["options"] == {"layout": "stereo"}
    assert table["sources"]["default"]["path"] == "/calls"
    assert table["sources"]["default"]["auth"]["tokens"][0]["env"] == "OTHER"


def test_one_variable_may_replace_a_table_and_another_change_the_new_one(file: Path) -> None:
    environ = {"RECEIVER__SINKS__NEW__THREADS": "3", "RECEIVER__SINKS": '{"new": {"use": "wav"}}'}
    config = load_config(file, environ)
    assert list(config.sinks) == ["new"]
    assert config.sinks["new"].threads == 3


def test_a_table_whose_authenticator_is_unknown_has_no_keys() -> None:
    for auth in ({"use": "guess"}, {}, {"use": ["x"]}):
        table = {"sources": {"a": {"auth": auth}}}
        with pytest.raises(ConfigError):
            override(table, Config, {"RECEIVER__SOURCES__A__AUTH__TOKENS": "[]"})


def test_a_table_that_is_required_is_not_made() -> None:
    with pytest.raises(ConfigError):
        override({"sources": {"a": {}}}, Config, {"RECEIVER__SOURCES__A__AUTH__USE": "none"})


def test_other_variables_are_left_alone() -> None:
    table: dict[str, Any] = {}
    assert override(table, Config, {"RECEIVER_TOKEN": "x", "RECEIVER": "x", "PATH": "x", "receiver__a": "x"}) == {}
    assert table == {}
