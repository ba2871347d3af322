"""What plugins count: their own series, shown beside the receiver's and told apart by the label ``sink``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from prometheus_client import Metric, generate_latest
from prometheus_client.registry import Collector

from receiver.logs import logger

SERIES = 1000
"""How many one plugin may have: labels that a peer can make up would grow without end."""

log = logger("receiver.metrics")


class Collects(Protocol):
    """A series of ``prometheus_client``, a registry of several, or anything that yields families like these."""

    def collect(self) -> Iterable[Metric]:
        """The figures as they are now. Called in any thread, and must be quick."""


class PluginSeries(Collector):
    """The series of all plugins, families of one name joined. What a plugin does wrong costs its own series alone."""

    def __init__(self, reserved: Iterable[str]) -> None:
        self._reserved = frozenset(reserved)
        self._plugins: Mapping[str, Collects] = {}
        self._complained: set[str] = set()

    def watch(self, plugins: Mapping[str, Collects]) -> None:
        """Ask these from now on, by the names of their sinks."""
        self._plugins = plugins

    def collect(self) -> Iterator[Metric]:
        """Every plugin's figures, as they are now; for ``prometheus_client``."""
        families: dict[str, Metric] = {}
        for sink, plugin in self._plugins.items():
            try:
                for family in self._of(sink, plugin, families):
                    if family.name in families:
                        families[family.name].samples += family.samples
                    else:
                        families[family.name] = family
            except Exception as error:
                if sink not in self._complained:  # a scrape comes every few seconds
                    self._complained.add(sink)
                    log.error("sink_metrics_failed", sink=sink, problem=f"{type(error).__name__}: {error}")
        yield from families.values()

    def _of(self, sink: str, plugin: Collects, known: Mapping[str, Metric]) -> list[Metric]:
        """One plugin's families, labelled, and proven to be writable. Raises whatever is wrong with them."""
        found = []
        for family in plugin.collect():
            other = known.get(family.name)
            ours = family.name in self._reserved or family.name.startswith("process_")
            if ours or (other is not None and other.type != family.type):
                raise ValueError(f"{family.name} is another metric already")
            mine = Metric(family.name, family.documentation, family.type, family.unit)
            mine.samples = [sample._replace(labels={**sample.labels, "sink": sink}) for sample in family.samples]
            found.append(mine)
        if sum(len(family.samples) for family in found) > SERIES:
            raise ValueError(f"more than {SERIES} series")
        generate_latest(_Families(found))
        return found


class _Families(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        """These, as they are."""
        return self._families
