from __future__ import annotations

import copy
import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from receiver.errors import ConfigError
from receiver.secret import CHECK_EVERY_S, MAX_BYTES, Secret

VALUE = "s3cr3t-value"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Options(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    token: Secret


def test_a_variable_is_read() -> None:
    assert Secret(env="A", environ={"A": VALUE}).value() == VALUE


def test_the_processs_own_variables_are_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET_OF_A_TEST", VALUE)
    assert Secret(env="A_SECRET_OF_A_TEST").value() == VALUE


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_line_ends_after_a_secret_do_not_count(tmp_path: Path, end: str) -> None:
    file = tmp_path / "token"
    file.write_bytes((VALUE + end).encode())
    assert Secret(file=file).value() == VALUE


def test_spaces_are_part_of_a_secret(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f" {VALUE} \n")
    assert Secret(file=tmp_path / "token").value() == f" {VALUE} "


@pytest.mark.parametrize("places", [{}, {"env": "A", "file": Path("a")}])
def test_a_secret_is_in_one_place(places: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="either in env or in file"):
        Secret(**places)


@pytest.mark.parametrize("environ", [{}, {"A": ""}, {"A": "\n"}])
def test_a_variable_that_is_unset_or_empty_is_named(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="variable A is not set or empty"):
        Secret(env="A", environ=environ).value()


def _missing(path: Path) -> None:
    pass


def _empty(path: Path) -> None:
    path.write_text("\n")


def _too_long(path: Path) -> None:
    path.write_bytes(b"x" * (MAX_BYTES + 1))


def _binary(path: Path) -> None:
    path.write_bytes(b"\xff\xfe" + VALUE.encode())


def _pipe(path: Path) -> None:
    os.mkfifo(path)


UNUSABLE = [
    (_missing, "No such file"),
    (_empty, "is empty"),
    (_too_long, "longer than"),
    (_binary, "not UTF-8"),
    (_pipe, "not a regular file"),
    (Path.mkdir, "not a regular file"),
]


@pytest.mark.parametrize(("make", "problem"), UNUSABLE)
def test_a_file_that_never_was_good_stops_and_is_named(
    tmp_path: Path, make: Callable[[Path], object], problem: str
) -> None:
    file = tmp_path / "token"
    make(file)
    with pytest.raises(ConfigError, match=problem) as caught:
        Secret(file=file).value()
    assert str(file) in str(caught.value)
    assert VALUE not in str(caught.value)


@pytest.mark.parametrize(("make", "problem"), UNUSABLE)
def test_a_file_that_became_unusable_keeps_the_last_good_value_and_is_told_of_once(
    capture_logs: Any, tmp_path: Path, make: Callable[[Path], object], problem: str
) -> None:
    file, clock = tmp_path / "token", Clock()
    file.write_text(VALUE)
    secret = Secret(file=file, clock=clock)
    assert secret.value() == VALUE
    file.unlink()
    make(file)
    with capture_logs() as logs:
        for _ in range(3):
            clock.now += CHECK_EVERY_S
            assert secret.value() == VALUE
    assert [entry["log_level"] for entry in logs] == ["warning"]
    assert problem in logs[0]["problem"]
    assert VALUE not in str(logs)


def test_a_file_that_fails_twice_is_told_of_twice(capture_logs: Any, tmp_path: Path) -> None:
    file, clock = tmp_path / "token", Clock()
    secret = Secret(file=file, clock=clock)
    with capture_logs() as logs:
        for content in ("first", "", "second", ""):
            file.write_text(content)
            clock.now += CHECK_EVERY_S
            secret.value()
    assert secret.value() == "second"
    assert len(logs) == 2


def test_a_changed_file_counts_after_half_a_second_and_is_not_read_before(tmp_path: Path) -> None:
    file, clock = tmp_path / "token", Clock()
    file.write_text("one")
    secret = Secret(file=file, clock=clock)
    assert secret.value() == "one"
    file.write_text("two")
    clock.now += CHECK_EVERY_S * 0.9
    assert secret.value() == "one"
    clock.now += CHECK_EVERY_S * 0.1
    assert secret.value() == "two"


def test_a_change_that_keeps_size_and_time_counts(tmp_path: Path) -> None:
    file, clock = tmp_path / "token", Clock()
    file.write_text("one")
    before = file.stat()
    secret = Secret(file=file, clock=clock)
    assert secret.value() == "one"
    file.write_text("two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    clock.now += CHECK_EVERY_S
    assert secret.value() == "two"


def test_a_file_replaced_through_symbolic_links_counts(tmp_path: Path) -> None:
    clock = Clock()
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "token").write_text(folder)
    (tmp_path / "data").symlink_to("a")
    (tmp_path / "token").symlink_to("data/token")
    secret = Secret(file=tmp_path / "token", clock=clock)
    assert secret.value() == "a"
    (tmp_path / "next").symlink_to("b")
    (tmp_path / "next").rename(tmp_path / "data")
    clock.now += CHECK_EVERY_S
    assert secret.value() == "b"


def test_a_changed_file_counts_within_a_second_of_real_time(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    secret = Secret(file=file)
    assert secret.value() == "one"
    file.write_text("two")
    time.sleep(1)
    assert secret.value() == "two"


def test_a_value_that_fails_the_check_is_refused_and_later_not_taken(capture_logs: Any, tmp_path: Path) -> None:
    def check(text: str) -> None:
        if text == "bad":
            raise ValueError("that is no token")

    file, clock = tmp_path / "token", Clock()
    file.write_text("bad")
    secret = Secret(file=file, check=check, clock=clock)
    with pytest.raises(ConfigError, match="that is no token"):
        secret.value()
    file.write_text("good")
    assert secret.value() == "good"
    file.write_text("bad")
    clock.now += CHECK_EVERY_S
    with capture_logs():
        assert secret.value() == "good"


def test_nothing_shows_the_value(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(VALUE)
    secret = Secret(file=tmp_path / "token")
    options = Options.model_validate({"token": {"env": "A"}}, context={"environ": {"A": VALUE}})
    assert secret.value() == options.token.value() == VALUE
    shown = f"{secret} {secret!r} {[secret]} {options!r} {options.model_dump()} {options.model_dump_json()}"
    assert VALUE not in shown
    assert repr(options.token) == "Secret(env=A)"
    assert repr(secret) == f"Secret(file={tmp_path / 'token'})"
    assert not hasattr(secret, "__dict__")


@pytest.mark.parametrize("spread", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_secret_is_not_spread(spread: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match="not copied or pickled"):
        spread(Secret(env="A", environ={"A": VALUE}))


def test_an_option_takes_a_file_relative_to_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(VALUE)
    options = Options.model_validate({"token": {"file": "token"}}, context={"base": tmp_path})
    assert options.token.value() == VALUE


def test_an_option_takes_an_absolute_file_and_a_secret_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(VALUE)
    secret = Options.model_validate({"token": {"file": str(tmp_path / "token")}}).token
    assert Options(token=secret).token is secret


@pytest.mark.parametrize(
    "given",
    [
        VALUE,
        VALUE.encode(),
        7,
        None,
        [VALUE],
        {},
        {"value": VALUE},
        {"env": ""},
        {"file": ""},
        {"env": 7},
        {"env": "A", "file": "token"},
        {"env": "A", "default": VALUE},
    ],
)
def test_an_option_refuses_a_literal_without_showing_it(given: object) -> None:
    with pytest.raises(ValidationError) as caught:
        Options.model_validate({"token": given}, context={"environ": {"A": VALUE}})
    detail = caught.value.errors()[0]
    assert detail["loc"] == ("token",)
    assert detail["msg"] == 'must be { env = "NAME" } or { file = "path" }, never the secret itself'


def test_an_option_that_cannot_be_read_is_found_at_once() -> None:
    with pytest.raises(ValidationError, match="variable NOT_THERE is not set"):
        Options.model_validate({"token": {"env": "NOT_THERE"}}, context={"environ": {}})
