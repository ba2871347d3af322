"""The example that gives audio to a model in worker processes, on a real call; and a worker that is killed."""

from __future__ import annotations

import os
import signal
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from receiver.events import Samples
from receiver.testing import RunReceiver, SinkConformance

EXAMPLE = Path(__file__).parents[2] / "examples" / "pool_sink.py"
SINKS = {"pool": {"use": EXAMPLE, "options": {"workers": 1}}}


class TestConformance(SinkConformance):
    use = EXAMPLE
    options = {"workers": 1}
    wrong_options = {"workers": 0}
    seconds = 1.0


def heard(recorded: Any, track: str) -> list[tuple[int, int]]:
    return [(note["start"], note["data"]["hertz"]) for note in recorded.annotations if note["track"] == track]


def test_every_half_second_has_its_answer_in_order(run_receiver: RunReceiver, call: tuple[Samples, Samples]) -> None:
    inbound, outbound = call
    with run_receiver(sinks=SINKS) as server:
        recorded = server.play((inbound, 8000), outbound=(outbound, 8000))
    assert all(note["kind"] == "pitch" and note["rate"] == 16000 for note in recorded.annotations)
    assert [start for start, _ in heard(recorded, "inbound")] == list(range(0, 64000, 8000))
    pitch = dict(heard(recorded, "inbound"))
    assert {pitch[start] for start in (8000, 16000, 48000, 56000)} == {440}
    assert dict(heard(recorded, "outbound"))[40000] == 1000


def test_a_worker_that_is_killed_is_told_and_replaced(
    run_receiver: RunReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    tone = np.rint(8000 * np.sin(np.arange(8000) * 2 * np.pi * 440 / 8000)).astype(np.int16)
    with run_receiver(sinks=SINKS) as server:
        for pid in workers():
            os.kill(pid, signal.SIGKILL)
        recorded = server.play((tone, 8000))
        again = server.play((tone, 8000))
    kinds = [note["kind"] for note in recorded.annotations]
    assert kinds == ["pitch_missing", "pitch"] and recorded.told["sinks"]["pool"]["status"] == "ok"
    assert "terminated abruptly" in recorded.annotations[0]["data"]["error"]
    assert "a worker has died: 1 new ones" in caplog.text
    assert [note["kind"] for note in again.annotations] == ["pitch", "pitch"]


def workers() -> list[int]:
    return [process.pid for process in active_children() if process.pid is not None]
