"""The example that cuts speech into files, on a real call."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import soundfile

from receiver.events import Samples
from receiver.testing import RunReceiver, SinkConformance

EXAMPLE = Path(__file__).parents[2] / "examples" / "segments_sink.py"


class TestConformance(SinkConformance):
    use = EXAMPLE
    restarts = True


def test_each_piece_is_a_file_and_an_annotation(run_receiver: RunReceiver, call: tuple[Samples, Samples]) -> None:
    inbound, outbound = call
    with run_receiver(sinks=[EXAMPLE]) as server:
        recorded = server.play((inbound, 8000), outbound=(outbound, 8000), codec="L16", rate=8000)
    said = sorted((note["track"], note["start"], note["end"], note["data"]["file"]) for note in recorded.annotations)
    assert said == [
        ("inbound", 4000, 12000, "inbound-00000.50.wav"),
        ("inbound", 24000, 32000, "inbound-00003.00.wav"),
        ("outbound", 16000, 24000, "outbound-00002.00.wav"),
    ]
    for track, start, end, name in said:
        samples, rate = soundfile.read(recorded.file(name), dtype="int16")
        assert rate == 8000
        assert np.array_equal(samples, (inbound if track == "inbound" else outbound)[start:end])
    assert {file["path"] for file in recorded.told["files"]} == {name for *_, name in said}


def test_a_click_is_none_and_who_never_pauses_is_cut(run_receiver: RunReceiver) -> None:
    click = np.zeros(8000, np.int16)
    click[:160] = 8000
    long = np.rint(8000 * np.sin(np.arange(70 * 8000) * 0.3)).astype(np.int16)
    with run_receiver(sinks=[EXAMPLE]) as server:
        assert server.play((click, 8000)).annotations == []
        recorded = server.play((long, 8000), packet_ms=100)
    assert [note["end"] - note["start"] for note in recorded.annotations] == [240000, 240000, 80000]


@pytest.mark.parametrize(("level", "speech"), [(0.02, True), (0.005, False)])
def test_what_is_loud_enough_is_speech(level: float, speech: bool) -> None:
    spec = importlib.util.spec_from_file_location("segments_of_the_test", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    block = module.Block("inbound", 0, 8000, np.full(160, level, np.float32))
    assert module.is_speech(block) is speech
