"""Figures: what the plugin tells Prometheus, over all its streams."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector


class Figures(Collector):
    """Any thread counts, with ``lock``; any may collect."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.not_recorded_s = 0.0
        self.failing = 0

    def collect(self) -> Iterator[Metric]:
        """What there is to know now."""
        yield CounterMetricFamily(
            "receiver_wav_not_recorded_seconds",
            "Audio that was received, and that no file has since the disk did not take it",
            self.not_recorded_s,
        )
        yield GaugeMetricFamily(
            "receiver_wav_failing_tracks", "Live tracks whose audio cannot be written at present", self.failing
        )
