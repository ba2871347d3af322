from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from receiver.config_file import load_config
from receiver.errors import ConfigError
from receiver.tokens import source_tokens

OPEN = 'auth = { use = "none" }\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _port(path: str, port: int) -> Path:
    file = Path(path)
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"[server]\nport = {port}\n")
    return file


def test_the_file_that_was_asked_for_goes_before_the_variable_the_folder_and_the_defaults() -> None:
    assert load_config(None, {}).server.port == 8080
    _port("config.toml", 1)
    assert load_config(None, {}).server.port == 1
    named = _port("named.toml", 2)
    assert load_config(None, {"RECEIVER_CONFIG": str(named)}).server.port == 2
    assert load_config(_port("asked.toml", 3), {"RECEIVER_CONFIG": str(named)}).server.port == 3


def test_it_is_known_which_file_was_read_and_where_its_paths_start(folder: Path) -> None:
    file = _port("etc/my.toml", 1)
    config = load_config(file, {})
    assert (config.origin, config.base) == (file, folder / "etc")
    default = load_config(None, {})
    assert (default.origin, default.base) == (None, folder)


def test_paths_start_beside_a_link_to_the_file_and_not_where_it_points(folder: Path) -> None:
    _port("data/config.toml", 1)
    Path("link.toml").symlink_to("data/config.toml")
    assert load_config(Path("link.toml"), {}).base == folder


def test_a_variable_set_to_nothing_is_unset() -> None:
    environ = {"RECEIVER_CONFIG": "", "RECEIVER_TOKEN": "", "RECEIVER_TOKEN_FILE": ""}
    config = load_config(None, environ)
    assert config.origin is None
    assert config.needs_token()


def test_a_file_that_was_asked_for_and_is_not_there_stops_the_start() -> None:
    with pytest.raises(ConfigError, match=r"configuration file gone\.toml is not there"):
        load_config(Path("gone.toml"), {})
    with pytest.raises(ConfigError, match=r"gone\.toml, which RECEIVER_CONFIG names, is not there"):
        load_config(None, {"RECEIVER_CONFIG": "gone.toml"})


def test_a_file_may_come_from_a_pipe(folder: Path) -> None:
    os.mkfifo("pipe")
    writer = threading.Thread(target=lambda: Path("pipe").write_text("[server]\nport = 5\n"))
    writer.start()
    assert load_config(folder / "pipe", {}).server.port == 5
    writer.join()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[server]\nport = 1\nport 2\n", "(at line 3, column 6)"),
        (b"[server\n", "(at line 1, column 8)"),
        (b"[log]\n# \xff\n", "not UTF-8 text (at line 2)"),
    ],
)
def test_a_file_that_is_not_toml_is_named_with_the_line(content: bytes, said: str) -> None:
    Path("config.toml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(None, {})
    assert str(caught.value).startswith("config.toml: ")
    assert said in str(caught.value)


def test_a_folder_is_no_file() -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(Path("."), {})


def test_a_key_of_the_file_that_is_wrong_is_named() -> None:
    Path("config.toml").write_text("[server]\nport = '8080'\n")
    with pytest.raises(ConfigError) as caught:
        load_config(None, {})
    assert caught.value.key == "server.port"
    assert str(caught.value) == "server.port: must be a whole number, not text"


def test_keys_that_a_file_leaves_out_have_their_defaults_and_sources_and_sinks_replace() -> None:
    Path("config.toml").write_text("[server]\nport = 1\n")
    config = load_config(None, {})
    assert (config.server.port, config.server.latency_ms) == (1, 100)
    assert (set(config.sources), set(config.sinks)) == ({"default"}, {"wav"})
    Path("config.toml").write_text(f"[sources.phone]\n{OPEN}")
    config = load_config(None, {})
    assert (set(config.sources), set(config.sinks)) == ({"phone"}, {"wav"})
    Path("config.toml").write_text("[sinks.mine]\nuse = './mine.py'\n")
    config = load_config(None, {})
    assert (set(config.sources), set(config.sinks)) == ({"default"}, {"mine"})
    Path("config.toml").write_text("sinks = {}\n")
    assert load_config(None, {}).sinks == {}


def test_the_default_token_is_in_a_variable() -> None:
    config = load_config(None, {"RECEIVER_TOKEN": "from-a-variable"})
    assert not config.needs_token()
    assert [digest.name for digest in source_tokens(config, "default")()] == ["main"]


def test_the_default_token_may_be_in_a_file_relative_to_the_working_directory(folder: Path) -> None:
    Path("token").write_text("from-a-file\n")
    config = load_config(_port("etc/my.toml", 1), {"RECEIVER_TOKEN_FILE": "token"})
    assert not config.needs_token()
    assert [digest.name for digest in source_tokens(config, "default")()] == ["main"]


def test_a_token_file_that_is_not_there_stops_the_start_and_no_token_is_made() -> None:
    config = load_config(None, {"RECEIVER_TOKEN_FILE": "gone"})
    assert not config.needs_token()
    with pytest.raises(ConfigError, match=r"^sources\.default\.auth\.tokens\.0: .*gone cannot be read"):
        source_tokens(config, "default")


def test_two_places_for_the_default_token_are_one_too_many() -> None:
    with pytest.raises(ConfigError, match="RECEIVER_TOKEN_FILE: RECEIVER_TOKEN is set as well") as caught:
        load_config(None, {"RECEIVER_TOKEN": "s3cr3t", "RECEIVER_TOKEN_FILE": "x"})
    assert "s3cr3t" not in str(caught.value)


def test_a_token_is_made_only_for_the_source_that_is_there_by_itself() -> None:
    assert load_config(None, {}).needs_token()
    assert load_config(_port("a.toml", 1), {}).needs_token()
    assert not load_config(None, {"RECEIVER__SOURCES__DEFAULT__AUTH": '{"use": "none"}'}).needs_token()
    Path("b.toml").write_text(
        "[sources.x.auth]\nuse = 'bearer'\ntokens = [{ name = 'main', env = 'RECEIVER_TOKEN' }]\n"
    )
    config = load_config(Path("b.toml"), {})
    assert not config.needs_token()
    with pytest.raises(ConfigError, match="variable RECEIVER_TOKEN is not set or empty"):
        source_tokens(config, "x")


def test_a_token_made_at_the_start_lets_in(folder: Path) -> None:
    environ: dict[str, str] = {}
    assert load_config(None, environ).needs_token()
    config = load_config(None, {**environ, "RECEIVER_TOKEN": "made-at-the-start"})
    assert (config.base, config.origin, config.needs_token()) == (folder, None, False)
    assert [digest.name for digest in source_tokens(config, "default")()] == ["main"]
