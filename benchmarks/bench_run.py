"""What every figure gets: the compiled programs, how long to take, and a way to measure."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cost import measure
from load import Load, Report


@dataclass
class Bench:
    """One run of the benchmark."""

    programs: Mapping[str, Path]
    seconds: float = 8.0
    warm: float = 2.0
    rounds: int = 2
    pipecat: Path | None = None
    costs: dict[str, float] = field(default_factory=dict)  # microseconds by "server streams", the best of all rounds

    def cost(
        self,
        name: str,
        streams: int,
        tracks: int = 1,
        settings: Mapping[str, Mapping[str, object]] | None = None,
        *,
        label: str = "",
        more: tuple[str, ...] = (),
    ) -> float:
        """Microseconds per message; the best so far of this server under this load, as others only ever disturb."""
        key = f"{label or name} {streams}" + (" two tracks" if tracks == 2 else "")
        report = self.report(name, Load(streams, tracks, self.seconds, self.warm, more), settings)
        self.costs[key] = min(self.costs.get(key, report.us_per_message), report.us_per_message)
        self.say(f"{key}: {report.us_per_message:.1f} µs, {report.core_share:.0%} of a core")
        return self.costs[key]

    def report(self, name: str, load: Load, settings: Mapping[str, Mapping[str, object]] | None = None) -> Report:
        """One counted run. Raises CannotMeasure."""
        return measure(name, self.programs, load, settings, pipecat=self.pipecat, say=False)

    def say(self, text: str) -> None:
        """Tell how far it is."""
        print(f"  {text}", file=sys.stderr, flush=True)
