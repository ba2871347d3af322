"""How long a stop may take, by the defaults, and that whoever supervises the process waits for so long."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from receiver.asgi.server import CUT_OFF_S
from receiver.cli.serve import EXIT_S
from receiver.config import Limits, Server, SinkConfig
from receiver.sinks.listener import CANCEL_S
from receiver.sinks.listeners import SPARE_S
from receiver.sinks.opened import CLOSE_S
from receiver.sinks.sink_loop import FORGOTTEN_S

DEPLOY = Path(__file__).parents[2] / "deploy"
LONGER_THAN_NEEDED_S = 10


def longest_stop_s() -> float:
    """SIGTERM to exit: the delay, the drain, late sinks, their plugins, both listeners, threads that are left."""
    server, sink = Server(), SinkConfig(use="wav")
    sinks_s = sink.finish_timeout_s + SPARE_S + CANCEL_S
    plugins_s = CANCEL_S + CLOSE_S + FORGOTTEN_S + 1
    sockets_s = Limits().close_timeout_s + 2 * CUT_OFF_S
    return server.shutdown_delay_s + server.drain_timeout_s + sinks_s + plugins_s + sockets_s + EXIT_S


def of_systemd(name: str) -> float:
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", (DEPLOY / "systemd" / name).read_text(), re.MULTILINE)
    return float(seconds)


def of_kubernetes() -> float:
    pod = yaml.safe_load((DEPLOY / "kubernetes" / "statefulset.yaml").read_text())["spec"]["template"]["spec"]
    return float(pod["terminationGracePeriodSeconds"])


@pytest.mark.parametrize("waits_s", [of_systemd("receiver.service"), of_systemd("receiver@.service"), of_kubernetes()])
def test_the_supervisor_waits_as_long_as_a_stop_may_take(waits_s: float) -> None:
    assert longest_stop_s() <= waits_s <= longest_stop_s() + LONGER_THAN_NEEDED_S


def test_the_parts_of_that_are_written_beside_it() -> None:
    server, sink = Server(), SinkConfig(use="wav")
    for name in ("systemd/receiver.service", "systemd/receiver@.service"):
        text = " ".join((DEPLOY / name).read_text().replace("\n#", "").split())
        for key, seconds in (
            ("server.shutdown_delay_s", server.shutdown_delay_s),
            ("server.drain_timeout_s", server.drain_timeout_s),
        ):
            assert f"{key} ({seconds:.0f} s)" in text
        assert f"sinks ({sink.finish_timeout_s:.0f} s)" in text
