"""The sink passes the suite that everybody's do, around an engine that is as quick as the suite is thorough."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from receiver.sinks import Plugin
from receiver.testing import SinkConformance
from receiver.testing.recorded import Recorded


@pytest.mark.blocks  # the suite looks at files between two steps
class TestTranscription(SinkConformance):
    restarts = True

    @pytest.fixture(autouse=True)
    def _around_a_quick_engine(self, booth: Any) -> None:
        @asynccontextmanager
        async def transcribe() -> AsyncIterator[Plugin]:
            yield booth.plugin_of(booth.Counting(places=4))

        self.use = transcribe

    def outcome(self, recorded: Recorded) -> Any:
        """Lines of ``transcript.jsonl`` are in the order in which they became final, on any track."""
        files, said = super().outcome(recorded)
        lines = sorted(recorded.file("transcript.jsonl").read_text().splitlines())
        return [file for file in files if file[0] != "transcript.jsonl"], said, lines
