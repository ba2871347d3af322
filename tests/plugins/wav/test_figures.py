"""The plugin's own metrics, as Prometheus reads them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from receiver_plugins.wav.figures import Figures


def test_what_is_missing_is_counted_in_seconds() -> None:
    figures = Figures()
    figures.not_recorded_s, figures.failing = 1.5, 2
    registry = CollectorRegistry()
    registry.register(figures)
    lines = generate_latest(registry).decode().splitlines()
    assert "receiver_wav_not_recorded_seconds_total 1.5" in lines
    assert "receiver_wav_failing_tracks 2.0" in lines
