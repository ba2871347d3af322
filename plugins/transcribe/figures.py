"""Figures: what the plugin tells Prometheus, over all its streams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from .engine import RATE


class Lagging(Protocol):
    """A live stream."""

    def lag_s(self) -> float:
        """By how much its transcript is behind the call. For any thread."""


class Figures(Collector):
    """One thread counts, any may collect. ``speech`` and ``given_up`` are samples."""

    def __init__(self) -> None:
        self.utterances = 0
        self.speech = 0
        self.failures = 0
        self.given_up = 0
        self.live: set[Lagging] = set()

    def collect(self) -> Iterator[Metric]:
        """What there is to know now."""
        yield GaugeMetricFamily(
            "receiver_transcribe_lag_seconds",
            "How far the transcript of the stream that is worst off is behind its call",
            max((stream.lag_s() for stream in self.live.copy()), default=0.0),
        )
        yield CounterMetricFamily(
            "receiver_transcribe_utterances", "Utterances that were transcribed to their end", self.utterances
        )
        yield CounterMetricFamily(
            "receiver_transcribe_speech_seconds", "Speech that was transcribed", self.speech / RATE
        )
        yield CounterMetricFamily(
            "receiver_transcribe_engine_failures", "How often the engine died, or did not answer", self.failures
        )
        yield CounterMetricFamily(
            "receiver_transcribe_given_up_seconds", "Speech that the engine failed on too often", self.given_up / RATE
        )
