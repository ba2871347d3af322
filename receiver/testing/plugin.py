"""The pytest plugin: its fixtures. Every run of pytest loads it, so it imports nothing until one of them is used."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from receiver.testing.harness import Harness
    from receiver.testing.threaded import RunReceiver, ThreadedReceiver


@pytest.fixture
def run_receiver(tmp_path: Path, pytestconfig: pytest.Config) -> RunReceiver:
    """``with run_receiver(sinks=[my_sink]) as server:`` runs a receiver on free ports; ``server.play(…)`` calls it.

    Keywords are tables of the configuration. Recordings are below ``tmp_path``; relative paths in the configuration
    start from pytest's root folder.
    """
    from receiver.testing.threaded import run_receiver

    return partial(run_receiver, tmp_path, base=pytestconfig.rootpath)


@pytest.fixture
def receiver_server(run_receiver: RunReceiver) -> Iterator[ThreadedReceiver]:
    """A running receiver that records to WAV files; ``receiver_server.play(…)`` calls it."""
    with run_receiver() as server:
        yield server


@pytest.fixture
def sink_harness(request: pytest.FixtureRequest, tmp_path: Path, pytestconfig: pytest.Config) -> Iterator[Harness]:
    """What the tests of ``SinkConformance`` work with."""
    from receiver.testing.harness import harness

    rule = request.function.__doc__ or ""
    with harness(request.instance, rule, tmp_path, pytestconfig.rootpath) as opened:
        yield opened
