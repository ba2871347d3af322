"""What is counted, and under which names."""

from __future__ import annotations

import math
import re
import threading
from pathlib import Path

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from receiver.events import Cause, Ended, EndReason, Event, Frame, Gap, Marked, TrackCounters
from receiver.metrics import Metrics

# A contract: whoever changes a line of this breaks somebody's dashboards, and writes it into the changelog.
NAMES = {
    "receiver_streams": ("gauge", {"source"}),
    "receiver_streams_limit": ("gauge", set()),
    "receiver_streams_ended_total": ("counter", {"source", "reason"}),
    "receiver_handshakes_refused_total": ("counter", {"source", "reason"}),
    "receiver_messages_total": ("counter", {"source", "kind"}),
    "receiver_audio_seconds_total": ("counter", {"source", "track", "codec"}),
    "receiver_gap_seconds_total": ("counter", {"source", "cause"}),
    "receiver_received_frames_total": ("counter", set()),
    "receiver_placed_frames_total": ("counter", set()),
    "receiver_duplicate_frames_total": ("counter", set()),
    "receiver_late_frames_total": ("counter", set()),
    "receiver_rejected_frames_total": ("counter", set()),
    "receiver_reordered_frames_total": ("counter", set()),
    "receiver_sink_queue_seconds": ("gauge", {"sink"}),
    "receiver_sink_dropped_seconds_total": ("counter", {"sink"}),
    "receiver_sink_failures_total": ("counter", {"sink"}),
    "receiver_delivery_delay_seconds": ("histogram", set()),
    "receiver_event_loop_lag_seconds": ("histogram", set()),
    "receiver_disk_free_bytes": ("gauge", {"directory"}),
    "receiver_disk_failing": ("gauge", set()),
    "receiver_streams_erased_total": ("counter", {"reason"}),
    "receiver_draining": ("gauge", set()),
    "receiver_build_info": ("gauge", {"version", "python"}),
}


def figures(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every series of a scrape, as Prometheus' own parser reads it."""
    body, content_type = metrics.render()
    assert content_type.startswith("text/plain; version=0.0.4")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return figures(metrics)[name, frozenset(labels.items())]


def frame(track: str, samples: int, rate: int = 8000) -> Frame:
    return Frame(track, 0, rate, np.zeros(samples, np.int16))


def busy() -> Metrics:
    """Metrics in which every series has been counted once."""
    metrics = Metrics(sources=["default"], sinks=["wav"])
    metrics.stream_started("default")
    metrics.stream_ended("default", Ended(EndReason.STOP, True, {}))
    metrics.refused("default", "token")
    metrics.received("default", {"media": 1})
    metrics.placed("default", "PCMU", [frame("inbound", 160)])
    metrics.sink_dropped("wav", 1.0)
    metrics.sink_failed("wav")
    metrics.delivered(0.06)
    metrics.loop_lagged(0.001)
    metrics.watch_disk(Path("."))
    metrics.stream_erased("age")
    return metrics


def test_the_names_their_kinds_and_their_labels_are_a_contract() -> None:
    seen: dict[str, tuple[str, set[str]]] = {}
    for family in text_string_to_metric_families(busy().render()[0].decode()):
        if family.name.startswith("receiver_"):
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            seen[name] = (family.type, labels)
    assert seen == NAMES


def test_the_process_and_the_python_are_described_and_nothing_is_created() -> None:
    names = {name for name, _ in figures(busy())}
    assert {"process_open_fds", "process_resident_memory_bytes", "process_cpu_seconds_total", "python_info"} <= names
    assert not [name for name in names if name.endswith("_created")]


def test_a_scrape_is_what_a_real_parser_accepts_before_anything_happened() -> None:
    metrics = Metrics(sources=["default", "twilio"], sinks=["wav"])
    assert value(metrics, "receiver_streams", source="twilio") == 0
    assert value(metrics, "receiver_streams_ended_total", source="default", reason="crash") == 0
    assert value(metrics, "receiver_gap_seconds_total", source="default", cause="lost") == 0
    assert value(metrics, "receiver_sink_failures_total", sink="wav") == 0


def test_a_stream_is_counted_in_and_out_with_its_counters() -> None:
    metrics = Metrics(sources=["default"])
    metrics.stream_started("default")
    metrics.stream_started("default")
    tracks = {
        "inbound": TrackCounters(8000, received=12, placed=5, duplicate=1, late=2, rejected=4, reordered=3),
        "outbound": TrackCounters(8000, received=120, placed=50, duplicate=10, late=20, rejected=40, reordered=30),
    }
    metrics.stream_ended("default", Ended(EndReason.RESET, False, tracks))
    assert value(metrics, "receiver_streams", source="default") == 1
    assert value(metrics, "receiver_streams_ended_total", source="default", reason="reset") == 1
    expected = {"received": 132, "placed": 55, "duplicate": 11, "late": 22, "rejected": 44, "reordered": 33}
    assert {fate: value(metrics, f"receiver_{fate}_frames_total") for fate in expected} == expected


def test_in_every_scrape_received_is_the_sum_of_what_became_of_it() -> None:
    metrics = Metrics(sources=["default"])
    counters = TrackCounters(8000, received=10, placed=1, duplicate=2, late=3, rejected=4)
    over = threading.Event()

    def count() -> None:
        for _ in range(2000):
            metrics.stream_ended("default", Ended(EndReason.STOP, True, {"inbound": counters}))
        over.set()

    thread = threading.Thread(target=count)
    thread.start()
    while True:
        last = over.is_set()
        seen = figures(metrics)
        fates = {
            fate: seen[f"receiver_{fate}_frames_total", frozenset()]
            for fate in ("received", "placed", "duplicate", "late", "rejected")
        }
        assert fates.pop("received") == sum(fates.values())
        if last:
            break
    thread.join()
    assert fates == {"placed": 2000, "duplicate": 4000, "late": 6000, "rejected": 8000}


def test_audio_and_gaps_are_counted_in_seconds_of_their_own_rate() -> None:
    metrics = Metrics(sources=["default"])
    events: list[Event] = [
        frame("inbound", 4000),
        frame("inbound", 24000, rate=48000),
        Gap("inbound", 4000, 8000, 8000, Cause.LOST),
        Marked("here", 0, 8000),
    ]
    metrics.placed("default", "PCMU", events)
    metrics.placed("default", "PCMU", events)
    assert value(metrics, "receiver_audio_seconds_total", source="default", track="inbound", codec="pcmu") == 2
    assert value(metrics, "receiver_gap_seconds_total", source="default", cause="lost") == 1


def test_messages_are_counted_by_the_batch() -> None:
    metrics = Metrics(sources=["default"])
    metrics.received("default", {"media": 6, "dtmf": 1})
    metrics.received("default", {"media": 4})
    assert value(metrics, "receiver_messages_total", source="default", kind="media") == 10
    assert value(metrics, "receiver_messages_total", source="default", kind="media") == 10
    assert value(metrics, "receiver_messages_total", source="default", kind="dtmf") == 1


def test_no_label_grows_with_what_a_peer_sends() -> None:
    metrics = Metrics(sources=["default"], sinks=["wav"])
    for number in range(1000):
        word = f"peer{number}"
        metrics.stream_started(word)
        metrics.refused(word, word)
        metrics.received("default", {word: 1})
        metrics.received(word, {"media": 1})
        metrics.placed("default", word, [frame(word, 160)])
        metrics.placed(word, word, [frame("inbound", 160), Gap(word, 0, 160, 8000, Cause.UNSENT)])
        metrics.sink_failed(word)
        metrics.sink_dropped(word, 1.0)
    series = figures(metrics)
    assert len(series) < 300
    tracks = {dict(labels)["track"] for name, labels in series if name == "receiver_audio_seconds_total"}
    assert tracks == {"inbound", "other"}
    assert value(metrics, "receiver_streams", source="other") == 1000
    assert value(metrics, "receiver_messages_total", source="other", kind="media") == 1000
    for name, labels in series:
        for label, text in labels:
            if name.startswith("receiver_") and label in {"reason", "kind", "codec"}:
                assert re.fullmatch("[a-z][a-z0-9_]{0,31}", text)


def test_a_label_cannot_smuggle_a_line_in() -> None:
    metrics = Metrics()
    metrics.refused('x"} 1\nevil_total 1', "Not a word\n")
    assert value(metrics, "receiver_handshakes_refused_total", source="other", reason="other") == 1
    assert b"evil" not in metrics.render()[0]


def test_what_is_watched_is_asked_for_at_every_look() -> None:
    metrics = Metrics(sinks=["wav"])
    state = {"limit": 5.0, "draining": False, "failing": False, "queue": 0.5}
    metrics.watch_streams_limit(lambda: state["limit"])
    metrics.watch_draining(lambda: bool(state["draining"]))
    metrics.watch_disk_failing(lambda: bool(state["failing"]))
    metrics.watch_sink_queue("wav", lambda: state["queue"])
    assert value(metrics, "receiver_streams_limit") == 5
    assert value(metrics, "receiver_draining") == 0
    assert value(metrics, "receiver_sink_queue_seconds", sink="wav") == 0.5
    assert value(metrics, "receiver_disk_failing") == 0
    state.update(limit=7.0, draining=True, failing=True, queue=30.0)
    assert value(metrics, "receiver_streams_limit") == 7
    assert value(metrics, "receiver_draining") == 1
    assert value(metrics, "receiver_disk_failing") == 1
    assert value(metrics, "receiver_sink_queue_seconds", sink="wav") == 30


def test_free_space_is_told_and_a_missing_directory_fails_no_scrape(tmp_path: Path) -> None:
    metrics = Metrics()
    metrics.watch_disk(tmp_path)
    metrics.watch_disk(tmp_path / "missing")
    assert value(metrics, "receiver_disk_free_bytes", directory=str(tmp_path)) > 0
    assert math.isnan(value(metrics, "receiver_disk_free_bytes", directory=str(tmp_path / "missing")))


def test_delays_fall_into_buckets_around_the_latency() -> None:
    metrics = Metrics()
    metrics.delivered(0.06)
    metrics.delivered(20.0)
    metrics.loop_lagged(0.02)
    assert value(metrics, "receiver_delivery_delay_seconds_bucket", le="0.05") == 0
    assert value(metrics, "receiver_delivery_delay_seconds_bucket", le="0.075") == 1
    assert value(metrics, "receiver_delivery_delay_seconds_count") == 2
    assert value(metrics, "receiver_event_loop_lag_seconds_bucket", le="0.025") == 1


def test_two_applications_in_one_process_do_not_share_figures() -> None:
    first, second = Metrics(sources=["default"]), Metrics(sources=["default"])
    first.stream_started("default")
    assert value(first, "receiver_streams", source="default") == 1
    assert value(second, "receiver_streams", source="default") == 0


def test_threads_count_together() -> None:
    metrics = Metrics(sinks=["wav"])
    threads = [
        threading.Thread(target=lambda: [metrics.sink_dropped("wav", 1.0) for _ in range(1000)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(metrics, "receiver_sink_dropped_seconds_total", sink="wav") == 4000


def test_what_is_counted_under_another_name_is_so_every_time() -> None:
    metrics = Metrics(sources=["default"])
    for _ in range(3):
        metrics.received("default", {"media": 2, "Not A Word": 1})
        metrics.received("unknown", {"media": 1})
        metrics.placed("default", "PCMU", [frame("inbound", 8000)])
        metrics.placed("default", "pcmu", [frame("inbound", 8000), frame("mixed", 4000)])
        metrics.placed("unknown", "pcmu", [frame("inbound", 8000)])
    assert value(metrics, "receiver_messages_total", source="default", kind="media") == 6
    assert value(metrics, "receiver_messages_total", source="default", kind="other") == 3
    assert value(metrics, "receiver_messages_total", source="other", kind="media") == 3
    seconds = "receiver_audio_seconds_total"
    assert value(metrics, seconds, source="default", track="inbound", codec="pcmu") == 6
    assert value(metrics, seconds, source="default", track="other", codec="pcmu") == 1.5
    assert value(metrics, seconds, source="other", track="inbound", codec="pcmu") == 3
    assert len([name for name, _ in figures(metrics) if name == seconds]) == 3
