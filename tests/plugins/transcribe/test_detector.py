"""The detector that the plugin uses: it hears speech, and only that, also for two tracks at once."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from receiver_plugins.transcribe.cutter import FRAME
from receiver_plugins.transcribe.detector import detectors
from receiver_plugins.transcribe.engine import RATE

from receiver.errors import ConfigError
from receiver.simulate import SPEECH
from receiver.sinks.loading import load


@pytest.mark.parametrize("mode", [0, 3])
def test_it_hears_where_somebody_speaks(mode: int) -> None:
    pytest.importorskip("pocketsphinx")
    samples, _ = soundfile.read(SPEECH / "inbound.flac", dtype="int16")
    detector = detectors(mode)()
    heard = [detector(samples[at : at + FRAME].tobytes()) for at in range(0, len(samples) - FRAME, FRAME)]
    talking, quiet = heard[4 * RATE // FRAME : 8 * RATE // FRAME], heard[: 3 * RATE // FRAME]
    assert np.mean(talking) > 0.6 and not any(quiet)


def test_tracks_have_detectors_of_their_own() -> None:
    pytest.importorskip("pocketsphinx")
    make = detectors(2)
    assert make() != make()


def test_without_pocketsphinx_that_is_said_whatever_the_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(ConfigError, match=r"engine: every engine needs pocketsphinx, to find the speech: pip install"):
        detectors(2)
    options: dict[str, Any] = {"engine": "vosk_server", "url": "ws://127.0.0.1:1"}
    (line,) = asyncio.run(load("words", "transcribe", options, tmp_path).check())
    assert line.startswith("engine: ") and "media-stream-receiver[transcribe]" in line
