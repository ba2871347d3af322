"""Real speech, by real workers of pocketsphinx."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from receiver_plugins.transcribe.engine import RATE, EngineFailed
from receiver_plugins.transcribe.engines.pocketsphinx import check, pocketsphinx_engine

from receiver.errors import ConfigError

pytest.importorskip("pocketsphinx")

pytestmark = pytest.mark.usefixtures("nothing_left")


def workers() -> set[int]:
    """The processes that this one has started."""
    children: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        children |= {int(pid) for pid in (task / "children").read_text().split()}
    return children


def test_two_speakers_are_heard_at_once_and_again_after_their_worker_was_killed(kit: Any) -> None:
    question = kit.speech("outbound", 15.6, 17.6)  # "Is there anything else?"
    farewell = kit.speech("outbound", 0.1, 3.8)  # "Harbour Books, good morning. How can I help you?"

    async def main() -> None:
        async with pocketsphinx_engine() as engine:
            heard, other = await asyncio.gather(kit.listen(engine, question), kit.listen(engine, farewell))
            assert {"anything", "else"} <= set(kit.finals(heard))
            assert {"can", "help", "you"} <= set(kit.finals(other))
            partials = [one for one in heard if not one.final]
            assert len({one.text for one in partials}) == len(partials) > 1
            (final,) = [one for one in heard if one.final]
            ends = [0, *(position for word in final.words for position in (word.start, word.end)), len(question)]
            assert ends == sorted(ends)
            assert (final.start, final.end) == (final.words[0].start, final.words[-1].end)
            assert all(word.confidence is not None and 0 <= word.confidence <= 1 for word in final.words)
            (said,) = [word for word in final.words if word.text == "anything"]
            assert 0.3 * RATE < said.start < said.end < 1.5 * RATE

            async with engine.recognize() as recognition:
                await recognition.feed(question[:RATE])
                for pid in workers():
                    os.kill(pid, signal.SIGKILL)
                with pytest.raises(EngineFailed, match="the worker of pocketsphinx was killed by signal 9"):
                    while True:
                        await recognition.feed(question[:160])
            assert await kit.listen(engine, question) == heard  # word for word, whoever spoke before

    kit.run(main())


def test_silence_is_nothing(kit: Any) -> None:
    async def main() -> None:
        async with pocketsphinx_engine(workers=1) as engine:
            assert kit.finals(await kit.listen(engine, np.zeros(RATE, np.int16))) == []

    kit.run(main())


def test_a_model_that_is_broken_does_not_open(kit: Any, tmp_path: Path) -> None:
    (tmp_path / "en").mkdir()
    for name in ("en/mdef", "en.dict", "en.lm.bin"):
        (tmp_path / name).write_text("nothing")
    assert check(model=tmp_path) == []  # all of it is there

    async def main() -> None:
        # It does not raise: it ends the process. What that said last is all that is known.
        with pytest.raises(
            ConfigError, match=r"^engine: the worker of pocketsphinx ended with exit code 1: FATAL: .mdef"
        ):
            async with pocketsphinx_engine(model=tmp_path):
                raise AssertionError("is open")

    kit.run(main())


def test_check_says_what_is_missing(tmp_path: Path) -> None:
    assert check() == []
    (line,) = check(model=tmp_path / "nothing")
    assert line.startswith("model: ")
