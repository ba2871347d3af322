"""Whisper by real workers, with a model of nothing: the words are nonsense, and all the rest is real."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from receiver_plugins.transcribe.engine import EngineFailed
from receiver_plugins.transcribe.engines.faster_whisper import check, faster_whisper_engine

from receiver.errors import ConfigError

pytestmark = pytest.mark.usefixtures("nothing_left")

# Run in the worker before anything else: whoever asks for a name or a connection is told no, and it is written down.
NO_NETWORK = """
import sys

def tell(line):
    with open({told!r}, "a") as file:
        file.write(line + "\\n")

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        tell(f"{{event}} {{arguments}}")
        raise PermissionError(event)

sys.addaudithook(refuse)
tell("watching")
"""


def worker() -> int:
    """The one worker that this process has started; other tests may have left processes of other kinds."""
    children = [pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]
    (child,) = [int(pid) for pid in children if b"receiver_plugins" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return child


@pytest.fixture
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Workers without a network; the file says what they tried."""
    told = tmp_path / "told"
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(NO_NETWORK.format(told=str(told)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    return told


def test_a_model_is_loaded_decodes_and_survives_its_worker(kit: Any, whisper_model: Path, no_network: Path) -> None:
    samples = kit.speech("inbound", 3.4, 6.4)

    async def main() -> None:
        async with faster_whisper_engine(model=whisper_model, partial_s=0.5, threads=1) as engine:
            heard = await kit.listen(engine, samples)
            partials = [one for one in heard if not one.final]
            assert partials
            assert all((one.start, one.words) == (0, ()) for one in partials)
            finals = [one for one in heard if one.final]
            ends = [0]
            for final in finals:
                assert final.text.split() == [word.text for word in final.words]
                ends += [position for word in final.words for position in (word.start, word.end)]
            assert ends == sorted(ends)
            assert 0 < ends[-1] <= len(samples)

            async with engine.recognize() as recognition:
                await recognition.feed(samples)
                os.kill(worker(), signal.SIGKILL)
                with pytest.raises(EngineFailed, match="the worker of faster_whisper was killed by signal 9"):
                    while True:
                        await recognition.feed(samples[:160])
            assert kit.finals(await kit.listen(engine, samples))

    kit.run(main())
    assert no_network.read_text() == "watching\n" * 2  # both workers, and they asked for nothing


def test_nothing_fed_is_nothing_heard(kit: Any, whisper_model: Path) -> None:
    async def main() -> None:
        async with faster_whisper_engine(model=whisper_model, threads=1) as engine:
            assert await kit.listen(engine, np.zeros(0, np.int16)) == []

    kit.run(main())


@pytest.mark.parametrize(
    ("options", "key"),
    [({"device": "cuda"}, "device"), ({"compute_type": "int3"}, "compute_type")],
)
def test_an_option_that_the_library_refuses_is_named(
    kit: Any, whisper_model: Path, options: dict[str, Any], key: str
) -> None:
    async def main() -> None:
        with pytest.raises(ConfigError) as raised:
            async with faster_whisper_engine(model=whisper_model, threads=1, **options):
                raise AssertionError("is open")
        assert (raised.value.key, raised.value.problem[:28]) == (key, "faster-whisper cannot use it")

    kit.run(main())


def test_a_model_that_is_cut_short_does_not_open(kit: Any, whisper_model: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(whisper_model, tmp_path / "model"))
    os.truncate(model / "model.bin", 1000)
    assert check(model=model) == []  # it begins as one does

    async def main() -> None:
        with pytest.raises(ConfigError, match=r"^model: faster-whisper cannot use it"):
            async with faster_whisper_engine(model=model, threads=1):
                raise AssertionError("is open")

    kit.run(main())


def test_a_name_is_refused_without_a_look_at_the_network(kit: Any, whisper_model: Path, no_network: Path) -> None:
    (line,) = check(model=Path("tiny"))
    assert line.startswith("model: tiny is no directory")

    async def main() -> None:
        with pytest.raises(ConfigError, match=r"^model: tiny is no directory"):
            async with faster_whisper_engine(model=Path("tiny")):
                raise AssertionError("is open")

    kit.run(main())
    assert not no_network.exists()  # there was no worker
