"""What the plugin tells Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from receiver_plugins.transcribe.engine import RATE
from receiver_plugins.transcribe.figures import Figures


class Live:
    def __init__(self, lag_s: float) -> None:
        self._lag_s = lag_s

    def lag_s(self) -> float:
        return self._lag_s


def shown(figures: Figures) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(figures)
    lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.split() for line in lines)}


def test_everything_is_there_from_the_start() -> None:
    assert shown(Figures()) == {
        "receiver_transcribe_lag_seconds": 0,
        "receiver_transcribe_utterances_total": 0,
        "receiver_transcribe_speech_seconds_total": 0,
        "receiver_transcribe_engine_failures_total": 0,
        "receiver_transcribe_given_up_seconds_total": 0,
    }


def test_the_lag_is_that_of_the_stream_that_is_worst_off() -> None:
    figures = Figures()
    figures.live |= {Live(0.5), Live(7.25), Live(0)}
    figures.utterances, figures.speech, figures.failures, figures.given_up = 3, 5 * RATE // 2, 2, RATE
    assert shown(figures) == {
        "receiver_transcribe_lag_seconds": 7.25,
        "receiver_transcribe_utterances_total": 3,
        "receiver_transcribe_speech_seconds_total": 2.5,
        "receiver_transcribe_engine_failures_total": 2,
        "receiver_transcribe_given_up_seconds_total": 1,
    }
