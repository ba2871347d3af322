"""The units of systemd: what they run does run, and systemd understands the rest."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from receiver.asgi.descriptors import PER_STREAM, SHARE
from receiver.config import Config, Limits
from receiver.environment import override
from receiver.simulate import SPEECH, Call, Outcome, speak

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
UNITS = ["receiver.service", "receiver@.service"]
COMMAND = "/opt/receiver/bin/receiver"
TOKEN = "a-token-of-the-tests"
EXPOSURE = 20  # tenths: systemd calls up to 1.9 "OK", and what only a socket to the world needs is left


def values(unit: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", (FOLDER / unit).read_text(), re.MULTILINE)


def expanded(text: str, folder: Path, instance: str) -> str:
    """What systemd puts in the place of the specifiers that we use."""
    places = {"%S": folder / "state", "%E": folder / "etc", "%d": folder / "credentials", "%i": instance}
    for specifier, value in places.items():
        text = text.replace(specifier, str(value))
    assert "%" not in text
    return text


@contextmanager
def started(
    unit: str, folder: Path, instance: str = "", below: Sequence[str] = (), **more: str
) -> Iterator[subprocess.Popen[str]]:
    """The unit's command with the unit's environment, in the unit's working directory; ``below`` another program."""
    (command,) = values(unit, "ExecStart")
    (place,) = values(unit, "WorkingDirectory")
    (token,) = values(unit, "LoadCredential")
    credential = folder / "credentials" / token.partition(":")[0]
    for made in (credential.parent, folder / "state" / "receiver", folder / "etc" / "receiver"):
        made.mkdir(parents=True, exist_ok=True)
    credential.write_text(f"{TOKEN}\n")
    environment = {"PATH": os.environ["PATH"], "RECEIVER__SERVER__HOST": "127.0.0.1"}
    environment |= {name: value for name, value in os.environ.items() if name.startswith("COVERAGE")}
    environment |= dict(expanded(text, folder, instance).split("=", 1) for text in values(unit, "Environment"))
    assert command.startswith(f"{COMMAND} ")
    words = [*below, str(Path(sys.executable).with_name("receiver")), *shlex.split(command)[1:]]
    with subprocess.Popen(
        words, cwd=expanded(place, folder, instance), env={**environment, **more}, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str], event: str) -> dict[str, Any]:
    assert process.stderr is not None
    told = (json.loads(text) for text in process.stderr)
    return next(said for said in told if said["event"] == event)


def call(listening: dict[str, Any], token: str = TOKEN) -> Outcome:
    url = listening["public"].replace("http", "ws", 1) + "/stream"
    return asyncio.run(speak(Call(inbound=SPEECH / "inbound.flac"), url=url, token=token, speed=1000))


def stopped(unit: str, process: subprocess.Popen[str]) -> None:
    (name,) = values(unit, "KillSignal")
    process.send_signal(signal.Signals[name])
    process.communicate(timeout=30)
    assert process.returncode == 0


QUICK = {"RECEIVER__SERVER__SHUTDOWN_DELAY_S": "0", "RECEIVER__LIMITS__BURST_S": "0"}


def test_the_service_records_a_call_into_its_state_directory_and_stops(tmp_path: Path) -> None:
    ports = {"RECEIVER__SERVER__PORT": "0", "RECEIVER__MANAGEMENT__PORT": "0"}
    with started("receiver.service", tmp_path, **ports, **QUICK) as process:
        listening = line(process, "listening")
        assert listening["config"] == "defaults"
        assert call(listening, "wrong").status == 401
        assert call(listening).ok
        stopped("receiver.service", process)
    assert list((tmp_path / "state" / "receiver").glob("*/*/inbound.wav"))
    assert not list((tmp_path / "etc").rglob("*.wav"))


def test_a_configuration_in_its_directory_counts_and_a_wrong_one_is_not_tried_again(tmp_path: Path) -> None:
    (tmp_path / "etc" / "receiver").mkdir(parents=True)
    file = tmp_path / "etc" / "receiver" / "config.toml"
    file.write_text('[server]\nport = "x"\n')
    with started("receiver.service", tmp_path) as process:
        process.communicate(timeout=30)
    assert [str(process.returncode)] == values("receiver.service", "RestartPreventExitStatus")
    file.write_text("[server]\nport = 0\n[management]\nport = 0\n")
    with started("receiver.service", tmp_path, **QUICK) as process:
        assert line(process, "listening")["config"] == "config.toml"
        stopped("receiver.service", process)


def test_two_of_the_template_share_a_port_and_have_their_own_management(tmp_path: Path) -> None:
    """On free ports: the instance's own variable is looked at, and then the port below it is one that is free."""
    unit = "receiver@.service"
    variables = dict(expanded(text, tmp_path, "2").split("=", 1) for text in values(unit, "Environment"))
    assert variables["RECEIVER__MANAGEMENT__PORT"] == "8082"
    free = {"RECEIVER__MANAGEMENT__PORT": "0"}
    with started(unit, tmp_path, "1", RECEIVER__SERVER__PORT="0", **free, **QUICK) as first:
        one = line(first, "listening")
        port = one["public"].rpartition(":")[2]
        with started(unit, tmp_path, "2", RECEIVER__SERVER__PORT=port, **free, **QUICK) as second:
            two = line(second, "listening")
            assert (two["public"], two["recordings"]) == (one["public"], one["recordings"])
            assert two["management"] != one["management"]
            assert all(call(one).ok for _ in range(4))
            stopped(unit, first)
            assert call(two).ok
            with urllib.request.urlopen(f"{two['management']}/readyz", timeout=20) as ready:
                assert ready.status == 200
            stopped(unit, second)
    assert len(list((tmp_path / "state" / "receiver").glob("*/*/inbound.wav"))) == 5


def test_every_variable_of_a_unit_is_a_key_of_the_configuration() -> None:
    for unit in UNITS:
        variables = dict(text.split("=", 1) for text in values(unit, "Environment"))
        assert variables.pop("RECEIVER_TOKEN_FILE") == "%d/token"
        assert override({}, Config, variables)


def test_the_template_differs_from_the_service_only_in_what_makes_it_one_of_several() -> None:
    one, several = ((FOLDER / unit).read_text().splitlines() for unit in UNITS)
    added = [text for text in several if text not in one]
    assert [text for text in one if text not in several] == [one[0], one[3]]
    assert [text.partition("=")[0] for text in added if text.startswith("Environment")] == ["Environment"] * 2
    assert len(added) == 5


@pytest.mark.parametrize("unit", UNITS)
def test_there_are_descriptors_for_as_many_streams_as_the_limits_allow(unit: str) -> None:
    (descriptors,) = values(unit, "LimitNOFILE")
    assert int(descriptors) * SHARE / PER_STREAM >= Limits().streams


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units where systemd's own tools look at them, with a command that is there."""
    for unit in UNITS:
        text = (FOLDER / unit).read_text().replace(COMMAND, str(Path(sys.executable).with_name("receiver")))
        (tmp_path / unit).write_text(text)
    return tmp_path


def systemd(program: str, *arguments: str, folder: Path) -> str:
    """What one of systemd's programs says, also where it calls that a warning."""
    path = shutil.which(program)
    assert path, f"{program} is missing: make test-system installs it"
    done = subprocess.run([path, *arguments], cwd=folder, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.system
def test_systemd_has_nothing_to_say_against_the_units(installed: Path) -> None:
    assert systemd("systemd-analyze", "verify", "receiver.service", "receiver@1.service", folder=installed) == ""
    planted = installed / "receiver.service"
    planted.write_text(planted.read_text().replace("ProtectSystem=", "ProtectSytem="))
    assert "ProtectSytem" in systemd("systemd-analyze", "verify", "receiver.service", folder=installed)


@pytest.mark.system
@pytest.mark.parametrize("unit", ["receiver.service", "receiver@1.service"])
def test_systemd_finds_little_that_the_units_leave_open(installed: Path, unit: str) -> None:
    (installed / "receiver@1.service").write_text((installed / "receiver@.service").read_text())
    arguments = ("security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE}")
    told = systemd("systemd-analyze", *arguments, str(installed / unit), folder=installed)
    assert "Overall exposure level" in told


def calls_of(name: str, folder: Path) -> set[str]:
    """The system calls that systemd means by a set of theirs."""
    told = systemd("systemd-analyze", "syscall-filter", "--no-pager", name, folder=folder)
    found = set(re.findall(r"^ {4}([a-z_0-9@-]+)$", told, re.MULTILINE))
    nested = {each for each in found if each.startswith("@")}
    return (found - nested).union(*(calls_of(each, folder) for each in nested))


@pytest.mark.system
def test_a_call_is_recorded_with_the_system_calls_that_the_units_allow(tmp_path: Path) -> None:
    """From the start to the exit, also those of the libraries, as strace sees them."""
    filters = values("receiver.service", "SystemCallFilter")
    allowed = calls_of("@default", tmp_path).union(
        *(calls_of(name, tmp_path) for name in filters if not name.startswith("~"))
    )
    allowed -= set().union(*(calls_of(name[1:], tmp_path) for name in filters if name.startswith("~")))
    trace = tmp_path / "trace"
    below = (shutil.which("strace") or "strace", "-D", "-f", "-qq", "-o", str(trace))
    ports = {"RECEIVER__SERVER__PORT": "0", "RECEIVER__MANAGEMENT__PORT": "0"}
    with started("receiver.service", tmp_path, below=below, **ports, **QUICK) as process:
        assert call(line(process, "listening")).ok
        stopped("receiver.service", process)
    used = set(re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.MULTILINE))
    assert {"prlimit64", "rename", "socketpair"} <= used and "chown" not in allowed
    assert used <= allowed, used - allowed


@pytest.mark.system
def test_systemd_would_make_the_account(tmp_path: Path) -> None:
    path = FOLDER / "receiver.sysusers.conf"
    (made,) = re.findall(r"^u (\w+) ", path.read_text(), re.MULTILINE)
    assert [made] == values("receiver.service", "User") == values("receiver@.service", "Group")
    told = systemd("systemd-sysusers", "--dry-run", f"--root={tmp_path}", str(path), folder=tmp_path)
    assert f"Creating user '{made}'" in told
