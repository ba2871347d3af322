"""What is counted, under names that dashboards rely on: a name or a label of this file changes with a major version.

No label comes from the peer: sources and sinks are the configured ones, tracks are clamped, the rest are our own words.
"""

from __future__ import annotations

import platform
import re
import shutil
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path

from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    Counter,
    Gauge,
    Info,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client import Metric as Family
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from receiver.events import Cause, Ended, EndReason, Event, Frame, Gap, TrackCounters
from receiver.plugin_series import Collects, PluginSeries

RUNNING = {"version": version("media-stream-receiver"), "python": platform.python_version()}
ERASED = ("age", "disk", "asked")
TRACKS = frozenset({"inbound", "outbound"})
LAG_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
FATES = {
    "received": "Media messages of tracks; each was placed, duplicate, late or rejected. Counted when a stream ends",
    "placed": "Media messages whose audio is on the timeline; counted when a stream ends",
    "duplicate": "Media messages received twice; counted when a stream ends",
    "late": "Media messages too late to be placed; counted when a stream ends",
    "rejected": "Media messages that could not be decoded; counted when a stream ends",
    "reordered": "Media messages put back in order, of those that were placed; counted when a stream ends",
}
"""What becomes of a media message, as in the counters of a track, and what the series of each says of itself."""

DELAY_BUCKETS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """One process's, or one mounted application's, figures in a registry of their own.

    The sockets' side belongs to one thread; the sinks' side and ``render`` are for any. ``sources`` and ``sinks`` are
    the configured names: their series exist from the start at zero, and any other name is counted as ``other``.
    """

    def __init__(self, *, sources: Iterable[str] = (), sinks: Iterable[str] = ()) -> None:
        registry = CollectorRegistry()
        self._families: Collector = _WithoutCreated(registry)
        self._source = _Words(sources)
        self._sink = _Words(sinks)
        self._refusal = _Words(grow=64)
        self._kind = _Words(grow=32)
        self._codec = _Words(grow=16)
        # What every batch counts is added up here, and moved to the counters by render: less than half the time.
        self._audio: dict[tuple[str, str, str], float] = {}
        self._messages: dict[tuple[str, str], int] = {}
        self._told: dict[tuple[str, ...], float] = {}
        self._rendering = threading.Lock()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"receiver_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"receiver_{name}", text, labels, registry=registry)

        self._streams = gauge("streams", "Streams that are open now", "source")
        self._limit = gauge("streams_limit", "Streams that may be open at once")
        self._ended = counter("streams_ended", "Streams that ended, by how", "source", "reason")
        self._refused = counter("handshakes_refused", "Handshakes answered with an error", "source", "reason")
        self._message = counter("messages", "Messages of the peers, by kind", "source", "kind")
        self._seconds = counter("audio_seconds", "Audio placed on timelines", "source", "track", "codec")
        self._gap = counter("gap_seconds", "Timeline without audio, by cause", "source", "cause")
        self._frames = _Frames()
        registry.register(self._frames)
        self._queue = gauge("sink_queue_seconds", "Audio that waits for a sink, of all its streams", "sink")
        self._dropped = counter(
            "sink_dropped_seconds", "Audio that a sink was too slow for, or had failed before", "sink"
        )
        self._failures = counter("sink_failures", "Streams on which a sink raised, or was left behind", "sink")
        self._delay = _Delays(
            "receiver_delivery_delay_seconds",
            "How long received audio has waited at most, from its arrival to its delivery to the sinks",
            DELAY_BUCKETS,
        )
        self._lag = _Delays("receiver_event_loop_lag_seconds", "How late the sockets' event loop woke", LAG_BUCKETS)
        registry.register(self._delay)
        registry.register(self._lag)
        self._disk = gauge("disk_free_bytes", "Free space where recordings are written", "directory")
        self._failing = gauge("disk_failing", "1 while something could not be written just now, or nothing can be")
        self._erased = counter("streams_erased", "Streams whose folders were erased, by why", "reason")
        self._draining = gauge("draining", "1 while new streams are refused because the process stops")
        Info("receiver_build", "What runs here", registry=registry).info(RUNNING)
        PlatformCollector(registry=registry)
        self._plugins = PluginSeries(reserved=[family.name for family in registry.collect()])
        registry.register(self._plugins)
        ProcessCollector(registry=registry)  # last, as it reads files whenever it is asked

        for source in self._source.known:
            self._streams.labels(source)
            for reason in EndReason:
                self._ended.labels(source, reason.value)
            for cause in Cause:
                self._gap.labels(source, cause.value)
        for why in ERASED:
            self._erased.labels(why)
        for sink in self._sink.known:
            for metric in (self._queue, self._dropped, self._failures):
                metric.labels(sink)

    # What the sockets' side has done.

    def stream_started(self, source: str) -> None:
        """Count a stream in."""
        self._streams.labels(self._source(source)).inc()

    def stream_ended(self, source: str, ended: Ended) -> None:
        """Count a stream out, with what became of its messages."""
        source = self._source(source)
        self._streams.labels(source).dec()
        self._ended.labels(source, ended.reason.value).inc()
        self._frames.add(ended.tracks.values())

    def refused(self, source: str, reason: str) -> None:
        """Count a handshake that was answered with an error; ``source`` is empty where no path matched."""
        self._refused.labels(self._source(source), self._refusal(reason)).inc()

    def received(self, source: str, kinds: Mapping[str, int]) -> None:
        """Count the messages of a batch by kind, e.g. ``{"media": 6}``."""
        messages = self._messages
        for kind, count in kinds.items():
            key = (source, kind)
            if key not in messages:  # the first of its kind, or one that is counted under another name
                key = (self._source(source), self._kind(kind))
                messages.setdefault(key, 0)
            messages[key] += count

    def placed(self, source: str, codec: str, events: Iterable[Event]) -> None:
        """Count the audio and the gaps of a batch of one stream's events; other events are passed over."""
        audio = self._audio
        for event in events:
            if isinstance(event, Frame):
                key = (source, event.track, codec)
                if key not in audio:  # the first of its kind, or one that is counted under another name
                    track = event.track if event.track in TRACKS else "other"
                    key = (self._source(source), track, self._codec(codec.lower()))
                    audio.setdefault(key, 0.0)
                audio[key] += len(event.samples) / event.rate
            elif isinstance(event, Gap):
                self._gap.labels(self._source(source), event.cause.value).inc((event.end - event.start) / event.rate)

    def delivered(self, delay_s: float) -> None:
        """Count how long the audio of one slice has waited at most: its connections were read that long ago."""
        self._delay.add(delay_s)

    def loop_lagged(self, lag_s: float) -> None:
        """Count by how much the sockets' event loop woke late."""
        self._lag.add(lag_s)

    # What the sinks' side has done.

    def sink_dropped(self, sink: str, seconds: float) -> None:
        """Count audio that a sink was too slow for, or had failed before."""
        self._dropped.labels(self._sink(sink)).inc(seconds)

    def sink_failed(self, sink: str) -> None:
        """Count a stream on which a sink raised."""
        self._failures.labels(self._sink(sink)).inc()

    def stream_erased(self, reason: str) -> None:
        """Count a stream's folder that is gone, for one of ``ERASED``."""
        self._erased.labels(reason).inc()

    # What is asked for when somebody looks. The callables run in the thread that renders, and must be quick.

    def watch_streams_limit(self, limit: Callable[[], float]) -> None:
        """Ask ``limit`` how many streams may be open at once."""
        self._limit.set_function(limit)

    def watch_draining(self, draining: Callable[[], bool]) -> None:
        """Ask ``draining`` whether the process refuses new streams because it stops."""
        self._draining.set_function(lambda: float(draining()))

    def watch_disk_failing(self, failing: Callable[[], bool]) -> None:
        """Ask ``failing`` whether recordings cannot be written."""
        self._failing.set_function(lambda: float(failing()))

    def watch_sink_queue(self, sink: str, seconds: Callable[[], float]) -> None:
        """Ask ``seconds`` how much audio waits for this sink."""
        self._queue.labels(self._sink(sink)).set_function(seconds)

    def watch_plugins(self, series: Mapping[str, Collects]) -> None:
        """Ask the plugins, by the names of their sinks, for series of their own."""
        self._plugins.watch(series)

    def watch_disk(self, directory: Path) -> None:
        """Ask the file system how much space is free; NaN where it does not answer."""

        def free() -> float:
            try:
                return float(shutil.disk_usage(directory).free)
            except OSError:
                return float("nan")

        self._disk.labels(str(directory)).set_function(free)

    def render(self) -> tuple[bytes, str]:
        """Every figure in Prometheus' text format, and the content type of that.

        For a thread of its own: it asks the file system, which may be slow to answer.
        """
        with self._rendering:
            for key, seconds in self._audio.copy().items():
                self._seconds.labels(*key).inc(seconds - self._told.get(key, 0))
                self._told[key] = seconds
            for name, count in self._messages.copy().items():
                self._message.labels(*name).inc(count - self._told.get(name, 0))
                self._told[name] = count
            return generate_latest(self._families), CONTENT_TYPE_PLAIN_0_0_4


class _Words:
    """A closed set of label values: the known ones and at most ``grow`` more words of ours; the rest is ``other``."""

    def __init__(self, known: Iterable[str] = (), *, grow: int = 0) -> None:
        self.known = frozenset(known)
        self._more: set[str] = set()
        self._grow = grow

    def __call__(self, word: str) -> str:
        if word in self.known or word in self._more:
            return word
        if len(self._more) < self._grow and re.fullmatch("[a-z][a-z0-9_]{0,31}", word):
            self._more.add(word)
            return word
        return "other"


class _Delays(Collector):
    """A histogram that one thread adds to for a fraction of what the library's costs; any may collect it."""

    def __init__(self, name: str, text: str, buckets: tuple[float, ...]) -> None:
        self._name = name
        self._text = text
        self._buckets = buckets
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0

    def add(self, delay_s: float) -> None:
        """Count one."""
        self._counts[bisect_left(self._buckets, delay_s)] += 1
        self._sum += delay_s

    def collect(self) -> Iterator[Family]:
        counts = accumulate(self._counts.copy())
        buckets = [(str(bound), count) for bound, count in zip((*self._buckets, "+Inf"), counts, strict=True)]
        yield HistogramMetricFamily(self._name, self._text, buckets=buckets, sum_value=self._sum)


class _Frames(Collector):
    """What became of media messages. One thread adds; no scrape falls between two figures of one stream."""

    def __init__(self) -> None:
        self._counted = dict.fromkeys(FATES, 0)

    def add(self, tracks: Iterable[TrackCounters]) -> None:
        """Count the messages of tracks that are over."""
        counted = self._counted.copy()
        for track in tracks:
            for fate in FATES:
                counted[fate] += getattr(track, fate)
        self._counted = counted

    def collect(self) -> Iterator[Family]:
        for fate, count in self._counted.items():
            yield CounterMetricFamily(f"receiver_{fate}_frames", FATES[fate], value=count)


class _WithoutCreated(Collector):
    """A registry without the ``_created`` series, which the library would switch off for the whole process only."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Family]:
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family
