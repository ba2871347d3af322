"""What plugins count, beside the receiver's own figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.parser import text_string_to_metric_families

from receiver.metrics import Metrics
from receiver.plugin_series import SERIES, Collects


def scrape(plugins: dict[str, Collects]) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    metrics = Metrics()
    metrics.watch_plugins(plugins)
    body = metrics.render()[0].decode()
    assert body.count("# TYPE receiver_draining gauge") == 1
    found = [sample for family in text_string_to_metric_families(body) for sample in family.samples]
    series = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in found}
    assert len(series) == len(found)  # none twice
    return series


def test_the_series_of_a_plugin_have_the_name_of_its_sink() -> None:
    words = Counter("heard_words", "Words", ["language"], registry=None)
    words.labels("en").inc(3)
    series = scrape({"ears": words})
    assert series["heard_words_total", frozenset({("language", "en"), ("sink", "ears")})] == 3
    assert not any(name.endswith("_created") for name, _ in series)


def test_two_sinks_of_one_plugin_are_two_series_of_one_family() -> None:
    def opened(lag: float) -> CollectorRegistry:
        registry = CollectorRegistry()
        Gauge("heard_lag_seconds", "Lag", registry=registry).set(lag)
        Histogram("heard_size", "Size", buckets=[1], registry=registry).observe(lag)
        return registry

    series = scrape({"left": opened(1), "right": opened(2)})
    assert series["heard_lag_seconds", frozenset({("sink", "left")})] == 1
    assert series["heard_lag_seconds", frozenset({("sink", "right")})] == 2
    assert series["heard_size_bucket", frozenset({("sink", "right"), ("le", "1.0")})] == 0


class Raising:
    def collect(self) -> Iterator[Metric]:
        raise OSError("no such device")


class Unwritable:
    def collect(self) -> Iterable[Metric]:
        family = Metric("heard", "Heard", "gauge")
        family.add_sample("heard", {}, "loud")  # type: ignore[arg-type]
        return [family]


class Uncollectable:
    def collect(self) -> int:
        return 3


def crowd() -> Gauge:
    callers = Gauge("heard_callers", "Callers", ["number"], registry=None)
    for number in range(SERIES + 1):
        callers.labels(str(number)).set(1)
    return callers


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (Raising(), "OSError: no such device"),
        (Unwritable(), "could not convert"),
        (Uncollectable(), "TypeError"),
        (crowd(), f"more than {SERIES} series"),
        (Gauge("receiver_draining", "Ours", registry=None), "receiver_draining is another metric already"),
        (Gauge("process_open_fds", "Ours", registry=None), "process_open_fds is another metric already"),
        (Counter("heard_lag_seconds", "Another kind", registry=None), "heard_lag_seconds is another metric already"),
    ],
)
def test_what_one_plugin_does_wrong_costs_only_its_own_series_and_is_logged_once(
    bad: Any, problem: str, capture_logs: Any
) -> None:
    metrics = Metrics()
    metrics.watch_plugins({"good": Gauge("heard_lag_seconds", "Lag", registry=None), "bad": bad})
    with capture_logs() as logs:
        for _ in range(3):
            body = metrics.render()[0].decode()
    assert 'heard_lag_seconds{sink="good"} 0.0' in body and 'sink="bad"' not in body
    assert "receiver_draining 0.0" in body
    [line] = logs
    assert line["event"] == "sink_metrics_failed" and line["sink"] == "bad" and problem in line["problem"]
