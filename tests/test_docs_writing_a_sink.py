from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from receiver.audio import AudioFormat, Encoding
from receiver.config import SinkConfig
from receiver.events import Annotation, Cause, Digit, Ended, EndReason, Frame, Gap, TrackCounters
from receiver.sinks.hub import Hub
from receiver.stream import StreamFacts

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "writing-a-sink.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
SINKS = [block for block in BLOCKS if "asyncio.run(" not in block]
PROGRAMS = [block for block in BLOCKS if "asyncio.run(" in block]


class Owner:
    def __init__(self) -> None:
        self.said: list[str] = []

    def annotated(self, annotation: Annotation) -> None:
        self.said.append(annotation.kind)

    def file_added(self, path: Path, kind: str, media_type: str, sink: str) -> None:
        self.said.append(path.name)


def run(use: str, folder: Path, options: dict[str, object]) -> Owner:
    """Give a sink two seconds of a loud tone, a gap, a digit and an annotation."""
    owner = Owner()
    facts = StreamFacts(
        id="0198",
        source="default",
        dialect="signalwire",
        stream_id="s",
        call_id=None,
        account_id=None,
        tracks=("inbound",),
        format=AudioFormat(Encoding.PCMU, 8000),
        parameters={},
        path_parameters={},
        peer_address="127.0.0.1",
        token=None,
        started=datetime.now(UTC),
    )
    tone = np.rint(30000 * np.sin(np.arange(16000) * 0.3)).astype(np.int16)
    events = [
        Frame("inbound", 0, 8000, tone),
        Gap("inbound", 16000, 24000, 8000, Cause.UNSENT),
        Digit("1", 24000, 8000),
        Annotation("speech", "inbound", 0, 16000, 8000, None, "other"),
        Ended(EndReason.STOP, True, {"inbound": TrackCounters(8000, 24000)}),
    ]

    async def serve() -> None:
        async with Hub({"mine": SinkConfig(use=use, options=options)}, base=folder, feeds_bytes=1 << 30) as hub:
            listeners = hub.open(facts, folder, owner)
            listeners.publish(events)
            assert await listeners.finished()
            assert listeners.results()["mine"].error is None
            owner.said += [family.name for counted in hub.series().values() for family in counted.collect()]

    asyncio.run(serve())
    return owner


@pytest.mark.parametrize("number", range(len(SINKS)))
def test_every_sink_on_the_page_works(number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(SINKS[number])
    (tmp_path / "words.txt").write_text("some words")
    options: dict[str, object] = {"words": "words.txt", "loud": 0.8} if "words: Path" in SINKS[number] else {}
    owner = run("./mine.py", tmp_path, options)
    assert owner.said or "inbound" in capsys.readouterr().out


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_on_the_page_runs(program: str) -> None:
    exec(compile(program, "writing-a-sink.md", "exec"), {"__name__": "page"})


def test_the_page_has_both_kinds() -> None:
    assert len(SINKS) >= 5
    assert len(PROGRAMS) == 1


def test_the_page_names_every_setting_of_a_sink() -> None:
    assert [name for name in SinkConfig.model_fields if name not in PAGE] == []
