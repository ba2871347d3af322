from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from receiver.config import Config
from receiver.problems import config_error

OPEN = {"use": "none"}


def _error(table: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate(table)
    error = config_error(caught.value)
    return error.key, error.problem


def _token(**token: Any) -> dict[str, Any]:
    return {"sources": {"a": {"auth": {"use": "bearer", "tokens": [token]}}}}


def _path_token(path: str, **auth: Any) -> dict[str, Any]:
    auth = {"use": "path_token", "tokens": [{"name": "a", "env": "A"}], **auth}
    return {"sources": {"a": {"path": path, "auth": auth}}}


def _signed(path: str = "/x", **auth: Any) -> dict[str, Any]:
    auth = {"use": "twilio_signature", "key": {"env": "A"}, "public_url": "wss://a.example", **auth}
    return {"sources": {"a": {"path": path, "auth": auth}}}


def test_without_any_configuration_there_is_a_source_with_a_token_and_a_recorder() -> None:
    config = Config()
    assert (config.server.host, config.server.port) == ("0.0.0.0", 8080)
    assert (config.management.host, config.management.port) == ("127.0.0.1", 8081)
    auth = config.sources["default"].auth
    assert auth.use == "bearer"
    assert [(token.name, token.env) for token in auth.tokens] == [("main", "RECEIVER_TOKEN")]
    assert config.sinks["wav"].options == {"layout": "both"}
    assert (config.origin, config.base) == (None, Path.cwd())


@pytest.mark.parametrize(
    ("table", "key", "problem"),
    [
        ({"server": {"port": "8080"}}, "server.port", "must be a whole number, not text"),
        ({"server": {"port": 8080.0}}, "server.port", "must be a whole number, not a number with a point"),
        ({"server": {"port": True}}, "server.port", "must be a whole number, not true or false"),
        ({"server": {"port": 65536}}, "server.port", "must be at most 65535"),
        ({"server": {"port": -1}}, "server.port", "must be at least 0"),
        ({"server": {"latency_ms": 4}}, "server.latency_ms", "must be at least 5"),
        ({"server": {"latency_ms": 1001}}, "server.latency_ms", "must be at most 1000"),
        ({"server": {"host": 1}}, "server.host", "must be text, not a whole number"),
        ({"server": {"host": ""}}, "server.host", "must not be empty"),
        ({"server": {"drain_timeout_s": "1"}}, "server.drain_timeout_s", "must be a number, not text"),
        ({"server": 1}, "server", "must be a table, not a whole number"),
        ({"server": [1]}, "server", "must be a table, not a list"),
        ({"limits": {"burst_s": float("inf")}}, "limits.burst_s", "must be a finite number"),
        ({"limits": {"burst_s": float("nan")}}, "limits.burst_s", "must be a finite number"),
        ({"limits": {"start_timeout_s": 0}}, "limits.start_timeout_s", "must be greater than 0"),
        ({"management": {"allowed_hosts": "a"}}, "management.allowed_hosts", "must be a list, not text"),
        ({"management": {"allowed_hosts": []}}, "management.allowed_hosts", "must not be empty"),
        ({"management": {"allowed_hosts": [1]}}, "management.allowed_hosts.0", "must be text, not a whole number"),
        ({"limits": {"headers": 129}}, "limits.headers", "must be at most 128"),
        ({"limits": {"header_bytes": 1000}}, "limits.header_bytes", "must be at least 1024"),
        ({"limits": {"open_timeout_s": 0}}, "limits.open_timeout_s", "must be greater than 0"),
        (
            {"limits": {"dead_after_s": 5}},
            "limits.dead_after_s",
            "must be longer than server.ping_interval_s, which it waits for",
        ),
        ({"recordings": {"keep_days": -1}}, "recordings.keep_days", "must be at least 0"),
        ({"recordings": {"keep_days": "30"}}, "recordings.keep_days", "must be a number, not text"),
        (
            {"recordings": {"keep_free_bytes": 1000}, "limits": {"free_bytes": 1000}},
            "recordings.keep_free_bytes",
            "must be more than limits.free_bytes, below which no new streams come",
        ),
        (
            {"server": {"tls": {"certificate": "c"}}},
            "server.tls.key",
            "is required: a certificate and its key go together",
        ),
        (
            {"server": {"tls": {"key": "k"}}},
            "server.tls.certificate",
            "is required: a certificate and its key go together",
        ),
        (
            {"server": {"trusted_proxies": ["10.0.0.1", "10.0.0.1/8"]}},
            "server.trusted_proxies.1",
            "must be an address or a network, e.g. 10.0.0.1 or 10.0.0.0/8",
        ),
        ({"server": {"trusted_proxies": "10.0.0.1"}}, "server.trusted_proxies", "must be a list, not text"),
        (
            {"sources": {"a": {"auth": OPEN, "origins": ["app.example.com"]}}},
            "sources.a.origins.0",
            "must be like https://app.example.com, in small letters, without a path",
        ),
        ({"log": {"level": "trace"}}, "log.level", "must be 'debug', 'info', 'warning' or 'error'"),
        ({"sources": {"a": {}}}, "sources.a.auth", "is required"),
        ({"sources": {"a": {"auth": 1}}}, "sources.a.auth", "must be a table, not a whole number"),
        ({"sources": {"a": {"auth": {}}}}, "sources.a.auth.use", "is required"),
        ({"sources": {"a": {"auth": {"use": "x"}}}}, "sources.a.auth.use", "must be one of 'bearer', "),
        ({"sources": {"a": {"auth": {"use": "bearer"}}}}, "sources.a.auth.tokens", "is required"),
        ({"sources": {"a": {"auth": {"use": "bearer", "tokens": []}}}}, "sources.a.auth.tokens", "must not be empty"),
        (_path_token("/calls"), "sources.a.path", "needs the part {token}"),
        (_path_token("/calls/{token}", tokens=[]), "sources.a.auth.tokens", "must not be empty"),
        ({"sources": {"a": {"auth": OPEN, "path": "/{token}/x"}}}, "sources.a.path", "has the part {token}"),
        (_signed(path="/x/{token}"), "sources.a.path", "has the part {token}"),
        (_signed(key=None), "sources.a.auth.key", "must be a table"),
        (_signed(key="s3cr3t"), "sources.a.auth.key", "must be a table, not text"),
        (_signed(key={}), "sources.a.auth.key", 'needs either env = "NAME" or file = "path"'),
        (_signed(secondary_key={"env": ""}), "sources.a.auth.secondary_key.env", "must not be empty"),
        (_signed(key={"env": "A", "name": "x"}), "sources.a.auth.key.name", "is not a key here"),
        (_signed(public_url="ws://a"), "sources.a.auth.public_url", "must start with wss:// or https://"),
        (_signed(tokens=[]), "sources.a.auth.tokens", "is not a key here"),
        ({"sources": {"a": {"auth": {"use": "twilio_signature"}}}}, "sources.a.auth.key", "is required"),
        ({"sources": {}}, "sources", "must not be empty"),
        ({"sources": {"auth": {"auth": OPEN, "path": "x"}}}, "sources.auth.path", "must start with /"),
        ({"sources": {"a": {"auth": OPEN, "encodings": {"x": "G729"}}}}, "sources.a.encodings.x", "must be 'PCMU', "),
        ({"recordings": {"directory": 1}}, "recordings.directory", "must be a path, as text, not a whole number"),
        ({"recordings": {"path": "{foo}/x"}}, "recordings.path", "{foo} is not one of {date}"),
        ({"recordings": {"path": "/x"}}, "recordings.path", "'/x' must be a relative path"),
        ({"recordings": {"path": "a/../x"}}, "recordings.path", "'a/../x' must be a relative path"),
        ({"sinks": {"a": {}}}, "sinks.a.use", "is required"),
        ({"sinks": {"a": {"use": "x", "on_error": "x"}}}, "sinks.a.on_error", "must be 'stop' or 'restart'"),
        ({"sinks": {"a": {"use": "x", "when": {"b": 1.5}}}}, "sinks.a.when.b", "must be text, a whole number, true or"),
        ({"sinks": {"a": {"use": "x", "options": 1}}}, "sinks.a.options", "must be a table, not a whole number"),
        ({"sinks": {"a": {"use": "x", "sources": ["b", "a"]}}}, "sinks.a.sources", "names no source: a, b"),
        (_token(name="a", env=7), "sources.a.auth.tokens.0.env", "must be text, not a whole number"),
        (_token(name="a b", env="A"), "sources.a.auth.tokens.0.name", "must match ^[A-Za-z0-9._-]{1,64}$"),
        (_token(name="a"), "sources.a.auth.tokens.0", 'needs either env = "NAME" or file = "path"'),
        (_token(name="a", env="A", file="f"), "sources.a.auth.tokens.0", 'needs either env = "NAME" or file = "path"'),
    ],
)
def test_what_cannot_be_used_is_named_with_what_was_expected(table: dict[str, Any], key: str, problem: str) -> None:
    found, said = _error(table)
    assert found == key
    assert said.startswith(problem)


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ({"capture": {"enabled": False}}, "capture"),
        ({"server": {"prot": 1}}, "server.prot"),
        ({"sources": {"a": {"auth": OPEN, "pat": "/"}}}, "sources.a.pat"),
        ({"sources": {"a": {"auth": {"use": "none", "tokens": []}}}}, "sources.a.auth.tokens"),
        ({"sinks": {"a": {"use": "x", "layout": "both"}}}, "sinks.a.layout"),
    ],
)
def test_an_unknown_key_is_named_and_the_known_ones_with_it(table: dict[str, Any], key: str) -> None:
    found, said = _error(table)
    assert found == key
    assert said.startswith("is not a key here; the keys are ")


def test_several_problems_name_the_first_and_list_the_others() -> None:
    assert _error({"server": {"host": 1, "port": "x"}, "log": {"level": 1}}) == (
        "server.host",
        "must be text, not a whole number; also wrong: log.level, server.port",
    )


@pytest.mark.parametrize("name", ["A", "1a", "_a", "a_", "a__b", "a-b", "a.b", "", "ä", "a\n"])
@pytest.mark.parametrize("section", ["sources", "sinks"])
def test_names_are_such_that_a_variable_can_spell_them(section: str, name: str) -> None:
    key, said = _error({section: {name: {"use": "x"} if section == "sinks" else {"auth": OPEN}}})
    assert key.startswith(section)
    assert "small letters" in said


@pytest.mark.parametrize("name", ["a", "a1", "a_b", "a_1_b2"])
def test_names_may_have_single_underscores_and_digits(name: str) -> None:
    config = Config.model_validate(
        {"sources": {name: {"auth": OPEN}}, "sinks": {name: {"use": "x", "sources": [name]}}}
    )
    assert set(config.sources) == set(config.sinks) == {name}


def test_both_ports_may_be_any_free_one_and_times_may_have_fractions() -> None:
    table = {"server": {"port": 0, "shutdown_delay_s": 0.2}, "management": {"port": 0}, "limits": {"idle_timeout_s": 0}}
    config = Config.model_validate(table)
    assert (config.server.port, config.management.port) == (0, 0)
    assert (config.server.shutdown_delay_s, config.limits.idle_timeout_s) == (0.2, 0)


def test_a_sink_may_choose_streams_by_text_number_and_truth() -> None:
    when = {"consent": "yes", "line": 2, "test": False}
    assert Config.model_validate({"sinks": {"a": {"use": "x", "when": when}}}).sinks["a"].when == when


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Config().server.port = 1  # type: ignore[misc]  # that is the point


def test_the_default_source_waits_for_a_token() -> None:
    config = Config.model_validate({}, context={"environ": {}})
    assert config.needs_token()


def test_a_token_in_the_environment_is_enough() -> None:
    assert not Config.model_validate({}, context={"environ": {"RECEIVER_TOKEN": "x"}}).needs_token()


def test_a_source_that_was_written_out_never_gets_a_token_by_itself() -> None:
    table = _token(name="main", env="RECEIVER_TOKEN")
    assert not Config.model_validate(table, context={"environ": {}}).needs_token()


def test_secrets_get_the_folder_and_the_variables(tmp_path: Path) -> None:
    config = Config.model_validate({}, context={"base": tmp_path, "environ": {"A": "s3cr3t"}})
    assert (config.base, config.environ) == (tmp_path, {"A": "s3cr3t"})
    assert "s3cr3t" not in f"{config!r} {config} {config.model_dump_json()}"


def test_captures_are_kept_of_nothing_unless_they_are_asked_for() -> None:
    assert Config().captures.model_dump() == {"enabled": False, "sources": None, "when": {}}
    table = {"enabled": True, "sources": ["default"], "when": {"capture": "yes", "line": 2}}
    assert Config.model_validate({"captures": table}).captures.when == {"capture": "yes", "line": 2}
    assert _error({"captures": {"sources": ["defualt"]}}) == ("captures.sources", "names no source: defualt")


def test_keys_that_a_caller_presses_are_masked_unless_they_are_to_be_kept() -> None:
    assert Config().privacy.digits == "mask"
    assert Config.model_validate({"privacy": {"digits": "keep"}}).privacy.digits == "keep"
    assert _error({"privacy": {"digits": True}})[0] == "privacy.digits"


def test_the_two_listeners_need_two_ports() -> None:
    key, said = _error({"server": {"port": 8081}})
    assert key == "management.port"
    assert "server.port" in said
    assert Config.model_validate({"server": {"port": 0}, "management": {"port": 0}}).server.port == 0


def test_a_dead_peer_may_be_looked_for_without_pings_or_not_at_all() -> None:
    for server, limits in (({"ping_interval_s": 0}, {"dead_after_s": 1}), ({}, {"dead_after_s": 0})):
        assert Config.model_validate({"server": server, "limits": limits}).limits.dead_after_s == limits["dead_after_s"]


def test_a_certificate_is_one_with_its_key() -> None:
    tls = Config.model_validate({"server": {"tls": {"certificate": "c.pem", "key": "k.pem"}}}).server.tls
    assert (tls.certificate, tls.key) == (Path("c.pem"), Path("k.pem"))
    assert Config().server.tls.certificate is None


def test_recordings_stay_for_ever_unless_they_are_not_to() -> None:
    assert (Config().recordings.keep_days, Config().recordings.keep_free_bytes) == (0, 0)
    limits, recordings = {"free_bytes": 1000}, {"keep_days": 0.5, "keep_free_bytes": 1001}
    config = Config.model_validate({"limits": limits, "recordings": recordings})
    assert (config.recordings.keep_days, config.recordings.keep_free_bytes) == (0.5, 1001)
