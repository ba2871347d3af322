"""The example of a sink, on a real call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from receiver.testing import RunReceiver

EXAMPLE = Path(__file__).parents[2] / "examples" / "levels_sink.py"


def test_it_prints_a_line_for_every_second_of_each_side(
    run_receiver: RunReceiver, capsys: pytest.CaptureFixture[str]
) -> None:
    tone = np.rint(30000 * np.sin(np.arange(16000) * 0.3)).astype(np.int16)
    with run_receiver(sinks=[EXAMPLE]) as server:
        recorded = server.play((np.pad(tone, (0, 8000)), 8000), outbound=(tone[:8000], 8000))
    lines = capsys.readouterr().out.splitlines()
    assert {
        track: [line.count("#") > 100 for line in lines if f" {track} " in line] for track in recorded.told["tracks"]
    } == {
        "inbound": [True, True, False],
        "outbound": [True],
    }
    assert all(line.startswith(recorded.told["id"]) for line in lines)
