"""How long a stop may take, and that whoever supervises the process waits for so long."""

from __future__ import annotations

import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from receiver import files, syncing
from receiver.asgi.server import CUT_OFF_S
from receiver.cli.serve import EXIT_S
from receiver.config import Config
from receiver.opener import FOLDER_S
from receiver.recordings import retention
from receiver.sinks.listener import CANCEL_S
from receiver.sinks.listeners import SPARE_S
from receiver.sinks.opened import CLOSE_S
from receiver.sinks.sink_loop import FORGOTTEN_S, STUCK_S

ROOT = Path(__file__).parents[2]
UNITS = ("deploy/systemd/receiver.service", "deploy/systemd/receiver@.service")
LONGER_THAN_NEEDED_S = 15


def closing_s(config: Config) -> float:
    """What is left to close behind calls and late sinks: sockets, plugins, a slow disk, threads left behind."""
    sockets_s = config.limits.close_timeout_s + 2 * CUT_OFF_S
    plugins_s = STUCK_S + CANCEL_S + CLOSE_S + FORGOTTEN_S + 1
    writer_s: float = inspect.signature(files.shutdown).parameters["timeout_s"].default
    disk_s = FOLDER_S + retention.STOP_S + writer_s + syncing.STOP_S
    return SPARE_S + sockets_s + plugins_s + disk_s + EXIT_S


def longest_stop_s(config: Config) -> float:
    """SIGTERM to exit, where everything takes as long as it may, and one thing comes after the other."""
    late_s = max(sink.finish_timeout_s for sink in config.sinks.values())
    return config.server.shutdown_delay_s + config.server.drain_timeout_s + late_s + closing_s(config)


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


def configured(text: str) -> Config:
    """By a file that is shipped; where there is none, by the defaults."""
    return Config.model_validate(tomllib.loads(text), context={"environ": {"RECEIVER_TOKEN": "x"}, "base": ROOT})


def seconds(text: str) -> int:
    """Of a duration as compose files have them."""
    return sum(int(number) * {"h": 3600, "m": 60, "s": 1}[unit] for number, unit in re.findall(r"(\d+)([hms])", text))


def of_systemd(name: str) -> int:
    (found,) = re.findall(r"^TimeoutStopSec=(\d+)$", (ROOT / name).read_text(), re.MULTILINE)
    return int(found)


def of_compose() -> int:
    return seconds(read("docker-compose.yml")["services"]["receiver"]["stop_grace_period"])


def of_kubernetes() -> int:
    pod = read("deploy/kubernetes/statefulset.yaml")["spec"]["template"]["spec"]
    return int(pod["terminationGracePeriodSeconds"])


GRACE_S = of_compose()
CONFIGS = {
    "the defaults": "",
    "docker-compose.yml": (ROOT / "deploy/receiver.toml").read_text(),
    "Kubernetes": read("deploy/kubernetes/configmap.yaml")["data"]["config.toml"],
}


@pytest.mark.parametrize("name", CONFIGS)
def test_there_is_time_for_the_longest_stop_with_what_is_shipped(name: str) -> None:
    longest_s = longest_stop_s(configured(CONFIGS[name]))
    assert longest_s <= GRACE_S <= longest_s + LONGER_THAN_NEEDED_S


def test_everybody_waits_for_the_same_time() -> None:
    assert {GRACE_S, of_kubernetes(), *map(of_systemd, UNITS)} == {GRACE_S}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("docs/deployment.md", f"--stop-timeout {GRACE_S} "),
        ("docs/deployment.md", f"{GRACE_S} seconds at the defaults"),
        ("docs/systemd.md", f"`TimeoutStopSec={GRACE_S}`"),
        ("docs/kubernetes.md", f"`terminationGracePeriodSeconds: {GRACE_S}`"),
        ("docker-compose.yml", f"stop_grace_period: {GRACE_S // 60}m{GRACE_S % 60}s\n"),
    ],
)
def test_the_pages_say_so(name: str, said: str) -> None:
    assert said in (ROOT / name).read_text()


def test_the_parts_of_that_are_written_beside_it() -> None:
    config = configured("")
    server, sink = config.server, config.sinks["wav"]
    left_s = GRACE_S - server.shutdown_delay_s - server.drain_timeout_s - sink.finish_timeout_s
    for name in (*UNITS, "docker-compose.yml", "deploy/kubernetes/statefulset.yaml"):
        text = " ".join((ROOT / name).read_text().replace("\n#", "").replace("#", "").split())
        assert f"server.shutdown_delay_s ({server.shutdown_delay_s:.0f} s)" in text, name
        assert f"server.drain_timeout_s ({server.drain_timeout_s:.0f} s)" in text, name
        assert f"finish_timeout_s of the sinks ({sink.finish_timeout_s:.0f} s)" in text, name
        assert f"{left_s:.0f} s for what is left to close" in text, name
