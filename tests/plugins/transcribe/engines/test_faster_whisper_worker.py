"""The decoder of a worker, without the worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from receiver_plugins.transcribe.engine import RATE
from receiver_plugins.transcribe.engines import faster_whisper_worker
from receiver_plugins.transcribe.engines.faster_whisper import WhisperSettings
from receiver_plugins.transcribe.engines.faster_whisper_worker import WhisperDecoder
from receiver_plugins.transcribe.engines.worker import CannotLoad


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # taken back afterwards, as these are the worker's own
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture
def settings(whisper_model: Path) -> WhisperSettings:
    return WhisperSettings(
        model=str(whisper_model),
        device="cpu",
        compute_type="default",
        threads=1,
        language="en",
        beam_size=2,
        partial_s=1.0,
    )


def test_partials_come_when_they_are_due_and_finals_at_the_end(settings: WhisperSettings, kit: Any) -> None:
    decoder = WhisperDecoder(settings)
    samples = kit.speech("inbound", 3.4, 6.4)
    assert decoder.feed(samples[: RATE - 1].tobytes()) == ()
    (partial,) = decoder.feed(samples[RATE - 1 : RATE].tobytes())
    assert (partial.final, partial.start, partial.end) == (False, 0, RATE)
    assert decoder.feed(samples[RATE : 2 * RATE - 1].tobytes()) == ()  # less than a second more
    decoder.feed(samples[2 * RATE - 1 :].tobytes())
    finals = decoder.finish()
    assert finals
    assert all(one.final and one.words for one in finals)
    assert decoder.finish() == []


def test_partials_are_rarer_where_they_take_long(
    settings: WhisperSettings, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 1.5, 10.0, 10.1])
    decoder = WhisperDecoder(settings)
    monkeypatch.setattr(faster_whisper_worker, "monotonic", lambda: next(clock))
    samples = kit.speech("inbound", 3.4, 8.4)
    assert decoder.feed(samples[:RATE].tobytes())  # took 1.5 s
    assert decoder.feed(samples[RATE : 4 * RATE - 1].tobytes()) == ()
    assert decoder.feed(samples[4 * RATE - 1 : 4 * RATE].tobytes())


def test_partials_can_be_done_without(settings: WhisperSettings, kit: Any) -> None:
    decoder = WhisperDecoder(msgspec.structs.replace(settings, partial_s=0.0))
    assert decoder.feed(kit.speech("inbound", 3.4, 8.4).tobytes()) == ()
    assert decoder.finish()


def test_an_utterance_that_was_dropped_is_forgotten(settings: WhisperSettings) -> None:
    decoder = WhisperDecoder(settings)
    decoder.feed(np.zeros(100, np.int16).tobytes())
    decoder.drop()
    assert decoder.finish() == []


def test_which_option_a_library_complains_about() -> None:
    complaints = {
        "Requested int8_float16 compute type, but …": "compute_type",
        "'xx' is not a valid language code": "language",
        "CUDA driver version is insufficient": "device",
        "unsupported device tpu": "device",
        "File model.bin is incomplete": "model",
    }
    assert {text: faster_whisper_worker._option(text) for text in complaints} == complaints


def test_what_cannot_be_loaded_is_said(settings: WhisperSettings, tmp_path: Path) -> None:
    with pytest.raises(CannotLoad, match="faster-whisper cannot use it"):
        WhisperDecoder(msgspec.structs.replace(settings, model=str(tmp_path)))
